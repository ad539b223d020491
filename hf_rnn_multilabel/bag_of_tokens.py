"""A logistic regression on the tokens beside a trained net: fitted at once, and mixed in as far as validation says."""

from collections.abc import Sequence
from typing import Any

import joblib
import numpy as np
import scipy.sparse
import torch
from datasets import Dataset
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from transformers import PreTrainedTokenizerBase

from .distillation import compute_logits
from .model.losses import UNKNOWN
from .model.modeling_rnn_multilabel import BagOfTokens, RnnMultilabelForSequenceClassification, hash_pairs


# The intercept, a feature of this size, is next to free of the penalty. The dual at this tolerance took .4 of the time
# of the primal at its default, for logits that differ by at most .02 and the same precision (Reuters, arXiv).
REGRESSION: dict[str, Any] = {"solver": "liblinear", "C": 0.4, "intercept_scaling": 10}
REGRESSION |= {"dual": True, "tol": 0.1, "max_iter": 1000, "random_state": 0}
# Training texts with a label at which it takes half of the bag's share; of a few the regression makes little.
HALF_SHARE = 30
# Shares of the bag among which validation chooses.
WEIGHTS = np.linspace(0, 1, 21).round(2)


def add_bag(
    model: RnnMultilabelForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    rows: Dataset,
    texts: list[str],
    labels: np.ndarray,
    batch_size: int = 32,
) -> float:
    """Puts a bag of tokens beside a trained net, and sets `bag_weight`, its largest share in the logits.

    Args:
        model: a tagger without a bag, changed in place; where the best share is 0 it stays without. The bag counts
            `bag_pairs` of its configuration.
        tokenizer: the model's.
        rows: what to fit the bag to, see `fit_bag`.
        texts: the held-out texts that choose the share, see `choose_weight`.
        labels: theirs, (texts, labels).
        batch_size: texts in a batch.

    Returns:
        the share.
    """
    net_logits = compute_logits(model, tokenizer, texts, batch_size=batch_size)
    set_bag(model, fit_bag(rows, model.config.vocab_size, model.config.bag_pairs), 1.0)
    bag_logits = compute_logits(model, tokenizer, texts, batch_size=batch_size)
    weight = choose_weight(net_logits, bag_logits, labels)
    set_bag(model, model.bag if weight else None, weight)
    return weight


def set_bag(model: RnnMultilabelForSequenceClassification, bag: BagOfTokens | None, weight: float) -> None:
    """Gives a model another bag, of as many pairs as its configuration has, and its share in the logits."""
    model.bag = None if bag is None else bag.to(model.device)
    model.config.bag_weight = weight


def fit_bag(rows: Dataset, vocab_size: int, pairs: int = 0) -> BagOfTokens:
    """Fits the bag to labelled texts: for each label a logistic regression on idf_v n_v / sqrt(N).

    It is that of liblinear with C = 0.4. n_v is how often term v stands among the N of a text, and idf_v its inverse
    document frequency, which goes into the bag's weights.

    Args:
        rows: tokenized texts, with the columns "input_ids" and "labels", (labels,) 0 or 1, -100 where unknown. Any
            other number counts as 1 from 0.5 on.
        vocab_size: number of tokens.
        pairs: number of hashed pairs of neighbouring tokens.

    Returns:
        the bag, on the CPU. A label that n rows carry takes n / (n + 30) of the bag's share; one that all known rows
        carry, or none, has the same score in every text.
    """
    features, idf = _features(list(rows["input_ids"]), vocab_size, pairs)
    labels = np.asarray(rows.with_format("numpy")["labels"][:])  # (rows, labels)
    fit = joblib.delayed(_fit_label)
    # The solver is C that runs beside other threads.
    fitted = joblib.Parallel(torch.get_num_threads(), prefer="threads")(fit(features, each) for each in labels.T)
    bag = BagOfTokens(vocab_size, pairs, labels.shape[1])
    with torch.no_grad():
        for label, (weights, bias) in enumerate(fitted):
            bag.weight[:, label] = torch.from_numpy(weights * idf)
            bag.bias[label] = bias
        present = torch.from_numpy((labels >= 0.5).sum(0)).float()
        bag.shrinkage.copy_(present / (present + HALF_SHARE))
    return bag


def _fit_label(features: scipy.sparse.csr_matrix, labels: np.ndarray) -> tuple[np.ndarray, float]:
    """The weights, (terms,), and the bias of one label."""
    known = labels != UNKNOWN
    present = labels[known] >= 0.5
    if not 0 < present.sum() < len(present):
        share = np.clip(present.mean() if len(present) else 0.5, 1e-4, 1 - 1e-4)
        return np.zeros(features.shape[1]), float(np.log(share / (1 - share)))
    regression = LogisticRegression(**REGRESSION)
    # Where all are known there is no copy of the features.
    regression.fit(features if known.all() else features[known], present)
    return regression.coef_[0], float(regression.intercept_[0])


def _features(
    texts: Sequence[Sequence[int]], vocab_size: int, pairs: int
) -> tuple[scipy.sparse.csr_matrix, np.ndarray]:
    """(texts, terms) idf_v n_v / sqrt(N), and idf (terms,), the terms in the order of the bag's weights."""
    places = np.repeat(np.arange(len(texts)), [len(ids) for ids in texts])
    tokens = np.concatenate([np.asarray(ids, np.int64) for ids in texts])
    terms = pairs + tokens
    if pairs:
        is_second = places[1:] == places[:-1]
        terms = np.concatenate([terms, hash_pairs(tokens[:-1], tokens[1:], pairs)[is_second]])
        places = np.concatenate([places, places[1:][is_second]])
    counts = scipy.sparse.csr_matrix((np.ones(len(terms)), (places, terms)), (len(texts), pairs + vocab_size))
    tfidf = TfidfTransformer(norm=None).fit(counts)
    numbers = np.maximum(np.bincount(places, minlength=len(texts)), 1)
    return (scipy.sparse.diags(1 / np.sqrt(numbers)) @ tfidf.transform(counts)).tocsr(), tfidf.idf_


def choose_weight(net_logits: np.ndarray, bag_logits: np.ndarray, labels: np.ndarray) -> float:
    """The largest share of the bag with the largest micro-averaged precision on held-out texts, in steps of 0.05.

    It asks for the order of all pairs of text and label alone, so that it does not matter how sure either is of
    itself.

    Args:
        net_logits, bag_logits: (texts, labels), those of the shares 0 and 1.
        labels: (texts, labels) 0 or 1; others, as -100, are left out.

    Returns:
        the least of the best shares; 0 where no text carries a label.
    """
    known = (labels == 0) | (labels == 1)
    truth = labels[known] == 1
    if not truth.any():
        return 0.0

    def precision(weight: float) -> float:
        return average_precision_score(truth, (1 - weight) * net_logits[known] + weight * bag_logits[known])

    return float(max(WEIGHTS, key=precision))

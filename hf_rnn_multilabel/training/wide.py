"""A logistic regression on the tokens beside a trained net: fitted at once, and mixed in as far as validation says."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse
import torch
from datasets import Dataset
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from transformers import PreTrainedTokenizerBase

from ..data.encoding import tokenize
from ..inference.logits import compute_logits
from ..model.losses import UNKNOWN
from ..model.modeling_rnn_multilabel import BagOfTokens, RnnMultilabelForSequenceClassification, hash_pairs


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
    texts: dict[str, list[str]],
    labels: dict[str, np.ndarray],
    batch_size: int = 32,
) -> float:
    """Puts a bag of tokens beside a trained net, and sets `bag_weight`, its largest share in the logits.

    Args:
        model: the tagger, changed in place; a bag that it has is replaced. The new one counts `bag_pairs` of its
            configuration. Where the best share is 0 the model has none.
        tokenizer: the model's.
        texts: of "train", to fit the bag to, and of "validation", which choose the share, see `choose_weight`.
        labels: theirs, (texts, labels). Texts of "train" beyond its labels are left out.
        batch_size: texts in a batch.

    Returns:
        the share.
    """
    set_bag(model, None, 0.0)
    net_logits = compute_logits(model, tokenizer, texts["validation"], batch_size=batch_size)
    labelled = Dataset.from_dict({"text": texts["train"][: len(labels["train"])]})
    rows, _ = tokenize(labelled, tokenizer, max_length=tokenizer.model_max_length)
    set_bag(model, fit_bag(rows["input_ids"], labels["train"], model.config.vocab_size, model.config.bag_pairs), 1.0)
    bag_logits = compute_logits(model, tokenizer, texts["validation"], batch_size=batch_size)
    weight = choose_weight(net_logits, bag_logits, labels["validation"])
    set_bag(model, model.bag if weight else None, weight)
    return weight


def set_bag(model: RnnMultilabelForSequenceClassification, bag: BagOfTokens | None, weight: float) -> None:
    """Gives a model another bag, or none, and its largest share in the logits.

    Raises:
        ValueError: for a bag of another vocabulary or other labels.
    """
    if bag is not None:
        shape = (bag.pairs + model.config.vocab_size, model.num_labels)
        if bag.weight.shape != shape:
            raise ValueError(
                f"The bag's weights have the shape {tuple(bag.weight.shape)}; this model's must be {shape}, (pairs + "
                "tokens, labels)."
            )
        bag = bag.to(model.device, model.dtype)
        model.config.bag_pairs = bag.pairs
    model.bag = bag
    model.config.bag_weight = weight


def fit_bag(input_ids: Sequence[Sequence[int]], labels: np.ndarray, vocab_size: int, pairs: int = 0) -> BagOfTokens:
    """Fits the bag to labelled texts: for each label a logistic regression on idf_v n_v / sqrt(N).

    It is that of liblinear with C = 0.4. n_v is how often term v stands among the N of a text, and idf_v its inverse
    document frequency, which goes into the bag's weights.

    Args:
        input_ids: the tokens of each text.
        labels: (texts, labels) 0 or 1, -100 where unknown.
        vocab_size: number of tokens.
        pairs: number of hashed pairs of neighbouring tokens.

    Returns:
        the bag, on the CPU. A label that n texts carry takes n / (n + 30) of the bag's share; one that all known texts
        carry, or none, has the same score in every text.
    """
    features, idf = _features(input_ids, vocab_size, pairs)
    bag = BagOfTokens(vocab_size, pairs, labels.shape[1])
    with torch.no_grad():
        # One after another: the solver draws from generators that all threads share.
        for label, column in enumerate(labels.T):
            weights, bias = _fit_label(features, column)
            bag.weight[:, label] = torch.from_numpy(weights * idf)
            bag.bias[label] = bias
        present = torch.from_numpy((labels == 1).sum(0)).float()
        bag.shrinkage.copy_(present / (present + HALF_SHARE))
    return bag


def _fit_label(features: scipy.sparse.csr_matrix, labels: np.ndarray) -> tuple[np.ndarray, float]:
    """The weights, (terms,), and the bias of one label."""
    known = labels != UNKNOWN
    present = labels[known] == 1
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
    texts = list(texts)
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
    """The largest share of the bag, in steps of 0.05, that gives held-out texts the best micro-averaged precision.

    It asks for the order of all pairs of text and label alone, so that it does not matter how sure either is of
    itself.

    Args:
        net_logits, bag_logits: (texts, labels), those of the shares 0 and 1.
        labels: (texts, labels) 0 or 1; others, as -100, are left out.

    Returns:
        the share, the least where several are as good; 0 where no text carries a label.
    """
    known = (labels == 0) | (labels == 1)
    truth, net_logits, bag_logits = labels[known] == 1, net_logits[known], bag_logits[known]
    if not truth.any():
        return 0.0

    def precision(weight: float) -> float:
        return average_precision_score(truth, (1 - weight) * net_logits + weight * bag_logits)

    return float(max(WEIGHTS, key=precision))

"""A logistic regression on the tokens beside a trained net: fitted at once, and mixed in as far as validation says."""

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
from .model.modeling_rnn_multilabel import BagOfTokens, RnnMultilabelForSequenceClassification


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
    """Puts a bag of tokens beside a trained net, and sets `bag_weight`, its share in the logits.

    Args:
        model: a tagger without a bag, changed in place; where the best share is 0 it stays without.
        tokenizer: the model's.
        rows: what to fit the bag to, see `fit_bag`.
        texts: the held-out texts that choose the share, see `choose_weight`.
        labels: theirs, (texts, labels).
        batch_size: texts in a batch.

    Returns:
        the share.
    """
    net_logits = compute_logits(model, tokenizer, texts, batch_size=batch_size)
    set_bag(model, fit_bag(rows, model.config.vocab_size), 1.0)
    bag_logits = compute_logits(model, tokenizer, texts, batch_size=batch_size)
    weight = choose_weight(net_logits, bag_logits, labels)
    set_bag(model, model.bag if weight else None, weight)
    return weight


def set_bag(model: RnnMultilabelForSequenceClassification, bag: BagOfTokens | None, weight: float) -> None:
    """Gives a model another bag, and its share in the logits."""
    model.bag = None if bag is None else bag.to(model.device)
    model.config.bag_weight = weight


def fit_bag(rows: Dataset, vocab_size: int) -> BagOfTokens:
    """Fits the bag to labelled texts: for each label a logistic regression on idf_v n_v / sqrt(T).

    It is that of liblinear with C = 0.4. n_v is how often token v stands among the T of a text, and idf_v its inverse
    document frequency, which goes into the bag's weights.

    Args:
        rows: tokenized texts, with the columns "input_ids" and "labels", (labels,) 0 or 1, -100 where unknown. Any
            other number counts as 1 from 0.5 on.
        vocab_size: number of tokens.

    Returns:
        the bag, on the CPU. A label that all known rows carry, or none, has the same score in every text.
    """
    features, idf = _features(rows["input_ids"], vocab_size)
    labels = np.asarray(rows.with_format("numpy")["labels"][:])  # (rows, labels)
    bag = BagOfTokens(vocab_size, labels.shape[1])
    with torch.no_grad():
        for label, column in enumerate(labels.T):
            known = column != UNKNOWN
            present = column[known] >= 0.5
            share = np.clip(present.mean() if len(present) else 0.5, 1e-4, 1 - 1e-4)
            bag.bias[label] = float(np.log(share / (1 - share)))
            if 0 < present.sum() < len(present):
                # The intercept, a feature of this size, is next to free of the penalty.
                regression = LogisticRegression(C=0.4, solver="liblinear", intercept_scaling=10)
                regression.fit(features[known], present)
                bag.weight[:, label] = torch.from_numpy(regression.coef_[0] * idf)
                bag.bias[label] = float(regression.intercept_[0])
    return bag


def _features(texts: list[list[int]], vocab_size: int) -> tuple[scipy.sparse.csr_matrix, np.ndarray]:
    """(texts, vocab_size) idf_v n_v / sqrt(T), and idf (vocab_size,)."""
    lengths = np.array([len(ids) for ids in texts])
    ends = np.concatenate([[0], lengths.cumsum()])
    tokens = np.concatenate([np.asarray(ids, np.int64) for ids in texts])
    counts = scipy.sparse.csr_matrix((np.ones(len(tokens)), tokens, ends), (len(texts), vocab_size))
    counts.sum_duplicates()
    tfidf = TfidfTransformer(norm=None).fit(counts)
    scale = scipy.sparse.diags(1 / np.sqrt(np.maximum(lengths, 1)))
    return (scale @ tfidf.transform(counts)).tocsr(), tfidf.idf_


def choose_weight(net_logits: np.ndarray, bag_logits: np.ndarray, labels: np.ndarray) -> float:
    """The share of the bag with the largest micro-averaged precision on held-out texts, in steps of 0.05.

    It asks for the order of all pairs of text and label alone, so that it does not matter how sure either is of
    itself.

    Args:
        net_logits, bag_logits: (texts, labels).
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

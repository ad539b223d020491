"""Fits the wide head to labelled texts, and mixes it in as far as validation says."""

import copy
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

from ..data.tokenizing import tokenize
from ..inference.logits import compute_logits
from ..model.losses import IGNORED
from ..model.modeling_rnn_multilabel import RnnMultilabelForSequenceClassification
from ..model.wide import WideHead, hash_bigrams


# The intercept, a feature of this size, is next to free of the penalty. The dual at this tolerance took .4 of the time
# of the primal at its default, for logits that differ by at most .02 and the same precision (Reuters, arXiv).
REGRESSION: dict[str, Any] = {"solver": "liblinear", "C": 0.4, "intercept_scaling": 10}
REGRESSION |= {"dual": True, "tol": 0.1, "max_iter": 1000, "random_state": 0}
# Positives of a label at which it takes half of the mixing weight: of a few texts the regression makes little.
HALF_WEIGHT_SUPPORT = 30
# Mixing weights among which validation chooses.
CANDIDATES = np.linspace(0, 1, 21).round(2)


def mix_in_wide_head(
    model: RnnMultilabelForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    texts: dict[str, list[str]],
    labels: dict[str, np.ndarray],
    *,
    num_bigram_buckets: int,
    batch_size: int = 32,
) -> float:
    """Gives a trained model a wide head with the best mixing weight on validation; no head where that is 0.

    Args:
        model: The tagger, changed in place; a wide head that it has is replaced.
        tokenizer: The tokenizer of the model.
        texts: Those of "train", to fit the head to, and of "validation", see `choose_mixing_weight`.
        labels: Theirs, (texts, labels). Texts of "train" beyond its labels are left out.
        num_bigram_buckets: Number of hashed bigrams; 0: tokens alone.
        batch_size: Texts in a batch.

    Returns:
        The mixing weight, with which `add_wide_head` adds a head that is fitted to more rows.
    """
    remove_wide_head(model)
    logits = compute_logits(model, tokenizer, texts["validation"], batch_size=batch_size)
    labelled = Dataset.from_dict({"text": texts["train"][: len(labels["train"])]})
    rows, _ = tokenize(labelled, tokenizer, max_length=tokenizer.model_max_length)
    wide = fit_wide_head(rows["input_ids"], labels["train"], model.config.vocab_size, num_bigram_buckets)
    add_wide_head(model, wide)
    mixed_logits = compute_logits(model, tokenizer, texts["validation"], batch_size=batch_size)
    weight = choose_mixing_weight(logits, mixed_logits, labels["validation"])
    remove_wide_head(model)
    if weight:
        add_wide_head(model, wide, weight)
    return weight


def add_wide_head(model: RnnMultilabelForSequenceClassification, wide: WideHead, weight: float = 1.0) -> None:
    """Gives a model a fitted wide head.

    Args:
        model: The tagger, changed in place; a wide head that it has is replaced.
        wide: The head, which stays as it is; see `fit_wide_head`.
        weight: The mixing weight, from 0 to 1, a factor of those of the head.

    Raises:
        ValueError: For a head of another vocabulary or other labels.
    """
    shape = (wide.num_bigram_buckets + model.config.vocab_size, model.num_labels)
    if wide.weight.shape != shape:
        raise ValueError(
            f"The weights of the wide head have the shape {tuple(wide.weight.shape)}; for this model they must have "
            f"{shape}, (buckets + tokens, labels)."
        )
    wide = copy.deepcopy(wide)
    wide.mixing_weights.mul_(weight)
    model.wide = wide.to(model.device, model.dtype).train(model.training)
    model.config.num_bigram_buckets = wide.num_bigram_buckets


def remove_wide_head(model: RnnMultilabelForSequenceClassification) -> None:
    """Takes the wide head out of a model, if it has one."""
    model.wide = None
    model.config.num_bigram_buckets = None


def fit_wide_head(
    input_ids: Sequence[Sequence[int]], labels: np.ndarray, vocab_size: int, num_bigram_buckets: int = 0
) -> WideHead:
    """Fits a wide head to labelled texts: for each label a logistic regression on idf_v n_v / sqrt(N).

    It is that of liblinear with C = 0.4. n_v is how often n-gram v stands among the N of a text, and idf_v its inverse
    document frequency, which goes into the weights of the head.

    Args:
        input_ids: The tokens of each text.
        labels: (texts, labels) 0 or 1, -100 where ignored.
        vocab_size: Number of tokens.
        num_bigram_buckets: Number of hashed bigrams.

    Returns:
        The head, on the CPU. The mixing weight of a label with n positives is n / (n + 30). A label that all observed
        texts have, or none, has the same score in every text.
    """
    features, idf = _features(input_ids, vocab_size, num_bigram_buckets)
    wide = WideHead(vocab_size, num_bigram_buckets, labels.shape[1])
    with torch.no_grad():
        # One after another: the solver draws from generators that all threads share.
        for label, column in enumerate(labels.T):
            weights, bias = _fit_label(features, column)
            wide.weight[:, label] = torch.from_numpy(weights * idf)
            wide.bias[label] = bias
        positives = torch.from_numpy((labels == 1).sum(0)).float()
        wide.mixing_weights.copy_(positives / (positives + HALF_WEIGHT_SUPPORT))
    return wide


def _fit_label(features: scipy.sparse.csr_matrix, labels: np.ndarray) -> tuple[np.ndarray, float]:
    """The weights, (n-grams,), and the bias of one label."""
    observed = labels != IGNORED
    present = labels[observed] == 1
    if not 0 < present.sum() < len(present):
        frequency = np.clip(present.mean() if len(present) else 0.5, 1e-4, 1 - 1e-4)
        return np.zeros(features.shape[1]), float(np.log(frequency / (1 - frequency)))
    regression = LogisticRegression(**REGRESSION)
    # Where all are observed there is no copy of the features.
    regression.fit(features if observed.all() else features[observed], present)
    return regression.coef_[0], float(regression.intercept_[0])


def _features(
    texts: Sequence[Sequence[int]], vocab_size: int, num_bigram_buckets: int
) -> tuple[scipy.sparse.csr_matrix, np.ndarray]:
    """(texts, n-grams) idf_v n_v / sqrt(N), and idf (n-grams,), in the order of the weights of the head."""
    texts = list(texts)
    rows = np.repeat(np.arange(len(texts)), [len(ids) for ids in texts])
    tokens = np.concatenate([np.asarray(ids, np.int64) for ids in texts])
    columns = num_bigram_buckets + tokens
    if num_bigram_buckets:
        is_second = rows[1:] == rows[:-1]
        columns = np.concatenate([columns, hash_bigrams(tokens[:-1], tokens[1:], num_bigram_buckets)[is_second]])
        rows = np.concatenate([rows, rows[1:][is_second]])
    shape = (len(texts), num_bigram_buckets + vocab_size)
    counts = scipy.sparse.csr_matrix((np.ones(len(columns)), (rows, columns)), shape)
    tfidf = TfidfTransformer(norm=None).fit(counts)
    numbers = np.maximum(np.bincount(rows, minlength=len(texts)), 1)
    return (scipy.sparse.diags(1 / np.sqrt(numbers)) @ tfidf.transform(counts)).tocsr(), tfidf.idf_


def choose_mixing_weight(logits: np.ndarray, mixed_logits: np.ndarray, labels: np.ndarray) -> float:
    """The mixing weight, in steps of 0.05, that gives held-out texts the best micro-averaged average precision.

    Only the order of all pairs of text and label counts, so it does not matter how confident either is.

    Args:
        logits: (texts, labels), without a wide head, the mixing weight 0.
        mixed_logits: (texts, labels), with the wide head at the mixing weight 1.
        labels: (texts, labels) 0 or 1; others, as -100, are left out.

    Returns:
        The mixing weight, the least where several are as good; 0 where no text has a label.
    """
    observed = (labels == 0) | (labels == 1)
    truth, logits, mixed_logits = labels[observed] == 1, logits[observed], mixed_logits[observed]
    if not truth.any():
        return 0.0

    def precision(weight: float) -> float:
        return average_precision_score(truth, (1 - weight) * logits + weight * mixed_logits)

    return float(max(CANDIDATES, key=precision))

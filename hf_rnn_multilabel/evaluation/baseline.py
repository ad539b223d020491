"""The model that a recurrent network has to beat: TF-IDF with one-vs-rest logistic regression."""

from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier


# Scripts without spaces between words: Thai and Lao, Burmese, Khmer, Japanese and Chinese.
UNSPACED_SCRIPTS = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
# Words of two letters and more, as in scikit-learn's default, and each character of an unspaced script.
TOKEN_PATTERN = rf"[{UNSPACED_SCRIPTS}]|[^\W{UNSPACED_SCRIPTS}]{{2,}}"


def linear_scores(
    train_texts: Sequence[str], train_labels: np.ndarray, *texts: Sequence[str], max_features: int = 200_000
) -> list[np.ndarray]:
    """Train the linear model on the first two arguments, and score each of the other collections of texts.

    Features are words and pairs of neighbouring words that at least two texts have, with sublinear term frequencies.
    Each label has a logistic regression (liblinear, C = 5).

    Args:
        train_texts: the texts to train on.
        train_labels: (rows, labels) 0 or 1; -100, ignored, counts as 0.
        texts: collections of texts to score.
        max_features: the number of features; the most frequent ones are selected.

    Returns:
        For each of `texts` an array (rows, labels) of probabilities. They are 0 for a label without a training text,
        and 1 for a label of all training texts.

    Raises:
        ValueError: if no two training texts have a word in common.
    """
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, min_df=2, max_features=max_features, token_pattern=TOKEN_PATTERN
    )
    try:
        features = vectorizer.fit_transform(train_texts)
    except ValueError as error:
        raise ValueError(
            f"No two of the {len(train_texts):,} training texts have a word in common. Give the linear model more "
            f"texts, or leave it out ({error})."
        ) from error
    present = np.asarray(train_labels) == 1
    constant = present.all(0)
    varied = np.flatnonzero(present.any(0) & ~constant)
    results = [np.tile(constant.astype(float), (len(collection), 1)) for collection in texts]  # (rows, labels)
    if len(varied):
        classifier = OneVsRestClassifier(LogisticRegression(C=5, solver="liblinear"))
        classifier.fit(features, present[:, varied])
        for scores, collection in zip(results, texts, strict=True):
            # For a single label the problem is binary, and scikit-learn returns one column per class.
            scores[:, varied] = classifier.predict_proba(vectorizer.transform(collection))[:, -len(varied) :]
    return results

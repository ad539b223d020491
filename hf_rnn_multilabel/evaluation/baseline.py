"""The model that a recurrent net has to beat: TF-IDF with one logistic regression a label."""

from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier


# Thai and Lao, Burmese, Khmer, Japanese and Chinese.
SPACELESS = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
# Words of two letters and more, as scikit-learn's default, and each character of a script that puts no spaces.
TOKEN_PATTERN = rf"[{SPACELESS}]|[^\W{SPACELESS}]{{2,}}"


def linear_scores(
    train_texts: Sequence[str], train_labels: np.ndarray, *texts: Sequence[str], max_features: int = 200_000
) -> list[np.ndarray]:
    """Scores of the linear model that is trained on the first two arguments, for each of the other collections.

    Words and pairs of words that stand in two texts or more, sublinear term frequencies, and for each label a logistic
    regression (liblinear, C = 5).

    Args:
        train_texts: the texts to train on.
        train_labels: (rows, labels) 0 or 1; -100, unknown, counts as 0.
        texts: collections of texts to score.
        max_features: the most frequent so many words and pairs are kept.

    Returns:
        for each of `texts` an array (rows, labels) of probabilities; 0 for a label without a training text, 1 for one
        that all training texts carry.

    Raises:
        ValueError: if no word stands in two of the training texts.
    """
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, min_df=2, max_features=max_features, token_pattern=TOKEN_PATTERN
    )
    try:
        features = vectorizer.fit_transform(train_texts)
    except ValueError as error:
        raise ValueError(
            f"No word stands in two of the {len(train_texts)} training texts; the linear model needs more texts, or "
            f"leave it out ({error})."
        ) from error
    present = np.asarray(train_labels) == 1
    constant = present.all(0)
    varied = np.flatnonzero(present.any(0) & ~constant)
    results = [np.tile(constant.astype(float), (len(collection), 1)) for collection in texts]  # (rows, labels)
    if len(varied):
        classifier = OneVsRestClassifier(LogisticRegression(C=5, solver="liblinear"))
        classifier.fit(features, present[:, varied])
        for scores, collection in zip(results, texts, strict=True):
            # A single label makes the problem binary, for which scikit-learn gives one column a class.
            scores[:, varied] = classifier.predict_proba(vectorizer.transform(collection))[:, -len(varied) :]
    return results

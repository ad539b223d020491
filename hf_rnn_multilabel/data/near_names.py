"""The names that somebody may have meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def near_names(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """Return names that are spelled like a name, or that hold its words, for example num_train_epochs for epochs.

    Args:
        name: What was given.
        names: What there is.
        count: How many are returned at most.
    """
    names = list(names)
    of_words = [each for each in names if set(name.split("_")) <= set(each.split("_"))]
    return list(dict.fromkeys([*get_close_matches(name, names, n=count), *of_words]))[:count]

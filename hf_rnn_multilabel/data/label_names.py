"""Names of labels: one spelling for what looks like one name, and strings that may hold several."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from .files import quoted


# Separators of labels that no name of a label should hold.
SEPARATORS = ",;|\t\n\uff0c\uff1b\u3001\uff5c"
# Those by which labels are joined even where lists or another separator hold several.
JOINERS = SEPARATORS + "#&"
# Words that join labels as "&" does.
WORD_JOINERS = (" and ",)
# Characters that nobody sees in a name: control characters, marks of direction, selectors of a glyph.
INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e"
    "\u17b4\u17b5\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0100-\U000e01ef]"
    # Flags need their tags.
    "|(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0020-\U000e007f]+"
)
# Words of some scripts, and emoji, need the joiners between their characters.
LONE_JOINERS = re.compile("(?<![^\x00-\x7f])[\u200c\u200d]+|[\u200c\u200d]+(?![^\x00-\x7f])")
ENDS = re.compile(r"^[\s\u200b\u2060\ufeff]+|[\s\u200b\u2060\ufeff]+$")
# Letters and signs that look like a space.
FILLERS = dict.fromkeys(map(ord, "\u115f\u1160\u2800\u3164\uffa0"), " ")
DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-")
# A list or a set as Python, numpy or JSON writes it.
WRITTEN_LIST = re.compile(r"\[.*\]|\{\s*['\"].*\}|\(\s*['\"].*\)", re.DOTALL)
# What a file holds where a line break or a tab was written as two characters.
ESCAPES = (r"\n", r"\t")


def normalize_label(name: str) -> str:
    """Gives the one spelling of all names that look the same.

    White space of any kind becomes single spaces and none at the ends, characters without width go, and letters with
    accents are composed (Unicode's form NFC).

    Args:
        name: The name as it is written.

    Returns:
        The spelling by which names are compared.
    """
    if not name.isascii() or not name.isprintable():
        name = INVISIBLE.sub("", unicodedata.normalize("NFC", name.translate(FILLERS)))
        name = unicodedata.normalize("NFC", LONE_JOINERS.sub("", " ".join(name.split())))
    return " ".join(name.split())


def similar_labels(names: Iterable[str]) -> list[list[str]]:
    """Groups the names that differ in nothing but capitals, dashes and the width of letters, as a and A do."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[unicodedata.normalize("NFKC", normalize_label(name).translate(DASHES)).casefold()].append(name)
    return [group for group in groups.values() if len(group) > 1]


def check_label_names(names: Iterable[str]) -> list[str]:
    """Checks a list of labels.

    Args:
        names: The labels in the order of their indices.

    Returns:
        The labels without white space and what has no width at their ends.

    Raises:
        ValueError: It is no list, or holds no label, a label that is empty, no string or half a surrogate pair, or
            two that look the same.
    """
    labels = list(names) if isinstance(names, Iterable) and not isinstance(names, str) else [names]
    wrong = [name for name in labels if not isinstance(name, str) or not normalize_label(name) or not _is_whole(name)]
    counts = Counter(normalize_label(name) for name in labels if isinstance(name, str))
    twice = [name for name, count in counts.items() if name and count > 1]
    if isinstance(names, str | Mapping) or not labels or wrong or twice:
        raise ValueError(
            "`label_names` must be a list of different strings that are not empty. It is "
            f"{names!r:.80}, with {quoted(wrong)} wrong and {quoted(twice)} repeated."
        )
    return [ENDS.sub("", name) for name in labels]


def _is_whole(name: str) -> bool:
    """Whether a name holds no half of a surrogate pair, which no file can."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def check_separator(strings: Iterable[str], separator: str, column: str) -> None:
    """Raises a ValueError with a proposal where no string holds the separator, and there is a string.

    Args:
        strings: All strings of the column.
        separator: What should stand between the labels of a string.
        column: The column's name.
    """
    strings = [string for string in strings if string.strip()]
    if not strings or any(separator in string for string in strings):
        return
    unescaped = {r"\n": "\n", r"\t": "\t"}.get(separator)
    counts = Counter(character for string in strings for character in set(string.strip()) if _separates(character))
    # A name may hold a space or a hyphen, and no comma; of characters in as many strings, a space is the last.
    found = max(counts, key=lambda each: (each in SEPARATORS, counts[each], not each.isspace(), each), default=None)
    if unescaped is not None and any(unescaped in string for string in strings):
        proposal = f"a shell passes the character itself as $'{separator}'"
    elif found is not None:
        proposal = f"{found!r} occurs in {counts[found]} of the {len(strings)} different strings"
    else:
        proposal = "leave `separator` out if each row has one label"
    raise ValueError(
        f"`separator` is {separator!r}, which occurs in no row of column {column!r}, for example not in "
        f"{strings[0]!r:.80}: {proposal}."
    )


def check_written(strings: Iterable[str], column: str, separators: str = SEPARATORS) -> None:
    """Raises a ValueError where a string is a written list, or holds what separates labels elsewhere.

    Args:
        strings: All strings of the column, but for those that are known to be one label.
        column: The column's name.
        separators: Characters that no label should hold.
    """
    strings = [string.strip() for string in strings]
    counts = Counter(character for string in strings for character in set(string).intersection(separators))
    character = max(separators, key=counts.__getitem__, default="")
    for string in strings:
        written = WRITTEN_LIST.fullmatch(string)
        if written or (counts[character] and character in string):
            remedy = "write each row as a list" if written else f"pass {_as_setting(character)}"
            raise ValueError(
                f"Column {column!r} holds {string!r:.80}: one label or several? If several, {remedy}. If one, give "
                "all labels (`label_names`, `--label_list`)."
            )


def _as_setting(separator: str) -> str:
    """How a separator is passed, in Python and in a shell."""
    shell = f" as $'{escaped}'" if (escaped := repr(separator)[1:-1]) != separator else ""
    return f"`separator={separator!r}` (`--label_separator`{shell})"


def check_joined(strings: Iterable[str], column: str, separators: str | None = None) -> None:
    """Raises a ValueError where strings seem to be several labels, joined by a character or a run of them.

    That is where at least half of the strings that hold it have parts that are all strings of the column.

    Args:
        strings: All strings of the column.
        column: The column's name.
        separators: The characters that may join; by default all that are no letters and no digits.
    """
    names = {normalize_label(string) for string in strings} - {""}
    holders: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        for joiner in sorted(_joiners(name) if separators is None else set(name).intersection(separators)):
            holders[joiner].append(name)
    for joiner, held in holders.items():
        joined = [name for name in held if is_joined(name, joiner, names)]
        if 2 * len(joined) >= len(held):
            remedy = (
                f"pass {_as_setting(joiner)}"
                if separators is None
                else f"{joiner!r} must not join them: write each by itself"
            )
            raise ValueError(
                f"Column {column!r} holds {joined[0]!r:.80}, whose parts are labels too: one label or several? If "
                f"several, {remedy}. If one, give all labels (`label_names`, `--label_list`)."
            )


def _joiners(name: str) -> set[str]:
    """The characters of a name that may separate, the runs of them, and words that may."""
    runs = {match for match in re.findall(r"[\W_]+", name) if len(match.strip()) > 1}
    written = {part for part in (*ESCAPES, *WORD_JOINERS) if part in name}
    return set(filter(_separates, name)) | {run.strip() for run in runs} | written


def _separates(character: str) -> bool:
    """Whether a character is punctuation, a symbol or white space."""
    return character.isspace() or unicodedata.category(character)[0] in "PSZ"


def is_joined(name: str, character: str, names: set[str]) -> bool:
    """Whether all parts of a name, split at a character, are names too."""
    parts = [normalize_label(part) for part in name.split(character)]
    return len(parts) > 1 and all(part in names for part in parts)

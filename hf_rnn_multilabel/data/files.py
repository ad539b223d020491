"""Files as they lie on a disk: their format and compression by name, their bytes as lines of text."""

import bz2
import codecs
import gzip
import io
import lzma
import os
import re
import sys
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeAlias, cast

from ..model.tagging import shorten


PathLike: TypeAlias = str | os.PathLike

STANDARD_STREAM = "-"
FORMATS = ("txt", "jsonl", "json", "csv", "tsv", "parquet")
SUFFIXES = {f".{name}": name for name in FORMATS} | {".ndjson": "jsonl"}
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
# The marks of UTF-32 begin with those of UTF-16.
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What files of other kinds begin with.
OTHERS = {
    b"\x1f\x8b": "compressed by gzip",
    b"PK": "a zip archive or a spreadsheet",
    b"\xd0\xcf\x11\xe0": "a spreadsheet or a document of an old Office",
    b"PAR1": "parquet",
}
SPREADSHEETS = ("xlsx", "xls", "xlsm", "xlsb", "ods", "numbers")
SAVE_SPREADSHEET = 'Save a spreadsheet as "CSV UTF-8", or write its rows as jsonl.'
# Control characters that are letters and marks in cp1252, as "\u0096" for a dash.
CONTROLS = re.compile("[\u0080-\u009f]")
ONE_FOR_ALL = "One `encoding` holds for all files, so save files that differ in one encoding, UTF-8."
DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError)


def quoted(names: Iterable[Any]) -> str:
    """A list of names for a message, with the first of many."""
    return f"[{shorten(map(repr, names))}]"


def resolve_format(path: PathLike, file_format: str | None = None) -> tuple[str, str]:
    """Tells format and compression of a file by its name, in capitals or not.

    Args:
        path: The file, or "-" for stdin or stdout.
        file_format: One of `FORMATS`, in place of what the name says of it.

    Returns:
        The format, and one of `COMPRESSIONS` or "".

    Raises:
        ValueError: The format is none of `FORMATS`, or is not given and the name does not say it.
    """
    if file_format is not None and file_format not in FORMATS:
        more = f" {SAVE_SPREADSHEET}" if file_format.lower() in SPREADSHEETS else ""
        raise ValueError(f"`file_format` is {file_format!r}; it must be one of {', '.join(FORMATS)}.{more}")
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    compression = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSIONS else ""
    named = SUFFIXES.get(suffixes[-1] if suffixes else "")
    if file_format is None and named is None:
        is_spreadsheet = bool(suffixes) and suffixes[-1][1:] in SPREADSHEETS
        remedy = SAVE_SPREADSHEET if is_spreadsheet else "Rename it, or pass `file_format`."
        raise ValueError(
            f"Cannot tell the format of {os.fspath(path)!r}: its name must end in one of {', '.join(FORMATS)}, with "
            f"or without {', '.join(COMPRESSIONS)}. {remedy}"
        )
    return file_format or cast(str, named), compression


def check_input(path: PathLike) -> None:
    """Raises a FileNotFoundError or a ValueError where a path is not a file that can be read."""
    if os.fspath(path) == STANDARD_STREAM:
        return
    if not os.path.exists(path):
        raise FileNotFoundError(f"No file {os.fspath(path)!r}; give the path of a file, or - for stdin.")
    if os.path.isdir(path):
        raise ValueError(f"{os.fspath(path)!r} is a folder; give the path of a file.")


def open_compressed(file: PathLike | IO[bytes], compression: str, mode: str = "rb") -> Any:
    """Opens a file to read or write its bytes without the compression.

    Args:
        file: A path or an open file.
        compression: One of `COMPRESSIONS` or "".
        mode: "rb" or "wb".

    Raises:
        ValueError: The compression needs a package that is not installed.
    """
    if compression == ".gz":
        # Without the name and the time in it, the same rows give the same bytes.
        return gzip.GzipFile(fileobj=_as_file(file, mode), mode=mode, mtime=0, filename="", compresslevel=6)
    if compression == ".bz2":
        return bz2.BZ2File(file, mode)  # type: ignore[call-overload]
    if compression == ".xz":
        return lzma.LZMAFile(file, mode)
    if compression == ".zst":
        return _zstandard().open(file, mode)
    return _as_file(file, mode)


@contextmanager
def open_bytes(path: PathLike, compression: str = "") -> Iterator[BinaryIO]:
    """Opens a file or stdin for its bytes, decompressed; stdin is left open."""
    if os.fspath(path) == STANDARD_STREAM:
        # A stream that somebody put in the place of stdin may hold text alone.
        raw = getattr(sys.stdin, "buffer", None)
        if raw is None or not hasattr(raw, "peek"):
            raw = io.BufferedReader(io.BytesIO(sys.stdin.read().encode("utf-8", "replace")))  # type: ignore[arg-type]
        yield io.BufferedReader(open_compressed(raw, compression)) if compression else raw
        return
    with open(path, "rb") as plain, open_compressed(plain, compression) as file:
        # Not every decompressor has `peek`.
        yield file if not compression else io.BufferedReader(file)  # type: ignore[misc]


@contextmanager
def open_text(path: PathLike, compression: str = "", encoding: str | None = None) -> Iterator[io.TextIOWrapper]:
    """Opens a file or stdin for its text; a byte-order mark is obeyed and left out.

    Args:
        path: The file, or "-" for stdin.
        compression: One of `COMPRESSIONS` or "".
        encoding: By default that of the byte-order mark, or UTF-8.

    Raises:
        ValueError: The encoding does not exist or is not that of the byte-order mark, or the text has zero bytes, as
            UTF-16 without a mark has.
    """
    with open_bytes(path, compression) as file:
        codec = _find_encoding(file, path, compression, encoding)
        # Line ends stay as they are, so that a csv reader sees those within quotes.
        text = io.TextIOWrapper(file, encoding=codec, newline="")
        try:
            yield text
        finally:
            text.detach()


def find_encoding(path: PathLike, compression: str = "", encoding: str | None = None) -> str:
    """The encoding in which `open_text` reads a file; its arguments and errors are the same."""
    with open_bytes(path, compression) as file:
        return _find_encoding(file, path, compression, encoding)


def _find_encoding(file: BinaryIO, path: PathLike, compression: str, encoding: str | None) -> str:
    if encoding is not None:
        try:
            # Beside encodings, there are codecs of bytes to bytes, such as hex.
            "".encode(encoding)
            encoding = codecs.lookup(encoding).name
        except (LookupError, ValueError) as error:
            raise ValueError(f"`encoding` is {encoding!r:.80}, which Python does not know; try cp1252.") from error
    try:
        head = file.peek(4096)  # type: ignore[attr-defined]
    except DAMAGED as error:
        raise ValueError(f"Cannot read {os.fspath(path)!r}: {error}; its name says {compression}.") from error
    marked = next((codec for mark, codec in MARKS if head.startswith(mark)), None)
    if marked is None and b"\0" in head:
        is_in = next((name for mark, name in OTHERS.items() if head.startswith(mark)), None)
        if is_in is not None:
            raise ValueError(
                f"{os.fspath(path)!r} is {is_in}, and no text; give it a name that says so, or unpack it."
                f"{f' {SAVE_SPREADSHEET}' if 'spreadsheet' in is_in else ''}"
            )
        if encoding is None:
            raise ValueError(
                f"{os.fspath(path)!r} holds zero bytes, which UTF-8 text does not; pass its `encoding`, for example "
                "utf-16-le, or its `file_format` if it is a parquet file."
            )
    if encoding is not None and marked is not None and not encoding.startswith(marked.removesuffix("-sig")):
        raise ValueError(
            f"`encoding` is {encoding!r}, but {os.fspath(path)!r} begins with the byte-order mark of "
            f"{marked.removesuffix('-sig')}; leave it out. {ONE_FOR_ALL}"
        )
    return marked or encoding or "utf-8"


def read_lines(file: io.TextIOWrapper, path: PathLike) -> Iterator[str]:
    """Yields the lines of a text file with their ends.

    Raises:
        ValueError: Bytes do not fit the encoding, or compressed data are damaged; with the line's number.
    """
    number, warned = 0, False
    try:
        for number, line in enumerate(file, 1):
            if not warned and not line.isascii() and (found := CONTROLS.search(line)):
                warned = True
                warn_of_controls(line, found.start(), path, f"Line {number}", file.encoding)
            yield line
    except UnicodeDecodeError as error:
        raise undecodable(error, path, "Line", number) from error
    except DAMAGED as error:
        raise ValueError(f"Cannot read {os.fspath(path)!r} after line {number}: {error}; is it whole?") from error


def warn_of_controls(text: str, position: int, path: PathLike, where: str, encoding: str) -> None:
    """Warns of a control character that is a letter or a mark in cp1252.

    Args:
        text: What holds it.
        position: Its index.
        path: The file.
        where: The line, or what else is known of its place.
        encoding: In which the file was read.
    """
    shown = text[max(position - 20, 0) : position + 20]
    if encoding.lower().startswith("utf"):
        remedy = "Write the file again from its source."
    elif _is_utf_8(text, encoding):
        remedy = "The file seems to be UTF-8: leave `encoding` out."
    else:
        remedy = 'If the file is from Windows or Excel, pass `encoding="cp1252"`.'
    warnings.warn(
        f"{where} of {os.fspath(path)!r} holds the control character {text[position]!a}, a sign of a wrong encoding "
        f"({encoding}): {shown!r}. {remedy}",
        stacklevel=3,
    )


def _is_utf_8(text: str, encoding: str) -> bool:
    """Whether the bytes of a text are UTF-8, of which the end may be missing."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(text.encode(encoding))
    except UnicodeError:
        return False
    return True


def undecodable(error: UnicodeDecodeError, path: PathLike, unit: str, number: int) -> ValueError:
    """The error for bytes that do not fit the encoding, after `number` whole lines or rows."""
    # What was read and not yet given away has no line end but those before the wrong byte.
    if unit == "Line":
        number += error.object[: error.start].decode(error.encoding, "replace").count("\n") + 1
    # The superset of latin-1 that Windows and Excel write.
    remedy = (
        'pass the file\'s `encoding`, which is often `encoding="cp1252"`.'
        if error.encoding == "utf-8"
        else f"pass another `encoding`. {ONE_FOR_ALL}"
    )
    return ValueError(
        f"{unit} {number} of {os.fspath(path)!r} holds the byte 0x{error.object[error.start]:02x}, which is not "
        f"{error.encoding} ({error.reason}); {remedy}"
    )


def _as_file(file: PathLike | IO[bytes], mode: str) -> IO[bytes]:
    return open(file, mode) if isinstance(file, str | os.PathLike) else file


def _zstandard() -> Any:
    """The module that opens zst files: of Python 3.14, or the package zstandard."""
    try:
        from compression import zstd
    except ImportError:
        try:
            import zstandard as zstd
        except ImportError:
            raise ValueError(
                "A zst file needs Python 3.14 or the package zstandard: `pip install zstandard`, or unpack it first."
            ) from None
    return zstd

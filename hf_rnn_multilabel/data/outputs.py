"""Output files of rows: made beside their place, moved into it when whole, and resumed after a stop."""

import json
import os
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from transformers.utils import logging

from ..hub.atomic import write_text
from ..hub.fingerprint import differences, digest
from ..hub.partial import partial_folder, remove_partial
from .files import STANDARD_STREAM, PathLike, open_compressed, resolve_format
from .writers import WRITERS, Row, RowWriter, json_text, standard_output


logger = logging.get_logger(__name__)

ROWS, STATE = "rows", "state.json"  # files in the partial folder
SAVED_ROWS = 10_000  # that a kill loses at most, beside those of a window


@dataclass(frozen=True)
class Resumption:
    """What makes an output one that resumes after a stop.

    Args:
        identity: By name, what must be the same for it to resume, beside the rows: JSON values.
        window: It resumes at multiples of so many rows, by which they are worked on.
        resume: Whether to resume what was stopped; otherwise it starts again.
    """

    identity: Mapping[str, Any]
    window: int
    resume: bool = False


class Output:
    """What `open_output` gives.

    Attributes:
        rows: How many rows were written, those of a stopped run included.
        resumed: How many of them a stopped run has written.
    """

    resumed = 0

    def __init__(self, writer: RowWriter):
        self._writer = writer

    @property
    def rows(self) -> int:
        return self._writer.rows

    def write(self, row: Row) -> None:
        """Writes one row.

        Raises:
            ValueError: It does not fit into the format, with its number, counted from 1.
        """
        self._writer.write(row)

    def remaining(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yields the rows of the input that are still to be worked on.

        Args:
            rows: All rows of the input, from which each row of the output is made, in their order.

        Raises:
            ValueError: The first rows are not those that a stopped run has read.
        """
        return iter(rows)


@contextmanager
def open_output(
    path: PathLike,
    *,
    file_format: str | None = None,
    inputs: Iterable[PathLike] = (),
    resumption: Resumption | None = None,
) -> Iterator[Output]:
    """Opens a file, or stdout, for rows.

    What is at the path stays until all rows are written; after an error, or a stop, it is there as before. Text is
    UTF-8, a half of a surrogate pair becomes U+FFFD, in JSON a NaN or an infinity becomes null. In csv and tsv the
    first row names the columns, None is an empty field, and a list is JSON.

    The rows are written to a file in `<path>.partial`. With a `resumption` that folder stays after an error or a stop,
    and the rows of the result have the bytes of one that was never stopped. An output of parquet, a compressed one, a
    device and stdout start again.

    Args:
        path: The file, whose name may end in .gz, .bz2, .xz or .zst, or "-" for stdout.
        file_format: jsonl, json, csv, tsv or parquet. By default as the name says; jsonl for stdout.
        inputs: The files that are read meanwhile, "-" for stdin: none may be the output.
        resumption: How the output resumes, whose rows are made of those of an input; by default it does not.

    Yields:
        To its `write` each row is given.

    Raises:
        ValueError: The output is an input or a folder, or is to have another format, or a row does not fit into it, or
            it cannot resume.
        FileNotFoundError: There is no such folder.
        BlockingIOError: Another process writes it.
        OSError: It cannot be written.
    """
    target = os.fspath(path)
    kind, compression = file_format or "jsonl", ""
    if target != STANDARD_STREAM:
        kind, compression = resolve_format(path, file_format)
    if kind not in WRITERS or (kind == "parquet" and compression):
        raise ValueError(
            f"The output {target!r} would be {kind}{compression}; it must be one of {', '.join(WRITERS)}, all but "
            "parquet also compressed. Give it another name, or pass `file_format`."
        )
    _refuse_inputs(target, inputs)
    # A symbolic link stays, and what it points to is replaced.
    place = Path(os.path.realpath(target))
    is_file = target != STANDARD_STREAM and (place.is_file() or not place.exists())
    if resumption is not None:
        resumption = replace(resumption, identity={**resumption.identity, "format": kind})
    if resumption is not None and not (is_file and kind != "parquet" and not compression):
        if resumption.resume:
            what = "stdout" if target == STANDARD_STREAM else repr(target)
            logger.warning(f"{what} cannot resume, so `resume` starts again; jsonl, json, csv and tsv files resume.")
        resumption = None
    if not is_file:
        with _device(target) as file, _written(file, kind, compression) as writer:
            yield Output(writer)
        return
    if not place.parent.is_dir():
        raise FileNotFoundError(f"No folder {os.path.dirname(target)!r} for the output {target!r}; make it first.")
    with partial_folder(place, doing="is writing", setting="output") as folder:
        if resumption is not None:
            with _resumable(place, folder, kind, resumption) as output:
                yield output
        else:
            with _whole(place, folder, kind, compression) as output:
                yield output


def _refuse_inputs(target: str, inputs: Iterable[PathLike]) -> None:
    """Raises where the output is a folder, or one of the inputs by whatever name."""
    if target == STANDARD_STREAM or not os.path.exists(target):
        return
    if os.path.isdir(target):
        raise ValueError(f"The output {target!r} is a folder; give the path of a file.")
    place = os.stat(target)
    if not stat.S_ISREG(place.st_mode):
        return
    for path in [os.fspath(path) for path in inputs]:
        try:
            other = os.fstat(sys.stdin.fileno()) if path == STANDARD_STREAM else os.stat(path)
        except (OSError, ValueError, AttributeError):
            continue  # no such file, or a stdin that is none
        if os.path.samestat(place, other):
            raise ValueError(f"The output {target!r} is the input {path!r}, which would be lost; give another file.")


@contextmanager
def _device(target: str) -> Iterator[Any]:
    """Stdout, a device or a pipe, which is written at once."""
    if target == STANDARD_STREAM:
        with standard_output() as file:
            yield file
    else:
        with open(target, "wb") as file:
            yield file


@contextmanager
def _written(file: Any, kind: str, compression: str = "", columns: list[str] | None = None) -> Iterator[RowWriter]:
    with ExitStack() as stack:
        if compression:
            file = stack.enter_context(open_compressed(file, compression, "wb"))
        yield RowWriter(stack.enter_context(WRITERS[kind](file, columns)), columns)


@contextmanager
def _whole(place: Path, folder: Path, kind: str, compression: str) -> Iterator[Output]:
    """A file that takes its place when it is whole, and of which nothing is left after a stop."""
    try:
        with open(folder / ROWS, "wb") as file:
            with _written(file, kind, compression) as writer:
                yield Output(writer)
            _sync(file)
        _move(folder / ROWS, place)
    finally:
        remove_partial(folder)


@contextmanager
def _resumable(place: Path, folder: Path, kind: str, resumption: Resumption) -> Iterator[Output]:
    """A file that takes its place when it is whole, and of which the last saved rows are left after a stop."""
    state = _stopped(place, folder, resumption)
    try:
        if state:
            os.truncate(folder / ROWS, state["bytes"])
        with open(folder / ROWS, "ab" if state else "wb") as file:
            with _written(file, kind, columns=state.get("columns")) as writer:
                output = _ResumableOutput(writer, file, folder, resumption, state)
                try:
                    yield output
                except _OtherRowsError:
                    raise
                except BaseException:
                    output.stop()
                    raise
            _sync(file)
        _move(folder / ROWS, place)
    except BaseException:
        if not (folder / STATE).exists():
            remove_partial(folder)
        raise
    remove_partial(folder)


def _stopped(place: Path, folder: Path, resumption: Resumption) -> dict[str, Any]:
    """The state of a stopped run to resume from; empty: the output starts again."""
    if not (folder / ROWS).exists():
        return {}
    state = _saved_state(folder)
    if not resumption.resume or not state:
        kept = "With `resume` they would have been kept." if state else "It saved none, or its files are damaged."
        rows = f"{state['rows']:,} rows" if state else "rows"
        logger.warning(f"{str(folder)!r} held {rows} of a stopped run; they are made again. {kept}")
        (folder / STATE).unlink(missing_ok=True)
        return {}
    different = differences(state["identity"], json.loads(json.dumps(resumption.identity, default=str)))
    if different:
        raise ValueError(
            f"{str(folder)!r} holds a stopped run of something else; what differs: {'; '.join(different)}. Leave out "
            "`resume` to start again, or repeat the run that it is of."
        )
    logger.warning(f"Resuming {str(place)!r} after {state['rows']:,} rows.")
    return state


def _saved_state(folder: Path) -> dict[str, Any]:
    """The state that was saved; empty: there is none, or it is damaged, or the rows that it is of are."""
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        checksum = state.pop("checksum")
        if checksum != _checksum(state) or state["written"] != _hash_file(folder / ROWS, state["bytes"]).hexdigest():
            return {}
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        return {}
    return state


def _checksum(state: Mapping[str, Any]) -> str:
    return digest([json.dumps(state, sort_keys=True).encode()])


def _hash_file(path: Path, size: int, done: int = 0, hashed: Any = None) -> Any:
    """A hash of the first bytes of a file, or one of those before with the bytes that follow."""
    hashed = blake2b(digest_size=16) if hashed is None else hashed
    with open(path, "rb") as file:
        file.seek(done)
        while done < size and (part := file.read(min(1 << 20, size - done))):
            hashed.update(part)
            done += len(part)
    return hashed


class _OtherRowsError(ValueError):
    """The input is not that of the stopped run."""


class _ResumableOutput(Output):
    """Saves what is needed to resume wherever all rows that were read have been written, at the end of a window."""

    def __init__(self, writer: RowWriter, file: Any, folder: Path, resumption: Resumption, state: Mapping[str, Any]):
        super().__init__(writer)
        writer.rows = self.resumed = state.get("rows", 0)
        self._file, self._folder, self._resumption = file, folder, resumption
        self._earlier = state.get("input")
        self._saved = self.resumed
        self._written, self._hashed = _hash_file(folder / ROWS, state.get("bytes", 0)), state.get("bytes", 0)
        self._num_read = 0
        self._digest = blake2b(digest_size=16)
        # Of the last window's end.
        self._end: dict[str, Any] = {}

    def remaining(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            self._num_read += 1
            self._digest.update(json_text(row).encode("utf-8", "surrogatepass") + b"\n")
            if self._num_read > self.resumed:
                yield row
            elif self._num_read == self.resumed and self._digest.hexdigest() != self._earlier:
                raise _OtherRowsError(
                    f"The first {self.resumed:,} rows of the input are not those that the stopped run has read; leave "
                    "out `resume` to start again, or give the rows that it had."
                )
        if self._num_read < self.resumed:
            raise _OtherRowsError(
                f"The input has {self._num_read:,} rows, and the stopped run has read {self.resumed:,}; leave out "
                "`resume` to start again, or give the rows that it had."
            )

    def write(self, row: Row) -> None:
        super().write(row)
        if self.rows != self._num_read or self.rows % self._resumption.window:
            return
        self._end = {
            "rows": self.rows,
            "bytes": self._file.tell(),
            "columns": self._writer.columns,
            "input": self._digest.hexdigest(),
            "identity": dict(self._resumption.identity),
        }
        if self.rows - self._saved >= SAVED_ROWS:
            self._save()

    def stop(self) -> None:
        """Saves the last window's end, if that can be, and says what was saved."""
        # A full disk keeps what was saved before.
        with suppress(OSError):
            self._save()
        if self._saved:
            logger.warning(
                f"The first {self._saved:,} rows are done, in {str(self._folder)!r}; the same run with `resume` "
                "resumes after them, with or without corrections in the rows that follow."
            )

    def _save(self) -> None:
        if self._end and self._end["rows"] > self._saved:
            _sync(self._file)
            size = self._end["bytes"]
            self._written, self._hashed = _hash_file(self._folder / ROWS, size, self._hashed, self._written), size
            state = json.loads(json.dumps(self._end | {"written": self._written.hexdigest()}, default=str))
            text = json.dumps(state | {"checksum": _checksum(state)}, indent=2, ensure_ascii=False)
            write_text(self._folder / STATE, text + "\n")
            self._saved = self._end["rows"]


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _move(made: Path, place: Path) -> None:
    if place.exists():
        shutil.copymode(place, made)
    os.replace(made, place)

"""Rows of any types to one Arrow table: in memory while it is small, else in a temporary file that is mapped."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import datasets
import pyarrow as pa
from datasets.table import InMemoryTable, MemoryMappedTable, Table
from filelock import FileLock, Timeout

from .json_rows import replace_surrogates


MAX_MEMORY = 2**26  # bytes of values; more are written to a file
UNNAMEABLE = re.compile("[\0\ud800-\udfff]")
# Values of a column to integers.
Digest: TypeAlias = Callable[[list[Any]], list[int]]
WRONG_VALUE = (pa.ArrowException, OverflowError, TypeError, ValueError)

TEMPORARY, LOCK = "hf-rnn-multilabel-", "lock"  # names of temporary folders begin so, and the file in them

_folders: list[tuple[tempfile.TemporaryDirectory, FileLock]] = []


class TableBuilder:
    """Collects rows, whose types may become clear late, for example after a million empty lists.

    Args:
        name: What the rows are called in errors, for example the file's name.
        digests: By column, what turns some of its values into the integers that are kept in their place.

    Attributes:
        types: The columns and types of what was added.
    """

    def __init__(self, name: str, digests: Mapping[str, Digest] | None = None):
        self.name, self.digests = name, digests or {}
        self.rows = 0
        self.types = pa.schema([])
        self._tables: list[pa.Table] = []
        self._bytes = 0
        self._files: list[tuple[Path, pa.Schema]] = []
        self._writer: pa.RecordBatchStreamWriter | None = None

    def add_rows(self, rows: list[dict[str, Any]]) -> None:
        """Adds rows; a key that a row lacks is None.

        Raises:
            ValueError: A column holds values of two types; with the row, counted from 1.
        """
        names = dict.fromkeys(chain.from_iterable(rows))
        if not names:
            raise ValueError(f"Row {self.rows + 1} of {self.name} has no column.")
        self._check_names(names)
        columns = {name: self._column(name, [row.get(name) for row in rows]) for name in names}
        self._add(pa.table(columns))

    def add_table(self, table: pa.Table) -> None:
        """Adds the rows of a table, whose dictionaries become plain values and whose views of strings strings."""
        self._check_names(table.column_names)
        for index, field in enumerate(table.schema):
            kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
            kind = pa.large_string() if pa.types.is_string_view(kind) else kind
            if kind != field.type:
                table = table.set_column(index, field.with_type(kind), table.column(index).cast(kind))
        if not self.rows:
            self.types = self.types.with_metadata(table.schema.metadata)
        self._add(table)

    def add_columns(self, columns: Mapping[str, Any]) -> None:
        """Adds rows by column, for example those of a DataFrame, where a NaN is a missing value."""
        self.add_table(pa.table({name: self._column(name, values, True) for name, values in columns.items()}))

    def finish(self) -> Table:
        """The table of all rows."""
        if not self._files:
            tables = [self._conform(table) for table in self._tables]
            return InMemoryTable(pa.concat_tables(tables) if tables else self._schema.empty_table()).combine_chunks()
        self.close()
        path = self._files[0][0]
        if [schema for _, schema in self._files] != [self._schema]:
            path = path.with_name("rows.arrow")
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, self._schema) as writer:
                for part, _ in self._files:
                    with pa.memory_map(str(part)) as source:
                        for batch in pa.ipc.open_stream(source):
                            writer.write_table(self._conform(pa.Table.from_batches([batch])))
                    part.unlink()
        return MemoryMappedTable.from_file(str(path))

    def _column(self, name: str, values: Any, nan_is_missing: bool = False) -> pa.Array:
        try:
            return pa.array(values, from_pandas=nan_is_missing)
        except UnicodeEncodeError:
            return self._column(name, replace_surrogates(list(values)), nan_is_missing)
        except WRONG_VALUE as error:
            values = list(values)
            # The first row that does not fit those before it.
            low, high = 0, len(values)
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _fits(values[:middle], nan_is_missing) else (low, middle)
            raise self._wrong_type(name, low, f"{values[low]!r:.80}", str(error)) from error

    def _check_names(self, names: Iterable[Any]) -> None:
        wrong = [name for name in names if not isinstance(name, str) or UNNAMEABLE.search(name)]
        if wrong:
            raise ValueError(
                f"A column of {self.name} is called {wrong[0]!r:.80}; the name of a column is a string without zero "
                "bytes and halves of surrogate pairs: rename it."
            )

    def _wrong_type(self, name: str, row: int, value: str, reason: str) -> ValueError:
        return ValueError(
            f"Row {self.rows + row + 1} of {self.name} has {value} in column {name!r}, which is of another type than "
            f"the rows before ({reason}); make them one type. If the column is not needed, pass `text_column` and "
            "`label_column`: no other is read then."
        )

    def _add(self, table: pa.Table) -> None:
        if self.types != table.schema:
            self.types = self._unify(table)
        self.rows += len(table)
        for name in self.digests.keys() & set(table.column_names):
            digested = pa.array(self.digests[name](table[name].to_pylist()), pa.int64())
            table = table.set_column(table.column_names.index(name), name, digested)
        self._tables.append(table)
        self._bytes += table.nbytes
        if self._bytes > MAX_MEMORY or self._files:
            self._flush()

    @property
    def _schema(self) -> pa.Schema:
        """The columns and types of what is kept."""
        fields = [pa.field(each.name, pa.int64()) if each.name in self.digests else each for each in self.types]
        return pa.schema(fields, metadata=self.types.metadata)

    def _unify(self, table: pa.Table) -> pa.Schema:
        try:
            return pa.unify_schemas([self.types, table.schema], promote_options="permissive")
        except pa.ArrowException as error:
            for field in table.schema:
                before = self.types.field(field.name) if field.name in self.types.names else field
                try:
                    pa.unify_schemas([pa.schema([before]), pa.schema([field])], promote_options="permissive")
                except pa.ArrowException:
                    row = table[field.name].is_valid().index(True).as_py()
                    value = f"{table[field.name][row].as_py()!r:.80}"
                    raise self._wrong_type(field.name, row, value, f"{field.type}, not {before.type}") from error
            raise

    def _conform(self, table: pa.Table) -> pa.Table:
        """A part with the columns and types of all parts."""
        columns = []
        for field in self._schema:
            if field.name not in table.column_names:
                columns.append(pa.nulls(len(table), field.type))
                continue
            try:
                # A cast of pyarrow to the same type breaks lists of nulls.
                column = table[field.name]
                columns.append(column if column.type == field.type else column.cast(field.type))
            except pa.ArrowException as error:
                raise ValueError(
                    f"Column {field.name!r} of {self.name} is no {field.type} throughout: {error}"
                ) from error
        return pa.Table.from_arrays(columns, schema=self._schema)

    def _flush(self) -> None:
        """Writes what is in memory to a file; a new one where the types have changed."""
        for table in self._tables:
            if self._writer is None or self._files[-1][1] != table.schema:
                self.close()
                folder = self._files[0][0].parent if self._files else Path(temporary_folder())
                path = folder / f"{len(self._files)}.arrow"
                self._files.append((path, table.schema))
                self._writer = pa.ipc.new_stream(str(path), table.schema)
            self._writer.write_table(table)
        self._tables = []

    def close(self) -> None:
        """Closes the temporary file, if there is one."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _fits(values: list[Any], nan_is_missing: bool) -> bool:
    try:
        pa.array(values, from_pandas=nan_is_missing)
    except UnicodeEncodeError:
        return True
    except WRONG_VALUE:
        return False
    return True


def temporary_folder() -> str:
    """A folder on the disk of the data sets' cache, since that of other temporary files may be memory.

    It lives as long as the process: data sets map its files, and put what they compute beside them. What a process
    left that was killed is removed by the next one.
    """
    place: str | None = str(datasets.config.HF_DATASETS_CACHE)
    try:
        os.makedirs(str(place), exist_ok=True)
        _remove_abandoned(Path(str(place)))
    except OSError:
        place = None  # that of other temporary files, where there is no cache
    folder = tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=place, ignore_cleanup_errors=True)
    lock = FileLock(Path(folder.name, LOCK))
    # Not every file system of a network has locks.
    with suppress(NotImplementedError):
        lock.acquire()
    _folders.append((folder, lock))
    return folder.name


def _remove_abandoned(place: Path) -> None:
    """Removes the temporary folders of processes that are no more: they hold copies of somebody's texts."""
    for path in place.glob(f"{TEMPORARY}*/{LOCK}"):
        # A process holds its lock until it ends, however it ends.
        with suppress(Timeout, OSError, NotImplementedError), FileLock(path, timeout=0):
            shutil.rmtree(path.parent, ignore_errors=True)

"""Files of every format, whole and damaged: the rows that a naive reader has, or an error that names the file."""

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
import math
import os
import re
import tempfile
from importlib import import_module
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzzing import Refusal, attempt, damage, fuzz, strings, whole_strings
from hypothesis import strategies as st

from hf_rnn_multilabel.data import load_data, open_output, read_rows
from hf_rnn_multilabel.data.files import MARKS


COMPRESSORS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
DECOMPRESSORS = {"": bytes, ".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}
SURROGATE = re.compile("[\ud800-\udfff]")
LINE_END = re.compile("\r\n|\r|\n")
CELL = st.one_of(whole_strings, st.sampled_from(["", "1", "007", "a,b", "a;b", 'say "no"', "two\nlines", " x "]))


class BadFileError(Exception):
    """What a naive reader says."""


# Naive readers: the whole file at once, in the plainest way.


def naive_lines(text: str) -> list[str]:
    lines = LINE_END.split(text)
    return lines if lines[-1] else lines[:-1]


def naive_csv(text: str, delimiter: str) -> list[list[str]]:
    """RFC 4180, with any line end, an empty line as a row without fields, and quotation marks within a field."""
    rows, row, field, quoted, is_blank, at = [], [], "", False, True, 0
    while at < len(text):
        character, next_one = text[at], text[at + 1 : at + 2]
        at += 1
        if quoted:
            if character != '"':
                field += character
            elif next_one == '"':
                field, at = field + '"', at + 1
            else:
                quoted = False
                if next_one and next_one not in (delimiter, "\r", "\n"):
                    raise BadFileError("text after a quoted field")
        elif character == '"' and not field and (at == 1 or text[at - 2] in (delimiter, "\r", "\n")):
            quoted, is_blank = True, False
        elif character == delimiter:
            row, field, is_blank = [*row, field], "", False
        elif character in "\r\n":
            at += character == "\r" and next_one == "\n"
            rows.append([] if is_blank else [*row, field])
            row, field, is_blank = [], "", True
        else:
            field, is_blank = field + character, False
    if quoted:
        raise BadFileError("an open quotation mark")
    return rows if is_blank else [*rows, [*row, field]]


def naive_table(records: list[list[str]], text_column: str | None) -> list[dict]:
    records = list(records)
    while records and not records[0]:
        del records[0]
    if not records:
        return []
    header = records[0]
    if len(set(header)) < len(header):
        raise BadFileError("a name twice")
    rows = []
    for record in records[1:]:
        if not record and len(header) > 1:
            continue
        record = record or [""]
        if len(record) != len(header):
            raise BadFileError("fields")
        cells = dict(zip(header, record, strict=True))
        rows.append({name: cell or ("" if name == text_column else None) for name, cell in cells.items()})
    return rows


def unique(pairs):
    if len(dict(pairs)) < len(pairs):
        raise BadFileError("a key twice")
    return dict(pairs)


def replaced(value):
    if isinstance(value, str):
        return SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [replaced(each) for each in value]
    return {replaced(key): replaced(each) for key, each in value.items()} if isinstance(value, dict) else value


def naive_json(text: str) -> list[dict]:
    decoder, at, rows = json.JSONDecoder(object_pairs_hook=unique), 0, []
    space = re.compile(r"[ \t\r\n]*")
    at = space.match(text).end()
    if text[at : at + 1] == "[":
        # What stands after the list is nobody's row.
        rows, _ = decoder.raw_decode(text, at)
    else:
        while at < len(text):
            value, at = decoder.raw_decode(text, at)
            rows.append(value)
            at = space.match(text, at).end()
    if not all(isinstance(row, dict) for row in rows):
        raise BadFileError("no object")
    return replaced(rows)


def naive_rows(
    data: bytes, suffix: str, compression: str, text_column: str | None = "text", delimiter=None, encoding=None
):
    """The rows of a file, or an exception."""
    if compression == ".bz2" and not data:
        raise BadFileError("an archive without a beginning")
    data = DECOMPRESSORS[compression](data)
    if suffix == "parquet":
        table = pq.read_table(pa.BufferReader(data))
        if len(set(table.column_names)) < len(table.column_names):
            raise BadFileError("a name twice")
        return table.to_pylist()
    marked = next((codec for mark, codec in MARKS if data.startswith(mark)), None)
    codec = encoding or marked or "utf-8"
    text = data.decode("utf-8-sig" if codecs.lookup(codec).name == "utf-8" and marked == "utf-8-sig" else codec)
    if suffix == "txt":
        return [{text_column or "text": line} for line in naive_lines(text)]
    if suffix == "jsonl":
        rows = [
            json.loads(line, object_pairs_hook=unique) for line in naive_lines(text) if line and not line.isspace()
        ]
        if not all(isinstance(row, dict) for row in rows):
            raise BadFileError("no object")
        return replaced(rows)
    if suffix == "json":
        return naive_json(text)
    delimiter = delimiter or {"csv": ",", "tsv": "\t"}[suffix]
    if suffix == "tsv":
        return naive_table([line.split(delimiter) if line else [] for line in naive_lines(text)], text_column)
    return naive_table(naive_csv(text, delimiter), text_column)


# Random files.


@st.composite
def tables(draw, suffix: str):
    """Rows with a text and some other columns, as the format can hold them."""
    cells = CELL
    if suffix == "tsv":
        cells = CELL.map(lambda cell: re.sub("[\t\r\n]", "", cell))
    if suffix == "txt":
        return [{"text": re.sub("[\r\n]", "", text)} for text in draw(st.lists(CELL, max_size=6))]
    others = draw(
        st.lists(
            cells.filter(lambda name: "\0" not in name and name not in ("", "text", "predicted_labels")),
            max_size=2,
            unique=True,
        )
    )
    kinds = {"text": cells}
    for name in others:
        plain = st.one_of(st.none(), cells.map(lambda cell: cell or None))
        rich = st.one_of(plain, st.lists(whole_strings, max_size=2), st.integers(-9, 9), st.booleans())
        one_kind = draw(st.sampled_from([plain, st.lists(whole_strings, max_size=2), st.integers(-9, 9)]))
        kinds[name] = {"parquet": one_kind, "json": rich, "jsonl": rich}.get(suffix, plain)
    rows = draw(st.lists(st.fixed_dictionaries(kinds), min_size=1, max_size=6))
    return [{name: row[name] for name in kinds} for row in rows]


def written(rows: list[dict], suffix: str, options: dict) -> bytes:
    """The bytes of a file of rows, by others' writers."""
    if suffix == "parquet":
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), sink)
        return sink.getvalue()
    end, is_ascii = options["line_end"], options["ascii"]
    if suffix == "txt":
        text = "".join(row["text"] + end for row in rows)
    elif suffix == "jsonl":
        text = "".join(json.dumps(row, ensure_ascii=is_ascii) + end for row in rows)
    elif suffix == "json":
        indent = options["indent"]
        text = json.dumps(rows, ensure_ascii=is_ascii, indent=indent)
        if options["stream"]:
            text = "\n".join(json.dumps(row, ensure_ascii=is_ascii, indent=indent) for row in rows)
    elif suffix == "tsv":
        table = [list(rows[0]), *([cell or "" for cell in row.values()] for row in rows)]
        text = "".join((options["delimiter"] or "\t").join(row) + end for row in table)
    else:
        file = io.StringIO(newline="")
        quoting = csv.QUOTE_ALL if options["quote_all"] else csv.QUOTE_MINIMAL
        writer = csv.writer(file, delimiter=options["delimiter"] or ",", quoting=quoting, lineterminator="\r\n")
        writer.writerows([list(rows[0]), *(list(row.values()) for row in rows)])
        # Python before 3.13 leaves a line break without quotes that is not in its own line end.
        text = file.getvalue()
    return text.encode(options["codec"])


@st.composite
def random_files(draw, suffixes=("txt", "jsonl", "json", "csv", "tsv", "parquet")):
    """The name of a file, its rows, its bytes without compression, and the options that read it."""
    suffix = draw(st.sampled_from(suffixes))
    rows = draw(tables(suffix))
    codec = draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "latin-1"]))
    options = {
        "codec": codec,
        "line_end": draw(st.sampled_from(["\n", "\r\n"])),
        "ascii": draw(st.booleans()),
        "indent": draw(st.sampled_from([None, 1])),
        "stream": draw(st.booleans()),
        "quote_all": draw(st.booleans()),
        "delimiter": draw(st.sampled_from([None, None, ";", "|"])) if suffix == "csv" else None,
    }
    try:
        data = written(rows, suffix, options)
    except UnicodeEncodeError:
        options["codec"] = codec = "utf-8"
        data = written(rows, suffix, options)
    compression = draw(st.sampled_from(["", "", ".gz", ".bz2", ".xz"]))
    given = {"delimiter": options["delimiter"]}
    if suffix != "parquet":
        # Those without a mark at their beginning must be said.
        given["encoding"] = codec if codec in ("utf-16-le", "latin-1") else None
    return suffix, compression, rows, data, given


def same(rows, others) -> bool:
    """Equal in their values and their types, NaN too."""
    return [list(map(repr, row.items())) for row in rows] == [list(map(repr, row.items())) for row in others]


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as name:
        yield Path(name)


@fuzz(120, file=random_files())
def test_the_rows_of_a_file_come_back(folder, file):
    suffix, compression, rows, data, given = file
    path = folder / f"whole.{suffix}{compression}"
    path.write_bytes(COMPRESSORS[compression](data))
    found = attempt(lambda: list(read_rows(path, **given)))
    if isinstance(found, Refusal):
        # A header of one field that holds another delimiter, bytes of zero in what is not said to be UTF-16.
        assert (suffix in ("csv", "tsv") and len(rows[0]) == 1) or b"\0" in data, found
    elif suffix not in ("csv", "tsv") or len(rows[0]) > 1 or all(row["text"] for row in rows):
        assert same(found, rows)


@fuzz(120, file=random_files(("jsonl", "json", "csv", "tsv", "parquet")))
def test_what_is_written_is_read_again(folder, file):
    suffix, compression, rows, _, _ = file
    compression = "" if suffix == "parquet" else compression
    path = folder / f"output.{suffix}{compression}"

    def write():
        with open_output(path) as output:
            for row in rows:
                output.write(row)

    if isinstance(attempt(write), Refusal):
        raise AssertionError("each row fits into the format")
    found = attempt(lambda: list(read_rows(path)))
    if isinstance(found, Refusal):
        assert (suffix in ("csv", "tsv") and len(rows[0]) == 1) or "zero bytes" in found, found
    else:
        assert same(found, rows)
        assert os.listdir(folder) == [path.name] or path.name in os.listdir(folder)
    path.unlink()


@st.composite
def damaged_files(draw, suffixes=("txt", "jsonl", "json", "csv", "tsv", "parquet")):
    suffix, compression, _, data, given = draw(random_files(suffixes))
    if compression and draw(st.booleans()):
        return suffix, compression, damage(COMPRESSORS[compression](data), draw), given
    return suffix, compression, COMPRESSORS[compression](damage(data, draw)), given


def expected_of(data, suffix, compression, given, **options):
    try:
        return naive_rows(
            data, suffix, compression, **{key: value for key, value in given.items() if value}, **options
        )
    except (BadFileError, ValueError, OSError, EOFError, RecursionError, pa.ArrowException, lzma.LZMAError) as error:
        return error
    except Exception as error:  # zlib.error
        return error


@fuzz(150, file=damaged_files())
def test_a_damaged_file_gives_the_rows_of_a_naive_reader_or_an_error(folder, file):
    suffix, compression, data, given = file
    path = folder / f"damaged.{suffix}{compression}"
    path.write_bytes(data)
    found = attempt(lambda: list(read_rows(path, **given)), names=[str(path)])
    expected = expected_of(data, suffix, compression, given)
    if isinstance(found, Refusal):
        is_one_field = suffix in ("csv", "tsv") and "is one field" in found
        # A naive reader does not look at what a parquet file or its head says of itself.
        holds_zeros = "zero bytes" in found or "by its own count" in found
        assert isinstance(expected, Exception) or is_one_field or holds_zeros, (found, expected)
    else:
        assert not isinstance(expected, Exception), (found, expected)
        assert same(found, expected)


@pytest.fixture(scope="module")
def tag(tagger, tmp_path_factory):
    """The command, with a tagger that is loaded already."""
    model = tmp_path_factory.mktemp("model")
    module = import_module("hf_rnn_multilabel.cli.tag")
    patch = pytest.MonkeyPatch()
    patch.setattr(module, "load_tagger", lambda *args, **kwargs: tagger)
    yield lambda *arguments: module.main(["--model", str(model), *map(str, arguments)])
    patch.undo()


def is_finite(value) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


@fuzz(80, file=damaged_files(), to=st.sampled_from(["jsonl", "json", "csv", "tsv", "parquet", "jsonl.gz", "csv.xz"]))
def test_tag_gives_as_many_rows_as_it_was_given_or_leaves_the_output_as_it_was(folder, tag, file, to, capsys):
    suffix, compression, data, given = file
    path, output = folder / f"tagged.{suffix}{compression}", folder / f"tags.{to}"
    path.write_bytes(data)
    output.write_bytes(b"earlier")
    options = [f"--{name}={value}" for name, value in given.items() if value]
    done = attempt(tag, "--input", path, "--output", output, *options)
    if isinstance(done, Refusal):
        assert output.read_bytes() == b"earlier"
    else:
        expected = expected_of(data, suffix, compression, given)
        assert not isinstance(expected, Exception), expected
        parts = to.split(".")
        if not expected and parts[0] in ("csv", "tsv", "parquet"):
            return
        tagged = naive_rows(output.read_bytes(), parts[0], f".{parts[1]}" if len(parts) > 1 else "")
        assert len(tagged) == len(expected)
        for row, before in zip(tagged, expected, strict=True):
            assert row["text"] == before["text"]
            # In a table each row has all columns.
            assert set(row) >= {*before, "predicted_labels"}
    assert sorted(os.listdir(folder)) == sorted({path.name, output.name, *os.listdir(folder)})
    assert not [name for name in os.listdir(folder) if name.endswith(".part")]


@st.composite
def labelled_files(draw):
    """A file of texts and labels, whole or damaged, and the arguments that read it."""
    suffix = draw(st.sampled_from(["csv", "tsv", "jsonl", "json", "parquet"]))
    names = draw(
        st.lists(st.sampled_from(["red", "blue", "sea green", "é", "0117", "1", "a.b"]), min_size=1, unique=True)
    )
    some = st.lists(st.sampled_from(names), max_size=3, unique=True)
    texts = st.one_of(st.sampled_from(["a lamp", "a desk", "", 'a "b" c', "x, y"]), whole_strings)
    if suffix == "tsv":
        texts = texts.map(lambda text: re.sub("[\t\r\n]", "", text))
    rows = draw(st.lists(st.fixed_dictionaries({"text": texts, "tags": some}), min_size=6, max_size=20))
    given = {}
    if suffix in ("csv", "tsv") or draw(st.booleans()):
        given["label_separator"] = ";"
        rows = [row | {"tags": ";".join(row["tags"])} for row in rows]
    plain = {"line_end": "\n", "ascii": True, "indent": None, "stream": False, "quote_all": False, "delimiter": None}
    data = written(rows, suffix, plain | {"codec": "utf-8"})
    if draw(st.integers(0, 2)) == 2:
        data = damage(data, draw)
    if draw(st.booleans()):
        return suffix, data, given
    given |= draw(
        st.fixed_dictionaries(
            {},
            optional={
                "group_duplicates": st.booleans(),
                "validation_fraction": st.sampled_from([0.3, 0.5, 0.01]),
                "unknown_labels": st.just("drop"),
                "text_column": st.sampled_from(["text", "text", "text", "tags", "x"]),
                "label_column": st.sampled_from(["tags", "tags", "tags", "text", ["tags"]]),
                "label_list": st.just(names),
            },
        )
    )
    return suffix, data, given


@fuzz(60, file=labelled_files())
def test_all_rows_of_a_labelled_file_are_trained_on_or_an_error_says_why_not(folder, file):
    suffix, data, given = file
    path = folder / f"labelled.{suffix}"
    path.write_bytes(data)
    loaded = attempt(load_data, path, **given)
    if isinstance(loaded, Refusal):
        return
    expected = expected_of(data, suffix, "", {}, text_column=loaded.text_column)
    assert not isinstance(expected, Exception), expected
    texts = sorted(row[loaded.text_column] for row in expected)
    if given.get("group_duplicates"):
        texts = sorted(set(texts))
    assert sorted([*loaded.texts["train"], *loaded.texts["validation"]]) == texts


@fuzz(
    100,
    argument=strings,
    name=strings.filter(lambda name: name != "-"),  # stdin
    given=st.dictionaries(
        st.sampled_from(["file_format", "delimiter", "encoding", "text_column"]), st.one_of(st.none(), strings)
    ),
)
def test_any_path_and_option_of_a_file_is_read_or_refused(folder, argument, name, given):
    path = folder / "options.csv"
    path.write_text("text,tags\na,b\n")
    found = attempt(lambda: list(read_rows(path, **given)))
    assert isinstance(found, Refusal) or len(found) in (1, 2)
    attempt(lambda: list(read_rows(name, **given)))

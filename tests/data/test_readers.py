"""Every file is read by one reader: rows out are rows in, strings stay strings, errors name the row."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import tracemalloc
from itertools import islice
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from hf_rnn_multilabel.data import files, read_rows, read_texts
from hf_rnn_multilabel.data.readers import guess_text_column


COMPRESS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
ROWS = [{"text": text, "né": "ü, 漢"} for text in ['a "b" c', "", "line one\nline two", "tab\there", "'", "x,y;z|"]]


def as_text(kind: str, rows: list[dict]) -> str:
    if kind == "txt":
        return "".join(row["text"] + "\n" for row in rows)
    if kind == "jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows)
    if kind == "json":
        return json.dumps(rows, indent=2, ensure_ascii=False)
    if kind == "tsv":
        return "\n".join("\t".join(fields) for fields in [list(rows[0]), *(list(row.values()) for row in rows)]) + "\n"
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def rows_for(kind: str) -> list[dict]:
    """Rows that the format can hold."""
    if kind == "txt":
        return [{"text": row["text"]} for row in ROWS if "\n" not in row["text"]]
    return [row for row in ROWS if kind != "tsv" or not {"\n", "\t"} & set(row["text"])]


def write(path: Path, text: str | bytes, encoding: str = "utf-8") -> str:
    data = text if isinstance(text, bytes) else text.encode(encoding)
    path.write_bytes(COMPRESS.get(path.suffix.lower(), bytes)(data))
    return str(path)


# Formats


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("kind", ["txt", "jsonl", "json", "csv", "tsv"])
def test_every_format_gives_the_same_rows_plain_and_compressed(tmp_path, kind, compression):
    path = write(tmp_path / f"v1.2.{kind}{compression}", as_text(kind, rows_for(kind)))
    assert list(read_rows(path)) == rows_for(kind)


@pytest.mark.parametrize("compression", ["", ".gz"])
def test_parquet_gives_its_values(tmp_path, compression):
    rows = [row | {"n": number, "list": [number] * number} for number, row in enumerate(ROWS)]
    table = pa.Table.from_pylist(rows)
    parquet.write_table(table.set_column(1, "né", table["né"].dictionary_encode()), tmp_path / "a.parquet")
    path = write(tmp_path / f"b.parquet{compression}", (tmp_path / "a.parquet").read_bytes())
    assert list(read_rows(path)) == rows


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_zst_is_read_where_there_is_a_decompressor_and_told_where_there_is_none(tmp_path, kind):
    module = mock.Mock(open=lambda file, mode: gzip.GzipFile(fileobj=file, mode=mode))
    path = tmp_path / f"a.{kind}.zst"
    path.write_bytes(gzip.compress(as_text(kind, ROWS).encode()))
    with mock.patch.object(files, "_zstandard", return_value=module):
        assert list(read_rows(path)) == ROWS
    absent = {"compression": None, "compression.zstd": None, "zstandard": None}
    with mock.patch.dict(sys.modules, absent), pytest.raises(ValueError, match="pip install zstandard"):
        list(read_rows(path))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.json", '{"text": "a"}\n{"text": "b"}\n', ["a", "b"]),
        ("a.json", '{"text":\n "a"}{"text": "b"}', ["a", "b"]),
        ("a.json", "[]", []),
        ("a.json", " \n", []),
        ("a.jsonl", '{"text": "a"}\r\n\r\n{"text": "b"}', ["a", "b"]),
        ("a.ndjson", '{"text": "a\u2028\u0085b"}\n', ["a\u2028\u0085b"]),
        ("a.txt", "a\u2028\x0c\x1cb\r\nc", ["a\u2028\x0c\x1cb", "c"]),
        ("a.txt", "a\n\n\n", ["a", "", ""]),
        ("a.csv", "\n\ntext,n\n\na,1\n\n\nb,2\n\n", ["a", "b"]),
        ("a.csv", "text\na\n\nb\n", ["a", "", "b"]),
        ("a.tsv", "text\na\n\nb\n", ["a", "", "b"]),
        ("a.csv", "text,n\r\na,1\r\n", ["a"]),
        ("a.csv", 'n,text\n1," a"\n2, b \n', [" a", " b "]),
        ("a.csv", "text\n", []),
        ("a.csv", "", []),
        ("a.jsonl", "", []),
    ],
)
def test_what_other_programs_write_is_read(tmp_path, name, text, expected):
    assert [row["text"] for row in read_rows(write(tmp_path / name, text))] == expected


def test_a_list_of_objects_is_read_in_pieces(tmp_path):
    rows = [{"text": "é" * length, "n": [{"a": "]"}]} for length in (0, 1, 3_000_000, 2, 1_200_000)]
    for text in (json.dumps(rows), json.dumps(rows, ensure_ascii=False)):
        assert list(read_rows(write(tmp_path / "a.json", text))) == rows


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "tsv", "txt"])
def test_memory_does_not_grow_with_the_file(tmp_path, kind):
    path = write(tmp_path / f"a.{kind}", as_text(kind, [{"text": "word " * 20, "n": "1"}] * 60_000))
    assert os.path.getsize(path) > 6_000_000
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_rows(path)) == 60_000
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("name", "bad"), [("a.jsonl", b"{"), ("a.csv", b"x,y,z\n"), ("a.txt", b"\xff\n")])
def test_a_file_is_read_as_it_is_needed(tmp_path, name, bad):
    kind = name.split(".")[1]
    path = write(tmp_path / name, as_text(kind, [{"text": "lamp"}] * 50_000).encode() + bad)
    rows = read_rows(path)
    assert list(islice(rows, 40_000)) == [{"text": "lamp"}] * 40_000
    with pytest.raises(ValueError, match="50001"):
        list(rows)


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        (None, "a, ü\r\n\n\u2028b", [{"text": "a, ü"}, {"text": ""}, {"text": "\u2028b"}]),
        ("csv", "text,n\na,\n", [{"text": "a", "n": None}]),
        ("jsonl", '{"text": "ü"}\n', [{"text": "ü"}]),
        ("json", '[{"text": "ü"}]\n', [{"text": "ü"}]),
        ("tsv", "\ufefftext\ta\nx\t1", [{"text": "x", "a": "1"}]),
    ],
)
def test_lines_of_stdin_are_texts_and_rows_where_a_format_is_said(kind, data, expected):
    # A locale of another encoding does not matter.
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(data.encode())), encoding="ascii")
    with mock.patch.object(sys, "stdin", stdin):
        assert list(read_rows("-", file_format=kind)) == expected
        assert not stdin.closed


def test_stdin_is_read_from_a_pipe():
    code = "from hf_rnn_multilabel.data import read_rows\nprint(ascii(list(read_rows('-'))), end='')"
    run = subprocess.run([sys.executable, "-c", code], input=b"a\n\xc3\xbc\n", capture_output=True, check=True)
    assert run.stdout.decode() == ascii([{"text": "a"}, {"text": "ü"}])


def test_a_stream_of_text_in_the_place_of_stdin_is_read():
    with mock.patch.object(sys, "stdin", io.StringIO("ü\nb")):
        assert list(read_rows("-", text_column="body")) == [{"body": "ü"}, {"body": "b"}]


# Delimited files


@pytest.mark.parametrize("first", ["sep=;\r\n", '"sep=;"\n'])
def test_fault_10_the_delimiter_that_excel_writes_is_obeyed_and_its_line_counts(tmp_path, first):
    path = write(tmp_path / "a.csv", first + "text;tags\na,b;x\nc\n")
    rows = read_rows(path)
    assert next(rows) == {"text": "a,b", "tags": "x"}
    with pytest.raises(ValueError, match=r"Row 2 \(line 4\)"):
        next(rows)
    with pytest.raises(ValueError, match=r"`delimiter` is ','.*sep=;"):
        list(read_rows(path, delimiter=","))
    assert next(read_rows(path, delimiter=";")) == {"text": "a,b", "tags": "x"}


def test_fault_40_columns_without_a_name_are_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"Columns \[3, 4\] of .*no name"):
        list(read_rows(write(tmp_path / "a.csv", "text;tags;;\na;x;;\n"), delimiter=";"))


def test_an_index_without_a_name_is_a_column(tmp_path):
    assert list(read_rows(write(tmp_path / "a.csv", ",text\n0,a\n"))) == [{"": "0", "text": "a"}]


def test_fault_02_quotation_marks_of_csv_in_tsv_are_told(tmp_path):
    path = write(tmp_path / "a.tsv", 'text\tn\na ""b""\t1\n"a ""b"""\t2\n"c ""d"""\t3\n')
    with pytest.warns(UserWarning, match=r'Line 3 of .*`file_format="csv"` and `delimiter=') as caught:
        assert len(list(read_texts(path, "text"))) == 3
    assert len(caught) == 1


def test_fault_02_in_tsv_a_quotation_mark_is_text(tmp_path):
    texts = [f"text {number}" for number in range(98)]
    texts[10:10], texts[50:50] = ['"Stop, she said'], ['he said "no" and left" again']
    texts += ['"', '""', '"a"', 'a"', '"a" b', "'"]
    path = write(tmp_path / "a.tsv", "text\tlabel\n" + "".join(f"{text}\tred\n" for text in texts))
    assert list(read_rows(path)) == [{"text": text, "label": "red"} for text in texts]


@pytest.mark.parametrize(
    "bad",
    [
        ['"Stop, she said,red'],
        ['"Stop, she said,red', 'he said "no" and left" again,red'],
        ['"Stop, she said,red', '"Go, she said,red'],
        ['"Stop, she said,red', '"a proper one",red'],
        ['"he said "no"",red'],
    ],
)
@pytest.mark.parametrize("at", [0, 7, 40])
def test_fault_02_in_csv_an_unclosed_quote_is_an_error_with_its_row(tmp_path, bad, at):
    lines = [f"text {number},red" for number in range(41)]
    lines[at:at] = bad[:1]
    lines[at + 1 : at + 1] = [f"more {number},red" for number in range(3)] + bad[1:]
    path = write(tmp_path / "a.csv", "text,label\n" + "".join(line + "\n" for line in lines))
    rows = read_rows(path)
    assert len(list(islice(rows, at))) == at
    with pytest.raises(ValueError, match=rf"Row {at + 1} \(from line {at + 2} .*a\.csv.*quotation mark"):
        list(rows)


@pytest.mark.parametrize("opened", ['"Stop she said,red', '"Stop, she, said,red'])
def test_fault_02_a_field_over_lines_that_look_like_rows_is_told(tmp_path, opened):
    lines = ["text,label", "a,red", opened, "b,red", 'a disk of 5",red', "c,red"]
    path = write(tmp_path / "a.csv", "\n".join(lines) + "\n")
    with pytest.warns(UserWarning, match=r"Row 2 \(line 3\) of .*a\.csv.* over 3 lines"):
        assert len(list(read_rows(path))) == 3


def test_fault_02_a_space_before_a_quotation_mark_is_told(tmp_path):
    path = write(tmp_path / "a.csv", 'text,label\na,red\nb, "red"\n')
    with pytest.warns(UserWarning, match=r"Row 2 \(line 3\) of .*a\.csv.* space before a quotation mark"):
        assert list(read_rows(path))[1] == {"text": "b", "label": ' "red"'}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"text": "a"}]\n[{"text": "b"}]', r"After the list of 1 rows, .*a\.json"),
        ('[{"text": "a"}] {"text": "b"}', r"After the list of 1 rows, .*a\.json"),
        ('[{"text": "a"},', r"Row 2 of .*a\.json"),
        ('[{"text": "a"}', r"Row 1 of .*a\.json.* followed by 'the end'"),
        ("[", r"Row 1 of .*a\.json"),
    ],
)
def test_fault_02_rows_of_json_that_are_truncated_or_stand_after_the_list_are_an_error(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        list(read_rows(write(tmp_path / "a.json", text)))


@pytest.mark.parametrize(
    ("written", "said", "mark"), [("utf-8-sig", "latin-1", "utf-8"), ("utf-16", "latin-1", "utf-16")]
)
def test_fault_10_an_encoding_that_the_byte_order_mark_contradicts_is_an_error(tmp_path, written, said, mark):
    path = tmp_path / "a.txt"
    path.write_bytes("lamp\n".encode(written))
    with pytest.raises(ValueError, match=f"`encoding` is .*a.txt.* byte-order mark of {mark}"):
        list(read_rows(path, encoding=said))
    assert list(read_rows(path, encoding=mark)) == list(read_rows(path)) == [{"text": "lamp"}]


def test_a_text_over_lines_is_one_row_without_a_word(tmp_path, recwarn):
    rows = [{"text": "Dear all,\n\nsee, below:\n\rbye", "n": "1"}, {"text": "a\nb", "n": "2"}]
    assert list(read_rows(write(tmp_path / "a.csv", as_text("csv", rows)))) == rows
    assert not recwarn.list


@pytest.mark.filterwarnings("ignore:Line .* holds the control character")
@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(*[st.text(st.characters(codec="utf-8"), max_size=6)] * 2), min_size=1, max_size=6))
def test_fault_02_rows_out_are_rows_in_for_what_a_csv_writer_writes(tmp_path_factory, fields):
    rows = [{"text": text, "other": other} for text, other in fields]
    path = write(tmp_path_factory.mktemp("csv") / "a.csv", as_text("csv", rows))
    found = list(read_rows(path, encoding="utf-8"))
    # Python's writer leaves a lone carriage return as it is within quotes, and so does the reader.
    assert found == [{"text": text, "other": other or None} for text, other in fields]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize("fields", [["oh", " sky", "blue"], ["only one"]])
def test_fault_03_too_many_or_too_few_fields_are_an_error_with_the_row(tmp_path, name, at, fields):
    delimiter = "," if name == "a.csv" else "\t"
    lines = [["text", "tags"], ["a", "red"], ["b", "blue"], ["c", "red"]]
    lines[at:at] = [fields]
    path = write(tmp_path / name, "".join(delimiter.join(line) + "\n" for line in lines))
    rows = read_rows(path)
    assert len(list(islice(rows, at - 1))) == at - 1
    with pytest.raises(ValueError, match=rf"Row {at} \(line {at + 1}\) of .*{name}.* {len(fields)} fields .*header 2"):
        next(rows)


def test_fault_04_values_of_delimited_files_are_strings_and_an_empty_field_is_missing(tmp_path):
    values = ["0117", "117", "250.00", "1E5", "NA", "None", "null", "nan", "True", " ", "-", "0x1F", "1_000", "∞"]
    for kind, delimiter in {"csv": ",", "tsv": "\t"}.items():
        lines = [delimiter.join(["text", "code", "note"])]
        lines += [delimiter.join([value, value, ""]) for value in values]
        path = write(tmp_path / f"a.{kind}", "\n".join(lines))
        assert list(read_rows(path)) == [{"text": value, "code": value, "note": None} for value in values]


def test_an_empty_field_of_texts_is_an_empty_text(tmp_path):
    path = write(tmp_path / "a.csv", "body,tags\n,\na,b\n")
    assert list(read_rows(path, text_column="body")) == [{"body": "", "tags": None}, {"body": "a", "tags": "b"}]
    assert list(read_texts(path)) == ["", "a"] == list(read_texts(path, "body"))


@pytest.mark.parametrize(("name", "header"), [("a.csv", "text,n,text"), ("a.tsv", "n\tn\ttext")])
def test_fault_40_a_header_that_repeats_a_name_is_an_error(tmp_path, name, header):
    path = write(tmp_path / name, f"{header}\n1{header[4]}2{header[4]}3\n".replace("1x2x3", "1,2,3"))
    with pytest.raises(ValueError, match=rf"header of .*{name}.* more than once"):
        list(read_rows(path))


def test_fault_40_an_object_or_a_table_that_repeats_a_name_is_an_error(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "a"}\n{"text": "b", "n": 1, "n": 2}\n')
    with pytest.raises(ValueError, match=r"Row 2 \(line 2\) of .*\['n'\] more than once"):
        list(read_rows(path))
    table = pa.Table.from_arrays([pa.array(["a"])] * 2, names=["text", "text"])
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet.* \['text'\] more than once"):
        list(read_rows(tmp_path / "a.parquet"))


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("a.csv", "text;tags\na;x\n", {"delimiter": ";"}),
        ("a.tsv", "text|tags\na|x\n", {"delimiter": "|"}),
        ("a.csv", "text\ttags\na\tx\n", {"delimiter": r"\t"}),
        ("a.CSV", "text,tags\na,x\n", {}),
        ("a.Csv.GZ", "text,tags\na,x\n", {}),
        ("a.JSONL", '{"text": "a", "tags": "x"}\n', {}),
        ("a.dat", "text\ttags\na\tx\n", {"file_format": "tsv"}),
        ("a.txt", "text,tags\na,x\n", {"file_format": "csv"}),
        ("a", '{"text": "a", "tags": "x"}\n', {"file_format": "jsonl"}),
    ],
)
def test_fault_10_delimiter_format_and_capitals(tmp_path, name, text, options):
    assert list(read_rows(write(tmp_path / name, text), **options)) == [{"text": "a", "tags": "x"}]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("kind", ["txt", "jsonl", "json", "csv", "tsv"])
def test_fault_10_a_byte_order_mark_says_the_encoding(tmp_path, kind, encoding):
    mark = "\ufeff" if encoding.endswith("e") else ""
    path = write(tmp_path / f"a.{kind}.gz", mark + as_text(kind, rows_for(kind)), encoding)
    assert list(read_rows(path)) == rows_for(kind)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-le", "shift-jis"])
def test_fault_10_an_encoding_can_be_said_and_a_wrong_one_is_told_with_the_line(tmp_path, encoding):
    word = {"shift-jis": "日本"}.get(encoding, "é")
    rows = [{"text": "a" * 100, "tags": "x"}] * 300 + [{"text": word, "tags": "y"}]
    for kind in ("csv", "jsonl"):
        text = (
            as_text(kind, rows)
            if kind == "csv"
            else "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        )
        path = write(tmp_path / f"a.{kind}", text, encoding)
        assert list(read_rows(path, encoding=encoding)) == rows
        line = r"zero bytes" if encoding == "utf-16-le" else f"Line {301 + (kind == 'csv')} .*byte 0x"
        with pytest.raises(ValueError, match=rf"(?s){line}.*`encoding`|a\.{kind}.*{line}.*`encoding`"):
            list(read_rows(path))


def test_fault_10_a_file_of_excel_is_proposed_to_be_cp1252(tmp_path):
    path = write(tmp_path / "a.csv", "text,tags\n“a” lamp 5 €,x\n", "cp1252")
    with pytest.raises(ValueError, match=r'byte 0x93.*`encoding="cp1252"`'):
        list(read_rows(path))


@pytest.mark.parametrize(("name", "where"), [("a.csv", "Line 2"), ("a.json", "A row after row 0")])
@pytest.mark.parametrize(
    ("written", "encoding", "remedy"),
    [
        ("cp1252", "latin-1", '`encoding="cp1252"`'),
        ("utf-8", "latin-1", "leave `encoding` out"),
        ("utf-8", None, "Write the file again"),
    ],
)
def test_fault_10_control_characters_are_signs_of_a_wrong_encoding(tmp_path, name, where, written, encoding, remedy):
    text = "5\x80" if encoding is None else "Spaß… 5 €"
    rows = [{"text": text, "tags": "x"}, {"text": "\x80" if encoding is None else "€", "tags": "y"}]
    path = write(tmp_path / name, as_text(name[2:], rows), written)
    with pytest.warns(UserWarning) as caught:
        list(read_rows(path, encoding=encoding))
    (message,) = [str(warning.message) for warning in caught]
    assert message.startswith(where) and name in message and remedy in message


def test_fault_10_files_of_different_encodings_are_told_to_be_saved_alike(tmp_path):
    path = write(tmp_path / "a.csv", "text,tags\né,x\n")
    with pytest.raises(ValueError, match=r"0xc3.*ascii.*One `encoding` holds for all files"):
        list(read_rows(path, encoding="ascii"))


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"version": "1", "data": [{"text": "a"}, {"text": "b"}]}, "rows under 'data'.*json"),
        ({"text": {"0": "a", "1": "b"}, "labels": {"0": ["x"], "1": []}}, "'text', 'labels'.*orient=\"records\""),
        ({"0": {"text": "a", "labels": ["x"]}, "1": {"text": "b", "labels": []}}, 'orient="records"'),
        ({"text": ["a", "b"], "labels": [["x"], []]}, 'orient="records"'),
        ({"columns": ["text"], "index": [0, 1], "data": [["a"], ["b"]]}, 'orient="records"'),
    ],
)
def test_fault_42_one_object_that_holds_all_rows_is_an_error(tmp_path, name, table, message):
    with pytest.raises(ValueError, match=f"(?s)one object.*{message}"):
        list(read_rows(write(tmp_path / name, json.dumps(table))))


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize("more", [[], [{"text": "b"}]])
def test_objects_that_hold_objects_are_rows(tmp_path, name, more):
    rows = [{"text": "a", "spans": [{"start": 0}]}, *more]
    text = "\n".join(map(json.dumps, rows))
    assert list(read_rows(write(tmp_path / name, text))) == rows


def test_a_column_that_is_called_as_texts_and_holds_others_is_named(tmp_path):
    rows = [{"text": {"en": "a" * 9000}, "a": "x y", "b": "z"}]
    with pytest.raises(ValueError, match="'text' holds ") as caught:
        guess_text_column(rows, "a.jsonl")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_fault_10_a_table_that_is_called_txt_is_an_error_unless_the_format_is_said(tmp_path, encoding):
    path = write(tmp_path / "a.txt", "Text\tLabel\r\na lamp\tx\r\na desk\ty\r\n", encoding)
    with pytest.raises(ValueError, match=r"a\.txt.*1 tabs.*'Text', 'Label'.*`file_format=\"tsv\"`"):
        list(read_rows(path))
    assert [row["Label"] for row in read_rows(path, file_format="tsv")] == ["x", "y"]
    assert len(list(read_rows(path, file_format="txt"))) == 3


def test_fault_10_lines_that_may_be_a_table_are_told(tmp_path):
    path = write(tmp_path / "a.txt", "1\ta lamp\n2\ta desk\n")
    with pytest.warns(UserWarning, match='`file_format="tsv"`'):
        assert len(list(read_rows(path))) == 2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("text", ["a\tb\nc\n", "text\tand one more\n", "text\nlabels\n"])
def test_lines_with_some_tabs_are_texts_without_a_word(tmp_path, text):
    assert "".join(row["text"] + "\n" for row in read_rows(write(tmp_path / "a.txt", text))) == text


def test_a_line_that_is_not_utf_8_is_told_wherever_the_chunks_end(tmp_path):
    for before in (0, 1, 100, 4000, 8190, 8191, 8192, 9000):
        path = write(tmp_path / "a.txt", b"ab\n" * before + b"\xe9\nx\n" * 3)
        with pytest.raises(ValueError, match=rf"Line {before + 1} of .*a\.txt.* 0xe9"):
            list(read_rows(path))


@pytest.mark.parametrize(
    ("name", "text", "options", "message"),
    [
        ("a.csv", "text;tags\na;x\n", {}, "header.*'text;tags'.*delimiter=';'"),
        ("a.csv", "text,tags\n", {"delimiter": "::"}, "`delimiter` is '::'"),
        ("a.csv", "text,tags\n", {"delimiter": ""}, "`delimiter` is ''"),
        ("a.jsonl", "{}\n", {"delimiter": ","}, "`delimiter` is ',', but jsonl"),
        ("a.csv", "text,tags\n", {"encoding": "klingon"}, "`encoding` is 'klingon'"),
        ("a.csv", "text,tags\n", {"encoding": "base64"}, "`encoding` is 'base64'"),
        ("a.csv", gzip.compress(b"text", mtime=0), {}, r"a\.csv' is compressed by gzip"),
        ("a.csv", b"PK\x03\x04\0", {}, r"a\.csv' is a zip archive.*CSV UTF-8"),
        ("a.csv", b"PK\x03\x04\0", {"encoding": "latin-1"}, r"a\.csv' is a zip archive.*CSV UTF-8"),
        ("a.xlsx", b"PK\x03\x04\0", {"file_format": "csv"}, r"a\.xlsx' is a zip archive.*CSV UTF-8"),
        ("a.csv", b"\xd0\xcf\x11\xe0\0", {}, r"a\.csv' is a spreadsheet.*CSV UTF-8"),
        ("a.XLSX", b"PK\x03\x04\0", {}, r"format of '.*a\.XLSX'.*CSV UTF-8"),
        ("a.csv", "text;tags\na;x\n", {"delimiter": ","}, "One `delimiter` holds for all files"),
        ("a.jsonl", '{"a\\ud83d": 1, "a\\ud83e": 2}\n', {}, r"Row 1 of .*a\.jsonl.*more than once"),
        ("a.csv", "text,tags\n", {"file_format": "xlsx"}, "`file_format` is 'xlsx'.*CSV UTF-8"),
        ("a.doc", "lamp", {}, r"format of '.*a\.doc'.*`file_format`"),
        ("a", "lamp", {}, "format of '.*a'"),
        ("a.gz", "lamp", {}, r"format of '.*a\.gz'"),
        ("a.jsonl", '{"text": "lamp"}\n\n{"text"\n', {}, r"Row 2 \(line 3\) of .*a\.jsonl"),
        ("a.jsonl", '["lamp"]\n', {}, r"Row 1 \(line 1\) of .*JSON object"),
        ("a.jsonl", '[\n{"text": "lamp"}\n]\n', {}, r"Row 1 \(line 1\) of .*a\.jsonl"),
        ("a.jsonl", "[" * 100_000 + "\n", {}, r"Row 1 \(line 1\) of .*a\.jsonl"),
        ("a.json", '[{"text": "a"}, {"text" "b"}]', {}, r"Row 2 of .*a\.json"),
        ("a.json", '[{"text": "a"} {"text": "b"}]', {}, r"Row 1 of .*a\.json.* followed by '\{'"),
        ("a.json", '[{"text": "a"}', {}, r"Row 1 of .*a\.json.* followed by 'the end'"),
        ("a.json", '[{"text": "a"}, ["b"]]', {}, r"Row 2 of .*JSON object"),
        ("a.json", '{"text": "a', {}, r"Row 1 of .*a\.json"),
        ("a.json", b'[{"text": "a"}, {"text": "\xe9"}]', {}, r"a\.json.*0xe9"),
        ("a.parquet", "text", {}, r"a\.parquet"),
    ],
)
def test_fault_42_a_file_that_cannot_be_read_is_told_by_name_and_row(tmp_path, name, text, options, message):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=f"(?s){message}"):
        list(read_rows(path, **options))


@pytest.mark.parametrize("compression", [".gz", ".bz2", ".xz"])
@pytest.mark.parametrize("kind", ["jsonl", "json", "csv"])
def test_fault_42_a_damaged_archive_is_told_by_name(tmp_path, kind, compression):
    rows = [{"text": f"{number**5}"} for number in range(5000)]
    path = Path(write(tmp_path / f"a.{kind}{compression}", as_text(kind, rows)))
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:100] + b"\0\xff" * 50 + whole[200:], b"text\n" * 3, b""):
        path.write_bytes(damaged)
        if damaged == b"" and compression == ".gz":
            assert list(read_rows(path)) == []
            continue
        with pytest.raises(ValueError, match=rf"a\.{kind}{compression}"):
            assert list(read_rows(path)) != rows
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv"):
        read_rows(tmp_path / "nowhere.csv")
    with pytest.raises(ValueError, match="is a folder"):
        read_rows(tmp_path)


def test_fault_12_halves_of_surrogate_pairs_are_replaced(tmp_path):
    rows = [r'{"text": "\ud83d!", "\udc00": ["\uDBFF", {"a": "\ud83d\ude00"}]}', r'{"text": "\\ud83d"}']
    expected = [{"text": "\ufffd!", "\ufffd": ["\ufffd", {"a": "😀"}]}, {"text": r"\ud83d"}]
    for name, text in {"a.jsonl": "\n".join(rows), "a.json": f"[{', '.join(rows)}]"}.items():
        assert list(read_rows(write(tmp_path / name, text))) == expected


# Texts


def test_texts_of_several_files_come_one_after_the_other(tmp_path):
    first = write(tmp_path / "a.txt", "a\n\nb\n")
    second = write(tmp_path / "b.csv", "id,review,tags\n1,c,\n2,,x\n")
    third = write(tmp_path / "c.jsonl.gz", '{"text": "d", "other": "e"}\n')
    assert list(read_texts([first, third])) == ["a", "", "b", "d"]
    assert list(read_texts(second, "review")) == ["c", ""]
    assert list(read_texts(Path(third), "other")) == ["e"]


@pytest.mark.parametrize(
    ("name", "text", "column", "message"),
    [
        ("a.jsonl", '{"text": "a"}\n{"text": null}\n', None, r"Row 2 of .*a\.jsonl.* has None as `text`"),
        ("a.jsonl", '{"text": "a"}\n{"text": 3}\n', "text", r"Row 2 of .*a\.jsonl.* has 3 as `text`"),
        ("a.jsonl", '{"body": "a"}\n', "text", r"Row 1 of .*\['body'\].*`text_column`"),
        ("a.csv", "a,b\n1,2\n", "text", r"Row 1 of .*\['a', 'b'\].*`text_column`"),
        ("a.csv", "title,review\nx y,z\n", None, r"a\.csv.*\['title', 'review'\].*`text_column`"),
    ],
)
def test_a_row_without_a_text_is_told_with_its_number(tmp_path, name, text, column, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        list(read_texts(write(tmp_path / name, text), column))


@pytest.mark.parametrize(
    ("row", "others", "expected"),
    [
        ({"body": "b", "text": "a", "title": "c"}, (), "text"),
        ({"title": "c", "abstract": "b"}, (), "abstract"),
        ({"labels": ["x"], "review": "c"}, (), "review"),
        ({"text": 1, "review": "c"}, (), "review"),
        ({"id": "17", "review": "c"}, (), "review"),
        ({"review": "c", "tags": "x"}, ("tags",), "review"),
    ],
)
def test_the_column_of_texts_is_found_in_the_rows(row, others, expected):
    assert guess_text_column([{}, row | {"none": None}], "a.csv", others) == expected


@pytest.mark.parametrize("compression", [".gz", ".bz2", ".xz"])
def test_fault_42_a_damaged_archive_of_parquet_is_told_by_name(tmp_path, compression):
    table = io.BytesIO()
    parquet.write_table(pa.table({"text": ["a"]}), table)
    path = tmp_path / f"rows.parquet{compression}"
    path.write_bytes(COMPRESS[compression](table.getvalue())[:-20])
    with pytest.raises(ValueError, match=r"rows\.parquet"):
        list(read_rows(path))


@pytest.mark.parametrize("text", ["[", '[{"text": "a"},', '[{"text": "a"}, \n'])
def test_fault_42_a_json_list_that_is_cut_off_after_a_comma_is_an_error(tmp_path, text):
    path = tmp_path / "rows.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"Row \d of .*rows\.json"):
        list(read_rows(path))


def test_fault_42_a_parquet_file_of_strings_that_are_not_utf_8_is_told_by_name(tmp_path):
    path = tmp_path / "rows.parquet"
    strings = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xb1")])
    parquet.write_table(pa.table({"text": strings}), path)
    with pytest.raises(ValueError, match=r"rows\.parquet.*UTF8"):
        list(read_rows(path))


def test_fault_42_a_time_that_python_cannot_hold_is_told_by_file_and_rows(tmp_path):
    path = tmp_path / "rows.parquet"
    parquet.write_table(pa.table({"text": ["a"], "when": pa.array([2**62], pa.timestamp("us"))}), path)
    with pytest.raises(ValueError, match=r"Rows 1 to 1 of .*rows\.parquet"):
        list(read_rows(path))


@pytest.mark.parametrize("encoding", ["\0", "\ud800", "hex", "x"], ids=ascii)
def test_fault_10_an_encoding_that_is_none_of_text_is_refused(tmp_path, encoding):
    path = tmp_path / "rows.csv"
    path.write_text("text\na\n", encoding="utf-8")
    with pytest.raises(ValueError, match="`encoding` is"):
        list(read_rows(path, encoding=encoding))


def test_fault_42_a_parquet_file_with_fewer_rows_than_it_says_is_an_error(tmp_path):
    path = tmp_path / "rows.parquet"
    parquet.write_table(pa.table({"text": ["a", "b"]}), path)
    with (
        mock.patch.object(parquet.ParquetFile, "iter_batches", return_value=iter([pa.record_batch({"text": ["a"]})])),
        pytest.raises(ValueError, match=r"rows\.parquet' holds 1 rows, and 2"),
    ):
        list(read_rows(path))


@pytest.mark.parametrize(
    "text",
    [
        '"Stop, she said,red\nhe said no",blue\n',
        '"Stop she said,red\noh, sky,red\nhe said no",blue\n',
        '"Stop she said,red\noh, my, sky,green\na lamp,red\nhe said no",blue\n',
    ],
)
def test_fault_02_lines_in_quotes_that_end_as_rows_do_are_warned_of(tmp_path, text):
    (tmp_path / "a.csv").write_text("text,tag\na lamp,red\na desk,blue\n" + text + "more,red\n")
    with pytest.warns(UserWarning, match=r"Row 3 \(line 4\) of .*a quotation mark is not closed"):
        rows = list(read_rows(tmp_path / "a.csv"))
    assert len(rows) == 4


def test_fault_02_prose_over_several_lines_is_no_warning(tmp_path, recwarn):
    rows = ['"Dear Sir, or Madam,\nthank you, red\n\nYours, etc.",blue', '"a list:\n- red, blue\n- green",red']
    (tmp_path / "a.csv").write_text("text,tag\na lamp,red\na desk,blue\n" + "\n".join(rows) + "\n")
    assert len(list(read_rows(tmp_path / "a.csv"))) == 4 and not recwarn.list

"""What the rows say before a training: the same as the training reads, by whichever way they come."""

import json
import warnings
from unittest import mock

import numpy as np
import pytest
from helpers import WORDS, make_rows, write_csv, write_jsonl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hf_rnn_multilabel.data import Inspection, inspect_data, label_columns, load_data, tables, train_tokenizer
from hf_rnn_multilabel.data.inspection import find_repetitions, hash_labels


ROWS = [
    ("a red lamp", "red;light"),
    ("a blue lamp", "blue;light"),
    ("", "red"),
    ("a blue lamp", "blue"),
    ("a red lamp", "light;red"),
    ("nothing here", ""),
]
SEEN = [("a red lamp", "red"), ("another", "blue")]


def write(path, rows, columns=("text", "tags")) -> str:
    return write_csv(path, [dict(zip(columns, row, strict=True)) for row in rows])


def inspect_both(*source, **options) -> list[Inspection | str]:
    """What `inspect_data` and `load_data` say of the same rows: the inspection, or the error."""
    found: list[Inspection | str] = []
    for read in (inspect_data, lambda *given, **more: load_data(*given, **more).inspection):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found.append(read(*source, **options))
            except (ValueError, FileNotFoundError) as error:
                found.append(f"{type(error).__name__}: {error}")
    return found


def test_the_block_says_where_rows_are_from_how_they_are_read_and_what_is_in_them(tmp_path):
    train, test = write(tmp_path / "train.csv", ROWS), write(tmp_path / "test.csv", SEEN)
    inspection = inspect_data(train, test_file=test, label_separator=";", max_length=2)
    part = inspection.splits["train"]
    assert (part.texts.rows, part.texts.empty, part.texts.long) == (6, 1, 4)
    assert (part.repeated, part.relabelled, part.relabelled_rows, part.without_labels) == (2, 1, (3, 1), 1)
    assert inspection.splits["test"].in_train == 1 and part.in_train is None
    assert inspection.encoding.counts == {"blue": 2, "light": 3, "red": 3}
    expected = [
        f"6 rows of {train} (csv, utf-8, delimiter ',', quotation marks enclose fields)",
        "1 empty texts; 2 repeated texts, 1 of them with other labels; 1 rows without labels; 4 texts of more than 2",
        f"2 rows of {test} (csv",
        "1 texts that stand in train too",
        "column 'text', the first of text, sentence",
        "column 'tags', the only one of labels, label, tags",
        "one string per row, split at its separator ';'",
        "3 labels, 1.33 per row; 0 of them occur once",
        "'blue' 2, 'light' 3, 'red' 3",
    ]
    printed = str(inspection)
    assert [line for line in expected if line not in printed] == []
    assert sorted(expected, key=printed.index) == expected


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("a.tsv", {}, "(tsv, utf-8, delimiter '\\t', quotation marks are text)"),
        ("a.csv", {"delimiter": ";", "encoding": "latin-1"}, "(csv, iso8859-1, delimiter ';', quotation"),
        ("a.csv", {"encoding": "utf-16"}, "(csv, utf-16, delimiter ','"),
        ("a.jsonl.gz", {}, "(jsonl in .gz, utf-8)"),
    ],
)
def test_a_file_is_described_as_it_is_read(tmp_path, name, options, words):
    path, rows = tmp_path / name, [{"text": f"text {i}", "label": "ab"[i % 2]} for i in range(4)]
    if "jsonl" in name:
        write_jsonl(path, rows)
    else:
        write_csv(path, rows, options.get("delimiter", "\t" if name == "a.tsv" else ","))
        path.write_bytes(path.read_text().encode(options.get("encoding", "utf-8")))
    assert words in str(inspect_data(path, **options))


def test_fault_10_the_delimiter_that_excel_writes_is_shown(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("sep=;\ntext;label\na lamp, red;x\na desk;y\n", encoding="utf-8")
    assert "delimiter ';'" in str(inspect_data(path))


def test_columns_say_why_they_are_those(tmp_path):
    path = write(tmp_path / "a.csv", ROWS[:4], ("note", "tags"))
    found = inspect_data(path, label_separator=";")
    assert (found.text_column, found.text_reason) == ("note", "the only column of strings")
    named = inspect_data(path, label_separator=";", text_column="note", label_column=["tags"])
    assert (named.text_reason, named.label_reason) == ("named by `text_column`", "named by `label_column`")


def test_of_many_labels_the_first_the_last_and_the_rarest_are_named():
    rows = [{"text": f"text {i}", "labels": WORDS[i % 3 :]} for i in range(9)]
    rows += [{"text": "one", "labels": ["zebra"]}]
    printed = str(inspect_data(rows))
    assert "first and last: 'blue' 9, 'zebra' 1; rarest: 'zebra' 1, 'lamp' 3, 'desk' 6" in printed
    assert "11 labels" in printed and "1 of them occur once" in printed


def test_with_a_tokenizer_truncated_texts_are_counted_in_tokens(tmp_path):
    rows = make_rows(30)
    tokenizer = train_tokenizer([row["text"] for row in rows])
    for source in (rows, write_jsonl(tmp_path / "a.jsonl", rows)):
        texts = inspect_data(source, tokenizer=tokenizer, max_length=5).splits["train"].texts
        assert texts.truncated == sum(len(tokenizer(row["text"])["input_ids"]) > 5 for row in rows) > 0
        assert texts.long == sum(len(row["text"].split()) > 5 for row in rows)
    assert inspect_data(rows).splits["train"].texts.truncated is None


def test_what_is_known_before_an_error_is_there(tmp_path):
    known = Inspection()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        inspect_data("nowhere.csv", into=known)
    assert str(known) == ""
    path = write(tmp_path / "a.csv", ROWS)
    with pytest.raises(ValueError, match="one label or several"):
        inspect_data(path, into=known)
    assert known.splits["train"].texts.rows == 6 and known.label_columns == ["tags"] and known.encoding is None
    assert "6 rows" in str(known) and "column 'tags'" in str(known)
    known = Inspection()
    with pytest.raises(ValueError, match=r"test\.csv"):
        inspect_data(path, label_separator=";", test_file=write(tmp_path / "test.csv", [("a", "")]), into=known)
    assert known.encoding.counts["red"] == 3 and known.splits["test"].without_labels == 1


def test_a_training_reports_the_same_block_and_warns_of_the_same(tmp_path, caplog):
    rows = [(f"text {i % 20}", "red" if i < 20 else "blue") for i in range(40)]
    path = write(tmp_path / "a.csv", rows)
    expected = inspect_data(path)
    with caplog.at_level("INFO", "hf_rnn_multilabel"), pytest.warns(UserWarning) as caught:
        data = load_data(path)
    assert str(expected) in caplog.text
    assert [str(each.message) for each in caught] == expected.warnings == data.inspection.warnings != []
    assert "split off train" in data.inspection.notes[0]
    caplog.clear()
    bad = write(tmp_path / "bad.csv", [*rows, ("x", "red;blue")])
    with (
        caplog.at_level("INFO", "hf_rnn_multilabel"),
        pytest.raises(ValueError, match="red;blue"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        load_data(bad)
    assert "41 rows" in caplog.text


def test_a_warning_of_the_reader_is_part_of_the_inspection_once(tmp_path):
    rows = [f"text {i},{'ab'[i % 2]}" for i in range(20)]
    rows[3], rows[6] = '"open,a', 'closed",b'
    (tmp_path / "a.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    (message,) = inspect_data(tmp_path / "a.csv", validation_fraction=0.6).warnings
    assert "Row 4 (line 5)" in message
    with pytest.warns(UserWarning, match="Row 4") as caught:
        load_data(tmp_path / "a.csv", validation_fraction=0.6)
    assert len(caught) == 1


def test_texts_are_not_kept_of_files(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", make_rows(50))
    with (
        mock.patch("hf_rnn_multilabel.data.loading.understand_labels", side_effect=KeyboardInterrupt) as understand,
        pytest.raises(KeyboardInterrupt),
    ):
        inspect_data(path)
    (dataset,) = understand.call_args.args[:1]
    assert dataset["train"].features["text"].dtype == "int64"


CLEAN = st.sampled_from(["red", "blue", "Red", " red", "caf\u00e9", "cafe\u0301", "0", "1"])
ODD = st.sampled_from(["red", "red blue", "a;b", "[red]", "", None])
KINDS = [
    st.lists(CLEAN, max_size=3),
    CLEAN,
    st.lists(st.integers(0, 2), max_size=3),
    st.lists(st.sampled_from([0, 1, None, -100]), min_size=2, max_size=2),
    st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=2),
    st.integers(0, 2),
    st.lists(CLEAN, max_size=2).map(";".join),
]
ANY = st.one_of(*KINDS, ODD, st.lists(ODD, max_size=2), st.booleans(), st.lists(st.sampled_from([0, 0.5, -1])))
TEXTS = st.sampled_from(["a lamp", "a desk", "", "\ud83d", "12"])


@st.composite
def splits(draw):
    """Rows of two splits; mostly texts that are strings and labels of one kind."""
    texts, kind = TEXTS, draw(st.sampled_from([*KINDS, *KINDS, ODD, ANY]))
    if draw(st.integers(0, 5)) == 0:
        texts = st.one_of(TEXTS, st.none(), st.just(5))
    row = st.fixed_dictionaries({"text": texts, "tags": kind})
    return {split: draw(st.lists(row, min_size=2, max_size=6)) for split in ("train", "validation")}


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    rows=splits(),
    options=st.fixed_dictionaries(
        {"text_column": st.just("text"), "unknown_labels": st.sampled_from(["drop", "drop", "error"])},
        optional={
            "label_separator": st.just(";"),
            "label_list": st.just(["red", "blue", "Red"]),
            "group_duplicates": st.just(True),
            "blank_label": st.just("absent"),
        },
    ),
    suffix=st.sampled_from(["jsonl", "csv", "rows"]),
)
def test_inspect_and_a_training_understand_the_same_of_any_file(tmp_path, rows, options, suffix):
    if suffix == "rows":
        source: object = rows
    else:
        source = {split: str(tmp_path / f"{split}.{suffix}") for split in rows}
        for split, part in rows.items():
            if suffix == "jsonl":
                write_jsonl(tmp_path / f"{split}.jsonl", part)
            else:
                part = [{name: "" if value is None else str(value) for name, value in row.items()} for row in part]
                write(tmp_path / f"{split}.csv", [(row["text"].replace("\ud83d", "?"), row["tags"]) for row in part])
    # With little memory, what is kept goes through temporary files, and blocks end within the rows.
    is_small = len(rows["train"]) % 2
    with (
        mock.patch.object(tables, "MAX_MEMORY", 100 if is_small else tables.MAX_MEMORY),
        mock.patch.object(label_columns, "BLOCK", 2 if is_small else label_columns.BLOCK),
    ):
        found, expected = inspect_both(source, **options)
    if isinstance(expected, str) or isinstance(found, str):
        assert found == expected
        return
    assert json.dumps(found.to_dict()) == json.dumps(expected.to_dict())
    assert str(found) == str(expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = load_data(source, **options)
    for split, labels in data.labels.items():
        part = found.splits[split]
        texts = data.texts[split]
        assert part.texts.rows - part.merged == len(texts)
        assert part.without_labels == (labels != 1).all(axis=1).sum()
        assert part.mean_labels == pytest.approx((labels == 1).sum() / len(labels))
        first = [texts.index(text) for text in texts]
        assert part.repeated == sum(index > earlier for index, earlier in enumerate(first))
        assert part.relabelled == (labels != labels[first]).any(axis=1).sum()
    assert list(found.encoding.counts.values()) == (data.labels["train"] == 1).sum(axis=0).tolist()


@pytest.mark.parametrize("seed", range(3))
def test_repetitions_are_those_that_a_comparison_of_all_rows_finds(seed):
    draw = np.random.default_rng(seed)
    texts, matrix = draw.integers(0, 12, 40), draw.choice([0, 0, 1, -100], (40, 3))
    rows, labels = np.nonzero(matrix)
    hashes = hash_labels((rows, labels, matrix[rows, labels].astype(np.float32)), len(matrix))
    assert (hashes[:, None] == hashes).tolist() == [[bool((a == b).all()) for b in matrix] for a in matrix]
    repeated, later, earlier = find_repetitions(texts, hashes)
    first = [texts.tolist().index(text) for text in texts]
    assert repeated == 40 - len(set(texts))
    pairs = [(row, one) for row, one in enumerate(first) if (matrix[row] != matrix[one]).any()]
    assert list(zip(later.tolist(), earlier.tolist(), strict=True)) == pairs

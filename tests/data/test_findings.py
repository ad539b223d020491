"""What is likely wrong with rows that can be read: a warning with an example, and none for rows that are well."""

import pytest
from helpers import make_rows, write_csv, write_jsonl

from hf_rnn_multilabel.data import inspect_data


def csv_rows(texts, labels) -> list[dict]:
    return [{"text": text, "tags": label} for text, label in zip(texts, labels, strict=True)]


def warnings_of(tmp_path, rows, name="a.csv", **options) -> list[str]:
    path, options = tmp_path / name, {"validation_fraction": 0.5} | options
    if name.endswith("jsonl"):
        write_jsonl(path, rows)
    else:
        write_csv(path, rows, "\t" if name == "a.tsv" else ",")
    return inspect_data(path, **options).warnings


TEXTS = [f"{word} and more of text {number}" for number in range(10) for word in ("lamp", "desk")]
TAGS = ["red", "blue", "green", "red"] * 5


@pytest.mark.parametrize(
    "rows", [csv_rows(TEXTS, TAGS), make_rows(40), csv_rows(["红", "蓝色的灯"] * 10, ["a", "b"] * 10)]
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv"])
def test_rows_that_are_well_give_no_warning(tmp_path, rows, name):
    lists = "labels" in rows[0]
    if lists and name != "a.jsonl":
        rows = [row | {"labels": ";".join(row["labels"])} for row in rows]
    options = {"label_separator": ";"} if lists and name != "a.jsonl" else {}
    found = warnings_of(
        tmp_path, [row | {"text": f"{row['text']} {i}"} for i, row in enumerate(rows)], name, **options
    )
    assert found == []


def with_text(index: int, text: str) -> list[dict]:
    return csv_rows([*TEXTS[:index], text, *TEXTS[index + 1 :]], TAGS)


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        (
            csv_rows([f'"a ""{text}"""' for text in TEXTS], TAGS),
            {"name": "a.tsv"},
            ["Line 2 of", '`file_format="csv"`', r"`delimiter='\t'`"],
        ),
        (with_text(4, "cafÃ© and tea"), {}, ["1 of 20", "row 5, 'cafÃ© and tea'"]),
        (with_text(4, "a café"), {"encoding": "latin-1"}, ["`encoding` than 'latin-1'", "row 5"]),
        (with_text(6, "text"), {}, ["row 7", "name of the column"]),
        (csv_rows(map(str, range(20)), TAGS), {}, ["are numbers", "`text_column`", "row 1, '0'"]),
        (csv_rows([f"id-{i}" for i in range(20)], TAGS), {}, ["one word", "'id-0'", "`text_column`"]),
        (csv_rows([""] * 19 + ["a text"], ["red"] * 20), {}, ["19 of 20", "empty", "`text_column`"]),
        (
            csv_rows(TEXTS[:10] * 2, TAGS[:10] + ["other"] * 10),
            {},
            ["10 of 20 rows", "10 of them with other labels", "row 11 that of row 1", "`group_duplicates=True`"],
        ),
        (csv_rows(TEXTS, ["red"] * 20), {}, ["['red'] are on all rows", "`label_column`"]),
        (csv_rows(TEXTS, ["red", *[""] * 18, "blue"]), {}, ["18 of 20 rows", "no label"]),
        (csv_rows(TEXTS, [f"id{i}" for i in range(20)]), {}, ["20 labels, 20 of them different", "`label_separator`"]),
        (csv_rows([f"t {i}" for i in range(20)], [f"{t} that is long" for t in TEXTS[:5]] * 4), {}, ["characters"]),
        (csv_rows(TEXTS, ["red", "Red"] * 10), {}, ["'Red' in row 2 and 'red' in row 1"]),
        (csv_rows(TEXTS, ['"red"', "blue"] * 10), {"name": "a.jsonl"}, ["quotation marks", "'\"red\"' in row 1"]),
        (csv_rows(TEXTS, ["{red;blue}", "{blue}"] * 10), {"label_separator": ";"}, ["brackets", "in row 1"]),
        (
            csv_rows(TEXTS, ["red;blue", "red|blue"] * 10),
            {"label_separator": ";", "label_list": ["red", "blue", "red|blue"]},
            ["'|'", "'red|blue' in row 2"],
        ),
        (csv_rows(TEXTS, TAGS), {"label_list": ["red", "blue", "green", "pink"]}, ["['pink'] (1 of 4) are on no row"]),
        (
            csv_rows(TEXTS, ["nan", "NaN", "red", "N/A", "-"] * 4),
            {},
            ["['-', 'N/A', 'NaN', 'nan'] may say", "'-' in row 5", "leave the field empty", "`label_list`"],
        ),
        (csv_rows(TEXTS, TAGS), {"validation_fraction": 0.4}, ["`validation_fraction` 0.4 of 20 rows", "about 8"]),
        (with_text(4, " "), {}, ["1 empty texts of 'a.csv' have labels, the first of them row 5"]),
        (
            csv_rows([*TEXTS[:10], *["n/a"] * 10], TAGS),
            {},
            ["10 of 20 rows of 'a.csv' have one and the same text, the first of them row 11", "another `text_column`"],
        ),
        (
            [{"text": text, "tags": ["red", "blue", "red and blue"][i % 3 :]} for i, text in enumerate(TEXTS)],
            {"name": "a.jsonl"},
            ["' and '", "'red and blue' in row 1"],
        ),
        (csv_rows(TEXTS, ["cafÃ©", "blue"] * 10), {}, ["wrong encoding", "'cafÃ©' in row 1", "`encoding`"]),
    ],
)
def test_what_is_likely_wrong_is_told_with_a_row_and_what_mends_it(tmp_path, rows, options, words):
    found = warnings_of(tmp_path, rows, **options)
    assert [message for message in found if all(word in message for word in words)], found


def test_what_was_found_otherwise_is_not_told_too(tmp_path):
    found = warnings_of(tmp_path, csv_rows(TEXTS, ["nan", "NaN", "red", "blue"] * 5))
    assert len(found) == 1 and "capitals" not in found[0]
    named = warnings_of(tmp_path, csv_rows(TEXTS, ["none", "red"] * 10), label_list=["none", "red"])
    assert named == []
    for group in (False, True):
        same = csv_rows(["n/a"] * 10 + TEXTS[:10] + TEXTS, TAGS * 2)
        found = warnings_of(tmp_path, same, group_duplicates=group)
        assert len(found) == 1 and "one and the same text" in found[0]
    unlabelled = csv_rows(["", *TEXTS[1:]], ["", *TAGS[1:]])
    assert warnings_of(tmp_path, unlabelled) == []


def test_a_small_validation_is_told_and_a_larger_one_is_not():
    other = csv_rows([f"another text {i}" for i in range(20)], TAGS)
    for rows, is_told in ((9, True), (10, False)):
        found = inspect_data({"train": csv_rows(TEXTS, TAGS), "validation": other[:rows]}).warnings
        assert ["validation has 9 texts" in each for each in found] == [True] * is_told


def test_few_texts_that_stand_in_train_are_no_warning(tmp_path):
    train = csv_rows(TEXTS, TAGS)
    for seen, is_told in ((1, False), (3, True)):
        test = csv_rows([*TEXTS[:seen], *(f"another text {i}" for i in range(24 - seen))], ["red", "blue"] * 12)
        found = inspect_data({"train": train, "test": test}, validation_fraction=0.5).warnings
        assert [f"{seen} of 24 texts of test stand in train too" in message for message in found] == [True] * is_told


def test_rows_count_as_in_the_file_where_texts_are_merged(tmp_path):
    rows = csv_rows([TEXTS[0], TEXTS[0], *TEXTS[1:]], ["red", "blue", *TAGS[:18], "Red"])
    (found,) = warnings_of(tmp_path, rows, group_duplicates=True)
    assert "'Red' in row 21 and 'red' in row 1" in found


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_fault_01_rows_that_lack_the_key_of_the_labels_are_told_with_the_key_that_they_have(tmp_path, name):
    rows = [{"text": text, "labels": [tag]} for text, tag in zip(TEXTS, TAGS, strict=True)]
    for row in rows[3:6]:
        row["lables"] = row.pop("labels")
    path = tmp_path / name
    write_jsonl(path, rows)
    found = inspect_data(path).warnings[0]
    assert "3 of 20 rows" in found and "row 4" in found and "These rows alone have ['lables']" in found


def test_rows_that_say_that_they_have_no_label_are_no_warning(tmp_path):
    rows = [{"text": text, "labels": [tag]} for text, tag in zip(TEXTS, TAGS, strict=True)]
    rows[3]["labels"], rows[4]["labels"] = [], None
    assert warnings_of(tmp_path, rows, "a.jsonl") == []


@pytest.mark.parametrize("options", [{}, {"text_column": "text", "label_column": "tags"}, {"label_column": "tags"}])
@pytest.mark.parametrize("first", ["a lamp that folds and shines,red", "1,red", "a lamp,red"])
def test_fault_03_a_file_without_a_header_is_told_so(tmp_path, first, options):
    path = tmp_path / "a.csv"
    path.write_text(f"{first}\na desk,red\nmore,blue\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"first line looks like data.*a line before it that names the columns"):
        inspect_data(path, **options)


def test_columns_that_are_called_otherwise_are_no_missing_header(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("comment,kind\na desk,red\nmore,blue\n", encoding="utf-8")
    with pytest.raises(ValueError, match="label_column") as caught:
        inspect_data(path)
    assert "looks like data" not in str(caught.value)


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize(("text", "labels"), [("Text", "Tags"), ("TEXT", "LABELS"), ("Body", "label")])
def test_columns_are_found_in_capitals(tmp_path, text, labels, in_memory):
    rows = [{"Name": "one more", text: held, labels: [tag]} for held, tag in zip(TEXTS, TAGS, strict=True)]
    source = rows if in_memory else tmp_path / "a.jsonl"
    write_jsonl(tmp_path / "a.jsonl", rows)
    found = inspect_data(source)
    assert (found.text_column, found.label_columns) == (text, [labels])


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize(("twice", "setting"), [("text", "`text_column`"), ("tags", "`label_column`")])
def test_columns_that_differ_in_capitals_alone_are_an_error(tmp_path, twice, setting, in_memory):
    rows = [row | {twice.title(): row[twice]} for row in csv_rows(TEXTS, TAGS)]
    write_csv(tmp_path / "a.csv", rows)
    with pytest.raises(ValueError, match=f"{twice}.*{twice.title()}.*{setting}|{twice.title()}.*{twice}.*{setting}"):
        inspect_data(rows if in_memory else tmp_path / "a.csv")


def test_fault_05_lists_of_one_name_that_holds_a_separator_are_warned_of():
    rows = [{"text": text, "labels": [tag]} for text, tag in zip(TEXTS, TAGS, strict=True)]
    rows[3]["labels"] = ["sport,news"]
    assert any("1 labels hold what separates" in found for found in inspect_data(rows).warnings)
    assert not any(
        "what separates" in found for found in inspect_data(rows, label_list=[*set(TAGS), "sport,news"]).warnings
    )
    rows[4]["labels"] = sorted(set(TAGS))[:2]
    assert not any("what separates" in found for found in inspect_data(rows).warnings)

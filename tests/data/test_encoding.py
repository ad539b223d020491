import numpy as np
import pytest
from datasets import (
    ClassLabel,
    Dataset,
    DatasetDict,
    Features,
    IterableDataset,
    LargeList,
    List,
    Value,
    disable_progress_bars,
    enable_progress_bars,
    load_dataset,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import DataCollatorWithPadding, PreTrainedTokenizerFast

from hf_rnn_multilabel.data import encode_labels, find_text_column, label_frequencies, stratified_split, tokenize


@pytest.fixture(autouse=True, scope="module")
def no_progress_bars():
    disable_progress_bars()
    yield
    enable_progress_bars()


def rows(labels, feature=None, **columns):
    """A dataset with the column "labels", of the given feature."""
    dataset = Dataset.from_dict({"text": [f"text {row}" for row in range(len(labels))], "labels": labels, **columns})
    return dataset if feature is None else dataset.cast_column("labels", feature)


def matrix(dataset):
    return np.array(dataset["labels"][:], dtype=np.float32).tolist()


# Label forms


@st.composite
def label_sets(draw):
    """Label names, and for each of two splits the label indices of each row."""
    names = draw(st.lists(st.text("abcé 日", min_size=1).map(str.strip), min_size=2, max_size=5, unique=True))
    names = [name or "blank" for name in names]
    index = st.integers(0, len(names) - 1)
    splits = draw(st.lists(st.lists(st.lists(index, max_size=6), min_size=1, max_size=6), min_size=2, max_size=2))
    return list(dict.fromkeys([*names, "x", "y"])), dict(zip(("train", "test"), splits, strict=True))


def as_form(form, names, sets):
    """One split in one form, with the arguments that tell `encode_labels` about it."""
    hot = [[int(index in row) for index in range(len(names))] for row in sets]
    if form == "names":
        return rows([[names[index] for index in row] for row in sets], List(Value("string"))), {}
    if form == "class_ids":
        return rows(sets, List(ClassLabel(names=names))), {}
    if form == "separated":
        return rows(["; ".join(names[index] for index in row) for row in sets]), {"separator": ";"}
    if form == "columns":
        columns = [f"is_{index}" for index in range(len(names))]
        table = dict(zip(columns, map(list, zip(*hot, strict=True)), strict=True))
        return Dataset.from_dict({"text": [""] * len(sets), **table}), {"label_column": columns}
    return rows(hot, List(Value(form))), {}


@settings(deadline=None, max_examples=12)
@given(label_sets())
def test_pain_08_all_forms_of_the_same_labels_encode_to_the_same_matrix(drawn):
    names, splits = drawn
    expected = {
        split: [[float(index in row) for index in range(len(names))] for row in sets] for split, sets in splits.items()
    }
    for form in ("names", "class_ids", "separated", "columns", "int64", "uint8", "bool", "float64"):
        formed = {split: as_form(form, names, sets) for split, sets in splits.items()}
        dataset = DatasetDict({split: part for split, (part, _) in formed.items()})
        encoded, encoding = encode_labels(dataset, label_names=names, **formed["train"][1])
        assert encoding.label_names == names
        for split in splits:
            assert matrix(encoded[split]) == expected[split], form
            assert encoded[split].features["labels"] == List(Value("float32"), length=len(names))
        assert list(encoding.counts.values()) == np.sum(expected["train"], axis=0).tolist()
        assert np.allclose(list(encoding.frequencies.values()), np.mean(expected["train"], axis=0))


@settings(deadline=None, max_examples=20)
@given(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=8))
def test_pain_08_plain_ids_are_named_by_their_numbers(sets):
    sets = [*sets, [11], [2, 0]]
    encoded, encoding = encode_labels(rows(sets))
    assert encoding.form == "ids"
    assert encoding.label_names == [str(number) for number in sorted({number for row in sets for number in row})]
    assert matrix(encoded) == [[float(int(name) in row) for name in encoding.label_names] for row in sets]


@pytest.mark.parametrize(
    ("dataset", "arguments", "form", "words"),
    [
        (rows([["b", "a"], ["a"]]), {}, "names", "2 labels (a, b), read from the label names of each row"),
        (rows([[0], [1]]), {}, "ids", "ids otherwise"),
        (rows([[0, 1], [1, 0]]), {}, "multi_hot", "integers are multi-hot where all lists have one length above 1"),
        (rows([1, 0]), {"label_column": ["labels"]}, "columns", "one 0/1 column per label"),
        (rows(["a|b", "a"]), {"separator": "|"}, "separated", "one string per row, split at its separator"),
    ],
)
def test_pain_08_it_says_what_it_understood(dataset, arguments, form, words):
    encoding = encode_labels(dataset, **arguments)[1]
    assert encoding.form == form
    assert words in str(encoding)
    assert "a train row carries" in str(encoding)


@pytest.mark.parametrize(
    ("labels", "form", "expected"),
    [
        ([[0], [1], [1]], "ids", [[1, 0], [0, 1], [0, 1]]),
        ([[0, 1], [1], []], "ids", [[1, 1], [0, 1], [0, 0]]),
        ([[0, 1], [1, 2]], "ids", [[1, 1, 0], [0, 1, 1]]),
        ([[0, 1], [1, 1]], "multi_hot", [[0, 1], [1, 1]]),
        ([[0, 1], [], None, [1, 0]], "multi_hot", [[0, 1], [0, 0], [0, 0], [1, 0]]),
        ([[0, None], [1, -100]], "multi_hot", [[0, -100], [1, -100]]),
        ([[0, 0], [0, 0]], "multi_hot", [[0, 0], [0, 0]]),
    ],
)
def test_lists_of_integers_are_multi_hot_only_at_one_length_above_1_with_only_0_and_1(labels, form, expected):
    encoded, encoding = encode_labels(rows(labels))
    assert encoding.form == form
    assert matrix(encoded) == expected


def test_a_list_of_integers_is_judged_over_all_splits():
    dataset = DatasetDict({"train": rows([[0, 1], [1, 2]]), "test": rows([[0, 1]])})
    encoded, encoding = encode_labels(dataset)
    assert encoding.form == "ids"
    assert matrix(encoded["test"]) == [[1, 1, 0]]


@pytest.mark.parametrize(
    ("dataset", "arguments", "names", "expected"),
    [
        (rows(["b", None, " a ", ""]), {}, ["a", "b"], [[0, 1], [0, 0], [1, 0], [0, 0]]),
        (rows(["b, c", "a"]), {"label_names": ["a", "b, c"]}, ["a", "b, c"], [[0, 1], [1, 0]]),
        (rows([1, 0, None], ClassLabel(names=["no", "yes"])), {}, ["no", "yes"], [[0, 1], [1, 0], [0, 0]]),
        (rows([7, 3, 7]), {}, ["3", "7"], [[0, 1], [1, 0], [0, 1]]),
        (rows([0, 1]), {"label_names": ["a", "b"]}, ["a", "b"], [[1, 0], [0, 1]]),
    ],
)
def test_a_column_of_single_values_is_one_label_per_row(dataset, arguments, names, expected):
    encoded, encoding = encode_labels(dataset, **arguments)
    assert encoding.label_names == names
    assert matrix(encoded) == expected


@pytest.mark.parametrize("absent", [None, []])
def test_a_row_without_labels_is_a_row_of_zeros(absent):
    encoded, encoding = encode_labels(rows([["a"], absent, ["a", "a"]]))
    assert matrix(encoded) == [[1], [0], [1]]
    assert encoding.counts == {"a": 2}
    assert encoding.frequencies == {"a": 2 / 3}


@pytest.mark.parametrize("labels", [[[], []], [None, None], [[], None]])
def test_a_column_without_any_label_encodes_when_the_names_are_given(labels):
    encoded, encoding = encode_labels(rows(labels), label_names=["a", "b"])
    assert matrix(encoded) == [[0, 0], [0, 0]]
    assert encoding.counts == {"a": 0, "b": 0}
    assert encoded.features["labels"] == List(Value("float32"), length=2)


@pytest.mark.parametrize(
    ("train", "absent"),
    [(train, absent) for train in ([["a"]], [[0, 1]], [[0.0, 1.0]], [[5]]) for absent in ([[]], [None])]
    + [(["a"], [None]), ([3], [None])],
)
def test_a_test_split_may_have_no_labels_at_all(train, absent):
    encoded, encoding = encode_labels(DatasetDict({"train": rows(train), "test": rows(absent)}))
    assert matrix(encoded["test"]) == [[0] * len(encoding.label_names)]


def test_an_unknown_entry_is_minus_100_in_every_0_1_form():
    expected = [[1, -100], [0, 1]]
    for labels in ([[1, None], [0, 1]], [[1.0, -100.0], [0.0, 1.0]], [[True, None], [False, True]]):
        encoded, encoding = encode_labels(rows(labels))
        assert matrix(encoded) == expected
        assert encoding.counts == {"LABEL_0": 1, "LABEL_1": 1}
        assert encoding.frequencies == {"LABEL_0": 0.5, "LABEL_1": 1.0}
    columns = Dataset.from_dict({"a": [1, 0], "b": [None, True]})
    assert matrix(encode_labels(columns, ["a", "b"])[0]) == expected


def test_encoding_twice_changes_nothing():
    once, first = encode_labels(rows([["a"], ["b", "a"], []]))
    twice, second = encode_labels(once, label_names=first.label_names)
    assert matrix(twice) == matrix(once)
    assert second.counts == first.counts
    assert once.features == twice.features


@pytest.mark.parametrize("feature", [LargeList(Value("large_string")), List(Value("string"), length=2)])
def test_every_kind_of_list_feature_is_read(feature):
    encoded, _ = encode_labels(rows([["a", "b"], None, ["b", "c"]], feature).select([2, 1, 0]))
    assert matrix(encoded) == [[0, 1, 1], [0, 0, 0], [1, 1, 0]]


def test_class_names_win_over_ids_when_the_splits_order_them_differently():
    dataset = DatasetDict(
        {
            "train": rows([[0], [1]], List(ClassLabel(names=["a", "b"]))),
            "test": rows([[0], [1]], List(ClassLabel(names=["b", "a"]))),
        }
    )
    encoded, _ = encode_labels(dataset)
    assert matrix(encoded["train"]) == [[1, 0], [0, 1]]
    assert matrix(encoded["test"]) == [[0, 1], [1, 0]]
    assert matrix(encode_labels(dataset, label_names=["b", "a"])[0]["train"]) == [[0, 1], [1, 0]]


def test_other_columns_row_order_and_the_source_are_kept():
    source = rows([["a"], ["b"], ["c"]], tags=[["x"], ["y"], ["x"]]).remove_columns("labels")
    shuffled = source.select([2, 0, 1]).with_format("torch")
    encoded, encoding = encode_labels(shuffled, "tags")
    assert encoded.column_names == ["text", "labels"]
    assert encoded["text"][:] == ["text 2", "text 0", "text 1"]
    assert matrix(encoded) == [[1, 0], [1, 0], [0, 1]]
    assert encoding.label_names == ["x", "y"]
    assert source.column_names == ["text", "tags"]


@pytest.mark.parametrize("column", ["labels", "label", "tags", "topics", "categories", "genres", "keywords"])
def test_the_label_column_is_found_by_its_name(column):
    assert encode_labels(Dataset.from_dict({"text": [""], column: [["a"]]}))[1].label_names == ["a"]


def test_more_rows_than_one_batch_encode_in_order():
    labels = [[f"label {row % 7}"] if row % 5 else [] for row in range(2500)]
    encoded, encoding = encode_labels(rows(labels))
    found = [[encoding.label_names[index] for index in np.flatnonzero(row)] for row in matrix(encoded)]
    assert found == labels


# Unknown labels


def test_a_label_that_train_lacks_is_an_error_with_its_name_and_the_remedy():
    dataset = DatasetDict({"train": rows([["a"]]), "validation": rows([["a", "new"]]), "test": rows([["new"]])})
    with pytest.raises(ValueError, match=r"1 in 'validation': \['new'\]; 1 in 'test'.*label_names.*unknown_labels"):
        encode_labels(dataset)
    assert encode_labels(dataset, label_names=["new", "a"])[1].counts == {"new": 0, "a": 1}


def test_many_unknown_labels_are_counted_and_the_first_few_named():
    dataset = DatasetDict({"train": rows([["a"]]), "test": rows([[f"new{number}" for number in range(9)]])})
    with pytest.raises(ValueError, match=r"9 in 'test': \['new0', 'new1', 'new2', 'new3', 'new4'\] and more"):
        encode_labels(dataset)


def test_dropped_labels_are_counted_by_split_and_row():
    dataset = DatasetDict({"train": rows([["a"]]), "test": rows([["new", "new", "a"], ["new", "b"]])})
    encoded, encoding = encode_labels(dataset, unknown_labels="drop")
    assert encoding.dropped == {"test": {"b": 1, "new": 2}}
    assert matrix(encoded["test"]) == [[1], [0]]
    assert "2 unknown labels were dropped from test (3 times)" in str(encoding)


def test_an_id_beyond_the_names_is_unknown_even_when_a_name_looks_like_it():
    dataset = rows([[0], [5]])
    with pytest.raises(ValueError, match="id 5"):
        encode_labels(dataset, label_names=["5", "7"])
    encoded, encoding = encode_labels(dataset, label_names=["5", "7"], unknown_labels="drop")
    assert matrix(encoded) == [[1, 0], [0, 0]]
    assert encoding.dropped == {"train": {"id 5": 1}}


# Bad labels


@pytest.mark.parametrize(
    ("dataset", "arguments", "message"),
    [
        (rows([["a"], ["b", None]]), {}, "Row 1 of split 'train' has the label None"),
        (rows([["a"], ["b"], [" "]]), {}, "Row 2 of split 'train' has the label ' '"),
        (rows([[None], []]), {"label_names": ["a"]}, "Row 0 of split 'train' has the label None"),
        (rows([[3], [4, -1]]), {}, "Row 1 of split 'train' has the label -1"),
        (rows([[3, None]]), {}, "Row 0 of split 'train' has the label None"),
        (rows([-1, 4]), {}, "Row 0 of split 'train' has the label -1"),
        (rows([[["a"]]]), {}, r"List\(List\(Value\('string'\)\)\).*no clear form"),
        (rows([{"a": 1}]), {}, "no clear form"),
        (rows([[{"a": 1}]]), {}, "no clear form"),
        (rows([0.5, 1.0]), {}, "no clear form"),
        (rows([True, False]), {}, r"no clear form.*label_column=\['labels'\]"),
        (rows([1, 0]), {}, r"no clear form.*label_column=\['labels'\].*label_names"),
        (rows([1, 0]), {"label_names": ["spam"]}, "no clear form"),
        (rows([[1.0, 0.0], [0.0, float("nan")]]), {}, "Row 1 of split 'train' has nan for label 'LABEL_1'"),
        (rows([[1.0, 0.0], [], [0.3, 0.0]]), {}, "Row 2 of split 'train' has 0.3.* threshold scores"),
        (rows([[1.0, 0.0], [1.0]]), {}, "Row 1 of split 'train' has 1 zeros and ones for 2 labels"),
        (
            rows([[1, 0], [1, 0]]),
            {"label_names": ["a", "b", "c"]},
            "Row 0 .* 2 zeros and ones for 3 labels.*ClassLabel",
        ),
        (rows(["a, b"]), {}, "'a, b': one label or several"),
        (rows(["a, b"]), {"label_names": ["a", "b"]}, "'a, b': one label or several"),
        (rows(["['a']"]), {}, "ast.literal_eval"),
        (rows(["['a', 'b']"]), {"separator": ","}, "ast.literal_eval"),
        (rows(["a"]), {"separator": ""}, "`separator` is ''"),
        (rows([["a"]]), {"separator": ","}, "`separator` is ','"),
        (rows([[], []]), {}, "no label at all; pass `label_names`"),
        (rows([[], []], List(Value("string"))), {}, "no label at all; pass `label_names`"),
        (rows([[], []], List(Value("float32"))), {}, "empty; pass `label_names`"),
        (rows([["a"]]), {"label_column": "tags"}, r"Columns \['tags'\] are not in split 'train'"),
        (rows([["a"]]), {"label_column": ["labels"]}, "0/1 column per label.*label_column='labels'"),
        (rows([2, 1]), {"label_column": ["labels"]}, "Row 0 of split 'train' has 2.0 for label 'labels'"),
        (rows([float("nan")]), {"label_column": ["labels"]}, "has nan for label 'labels'"),
        (rows([0]), {"label_column": ["labels"], "label_names": ["a", "b"]}, "1 zeros and ones for 2 labels"),
        (rows([0]), {"label_column": ["labels"], "separator": ","}, "`separator` is ','"),
        (rows([0]), {"label_column": ["labels", "labels"]}, "each once"),
        (rows([0]), {"label_column": []}, "at least one column"),
        (rows([["a"]], tags=[["b"]]), {"label_column": "tags"}, "would overwrite"),
        (
            Dataset.from_dict({"label": [3], "tags": [["a"]]}),
            {"label_column": "tags"},
            r"\['label'\] .*would overwrite",
        ),
        (rows([["a"]], tags=[["b"]]), {}, r"\['labels', 'tags'\] are there"),
        (Dataset.from_dict({"text": ["a"]}), {}, r"none are there.*\['text'\]"),
        (rows([["a"]]), {"label_names": []}, "`label_names` must be"),
        (rows([["a"]]), {"label_names": "ab"}, "`label_names` must be"),
        (rows([["a"]]), {"label_names": ["a", "a"]}, r"\['a'\] repeated"),
        (rows([["a"]]), {"label_names": ["a", 1, ""]}, r"\[1, ''\] wrong"),
        (rows([["a"]]), {"unknown_labels": "ignore"}, "`unknown_labels` is 'ignore'"),
        (rows([["a"]]).select([]), {}, "Split 'train' has no rows"),
        (DatasetDict({"train": rows([["a"]]), "test": rows([["a"]]).select([])}), {}, "Split 'test' has no rows"),
        (DatasetDict({"test": rows([["a"]])}), {}, r"The splits are \['test'\]"),
        (DatasetDict(), {}, r"The splits are \[\]"),
        (IterableDataset.from_generator(lambda: iter([{"labels": ["a"]}])), {}, "IterableDataset.*without streaming"),
        (DatasetDict({"train": rows([["a"]]), "test": rows([[1]])}), {}, "differs between the splits"),
        (DatasetDict({"train": rows([["a"]]), "test": rows(["a"])}), {}, "differs between the splits"),
        (DatasetDict({"train": rows(["a"]), "test": rows([[]])}), {}, "differs between the splits"),
    ],
)
def test_bad_labels_are_an_error_that_says_where_and_what_to_do(dataset, arguments, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        encode_labels(dataset, **arguments)


# Stratified split


def imbalanced(total, num_labels, seed=0):
    """Encoded rows, whose labels get rarer with their index."""
    shares = 0.5 / np.arange(1, num_labels + 1)
    hot = np.random.default_rng(seed).random((total, num_labels)) < shares
    feature = List(Value("float32"), length=num_labels)
    return rows(hot.astype(np.float32).tolist(), feature, number=list(range(total)))


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 60), st.integers(1, 6), st.floats(0.1, 0.9), st.integers(0, 99))
def test_pain_19_the_split_is_disjoint_complete_and_in_order(total, num_labels, test_size, seed):
    dataset = imbalanced(total, num_labels, seed)
    try:
        split = stratified_split(dataset, test_size, seed=seed)
    except ValueError:
        assert total * test_size > total - 1 or total < 10
        return
    numbers = {part: split[part]["number"][:] for part in ("train", "test")}
    assert sorted(numbers["train"] + numbers["test"]) == list(range(total))
    assert all(numbers[part] == sorted(numbers[part]) and numbers[part] for part in numbers)


def test_pain_19_label_frequencies_are_alike_and_reported():
    dataset = imbalanced(1000, 10)
    shares = label_frequencies(stratified_split(dataset, 0.2))
    assert list(shares) == ["train", "test"]
    assert np.allclose(shares["train"], shares["test"], atol=0.01)
    assert np.allclose(label_frequencies(dataset)["train"], np.mean(matrix(dataset), axis=0))
    unstratified = label_frequencies(DatasetDict(dataset.train_test_split(0.2, seed=0)))
    assert not np.allclose(unstratified["train"], unstratified["test"], atol=0.01)


def test_pain_19_labels_too_rare_to_split_do_not_shrink_the_test_part():
    hot = np.concatenate([np.eye(400), np.arange(400)[:, None] % 2], axis=1)
    split = stratified_split(rows(hot.tolist(), List(Value("float32"), length=401)), 0.1)
    assert 36 <= len(split["test"]) <= 44
    shares = label_frequencies(split)
    assert abs(shares["train"][-1] - shares["test"][-1]) < 0.02


def test_the_split_repeats_with_its_seed_and_changes_with_another():
    dataset = imbalanced(100, 4)
    first, again, other = (stratified_split(dataset, 20, seed=seed)["test"]["number"][:] for seed in (1, 1, 2))
    assert first == again != other


def test_an_unknown_label_counts_as_absent_in_the_split_and_not_in_the_shares():
    hot = np.array(matrix(imbalanced(60, 4)))
    unknown = (np.random.default_rng(1).random(hot.shape) < 0.3) & (hot == 0)
    feature = List(Value("float32"), length=4)
    with_zeros = rows(hot.tolist(), feature)
    with_unknown = rows(np.where(unknown, -100, hot).tolist(), feature)
    assert (
        stratified_split(with_unknown, 0.3)["test"]["text"][:] == stratified_split(with_zeros, 0.3)["test"]["text"][:]
    )
    assert np.allclose(label_frequencies(with_unknown)["train"], hot.sum(axis=0) / (~unknown).sum(axis=0))


@pytest.mark.parametrize("test_size", [0, 0.0, 3, 1.0, 4, -1, 1.5])
def test_a_split_with_an_empty_part_is_an_error(test_size):
    dataset, _ = encode_labels(rows([["a"], ["b"], ["a", "b"]]))
    with pytest.raises(ValueError, match=f"`test_size` {test_size} leaves"):
        stratified_split(dataset, test_size)


def test_one_row_cannot_be_split():
    with pytest.raises(ValueError, match="of 1 rows"):
        stratified_split(encode_labels(rows([["a"]]))[0], 0.5)


@pytest.mark.parametrize("labels", [[["a"], ["b"]], [[1.0, 0.0], [0.0, 1.0]]])
def test_splitting_needs_encoded_labels(labels):
    with pytest.raises(ValueError, match="call `encode_labels` first"):
        stratified_split(rows(labels), 0.5)
    with pytest.raises(ValueError, match="call `encode_labels` first"):
        label_frequencies(rows(labels))


def test_splitting_takes_one_split():
    with pytest.raises(ValueError, match=r'pass one split, such as `dataset\["train"\]`'):
        stratified_split(DatasetDict({"train": imbalanced(10, 2)}), 0.5)


# Texts


def word_tokenizer(special=True, **arguments):
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "b": 5, "c": 6}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    if special:
        backend.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        **arguments,
    )


def texts(values, **columns):
    return Dataset.from_dict({"text": values, **columns}).cast_column("text", Value("string"))


def test_texts_become_unpadded_tokens_beside_the_other_columns():
    tokenized, truncated = tokenize(texts(["a b", "", "c z a"], id=[7, 8, 9]), word_tokenizer())
    assert tokenized.column_names == ["id", "input_ids", "attention_mask"]
    assert tokenized["input_ids"][:] == [[2, 4, 5, 3], [2, 3], [2, 6, 1, 4, 3]]
    assert tokenized["attention_mask"][:] == [[1] * 4, [1] * 2, [1] * 5]
    assert truncated == {"train": 0}


def test_a_datasets_format_does_not_matter_to_its_tokens():
    formatted = texts(["a b", "c"], id=[7, 8]).with_format("numpy", columns=["id"])
    tokenized, _ = tokenize(formatted, word_tokenizer())
    assert tokenized[:] == {"id": [7, 8], "input_ids": [[2, 4, 5, 3], [2, 6, 3]], "attention_mask": [[1] * 4, [1] * 3]}


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=8), st.integers(3, 10), st.booleans())
def test_the_truncated_texts_are_those_longer_than_max_length(lengths, max_length, special):
    dataset = DatasetDict({"train": texts(["a"]), "test": texts(["b " * length for length in lengths])})
    tokenized, truncated = tokenize(dataset, word_tokenizer(special), max_length=max_length)
    full = [length + 2 * special for length in lengths]
    assert truncated == {"train": 0, "test": sum(length > max_length for length in full)}
    assert [len(ids) for ids in tokenized["test"]["input_ids"]] == [min(length, max_length) for length in full]


def test_the_limit_is_the_tokenizers_own_unless_given():
    dataset = texts(["a b c a b c"])
    assert tokenize(dataset, word_tokenizer(model_max_length=4))[1] == {"train": 1}
    assert tokenize(dataset, word_tokenizer(model_max_length=4), max_length=8)[1] == {"train": 0}
    assert tokenize(dataset, word_tokenizer())[1] == {"train": 0}


def test_the_count_of_truncated_texts_survives_the_cache(tmp_path):
    texts(["a b c a b c", "a"]).save_to_disk(tmp_path / "texts")
    for _ in range(3):
        dataset = Dataset.load_from_disk(tmp_path / "texts")
        assert tokenize(dataset, word_tokenizer(), max_length=4)[1] == {"train": 1}


def test_texts_that_are_all_empty_keep_integer_columns():
    tokenized, _ = tokenize(texts(["", " "]), word_tokenizer(special=False))
    assert tokenized["input_ids"][:] == [[], []]
    assert tokenized.features["input_ids"] == List(Value("int32"))
    assert tokenized.features["attention_mask"] == List(Value("int8"))


def test_a_text_of_a_million_characters_is_truncated():
    tokenized, truncated = tokenize(texts(["a " * 500_000, "x" * 1_000_000]), word_tokenizer(), max_length=16)
    assert [len(ids) for ids in tokenized["input_ids"]] == [16, 3]
    assert truncated == {"train": 1}


def test_encoded_and_tokenized_rows_collate_to_float_labels():
    dataset, _ = encode_labels(Dataset.from_dict({"text": ["a b c", "a"], "labels": [["x"], ["x", "y"]]}))
    tokenized, _ = tokenize(dataset, word_tokenizer())
    batch = DataCollatorWithPadding(word_tokenizer())(list(tokenized))
    assert str(batch["labels"].dtype) == "torch.float32"
    assert batch["labels"].tolist() == [[1, 0], [1, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]


@pytest.mark.parametrize(
    ("dataset", "arguments", "message"),
    [
        (
            DatasetDict({"train": texts(["a"]), "test": texts(["a", None])}),
            {},
            r"Row 1 of split 'test' has None.*remove",
        ),
        (Dataset.from_dict({"text": [None, None]}), {}, "Row 0 of split 'train' has None"),
        (Dataset.from_dict({"text": [1, 2]}), {}, r"Value\('int64'\), not strings"),
        (Dataset.from_dict({"text": [["a"]]}), {}, "not strings"),
        (texts(["a"]), {"text_column": "body"}, r"\['body'\] are not in split 'train'.*\['text'\]"),
        (texts(["a"]), {"max_length": 2}, "`max_length` 2 leaves no room besides 2 special tokens"),
        (texts(["a"]), {"max_length": 0}, "`max_length` 0"),
        (texts([]), {}, "no rows"),
        (["a"], {}, "`dataset` is a list"),
    ],
)
def test_bad_texts_are_an_error_that_says_where_and_what_to_do(dataset, arguments, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        tokenize(dataset, word_tokenizer(), **arguments)


def test_a_slow_tokenizer_is_refused():
    tokenizer = word_tokenizer()
    slow = type("Slow", (), {"is_fast": False, "model_max_length": 512})()
    assert tokenizer.is_fast
    with pytest.raises(ValueError, match="Slow is not a fast tokenizer"):
        tokenize(texts(["a"]), slow)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"body": ["b"], "text": ["a"], "title": ["c"]}, "text"),
        ({"title": ["c"], "abstract": ["b"]}, "abstract"),
        ({"labels": [["x"]], "review": ["c"]}, "review"),
        ({"text": [1], "review": ["c"]}, "review"),
    ],
)
def test_the_text_column_is_found(columns, expected):
    assert find_text_column(Dataset.from_dict(columns)) == expected
    assert find_text_column(DatasetDict({"test": Dataset.from_dict(columns)})) == expected


@pytest.mark.parametrize("columns", [{"title": ["a"], "review": ["b"]}, {"number": [1]}])
def test_no_clear_text_column_is_an_error_with_the_columns(columns):
    with pytest.raises(ValueError, match=f"(?s)pass its name.*{next(iter(columns))}"):
        find_text_column(Dataset.from_dict(columns))


def from_csv(folder, name, lines, **a):
    (folder / name).write_text("text,labels\n" + "\n".join(lines) + "\n")
    return load_dataset("csv", data_files=str(folder / name), split="train", cache_dir=str(folder / "cache"), **a)


def test_empty_cells_of_a_csv_file_are_rows_without_labels(tmp_path):
    train = from_csv(tmp_path, "train.csv", ["one,a;b", "two,", "three,b"])
    test = from_csv(tmp_path, "test.csv", ["four,", "five,"])
    assert test.features["labels"] == Value("float64")
    encoded, encoding = encode_labels(DatasetDict({"train": train, "test": test}), separator=";")
    assert encoding.label_names == ["a", "b"]
    assert encoded["train"]["labels"][:] == [[1, 1], [0, 0], [0, 1]]
    assert encoded["test"]["labels"][:] == [[0, 0], [0, 0]]


def test_numbers_loaded_as_strings(tmp_path):
    lines = ["one,1", "two,", "three,3"]
    with pytest.raises(ValueError, match="load the column as `Value"):
        encode_labels(from_csv(tmp_path, "n.csv", lines), separator=";")
    f = Features({"text": Value("string"), "labels": Value("string")})
    e, enc = encode_labels(from_csv(tmp_path, "n.csv", lines, features=f), separator=";")
    assert enc.label_names == ["1", "3"] and e["labels"][:] == [[1, 0], [0, 0], [0, 1]]

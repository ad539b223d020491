"""Texts become tokens, truncated, unpadded, and none is missing."""

import pytest
from datasets import (
    Dataset,
    DatasetDict,
    List,
    Value,
    disable_progress_bars,
    enable_progress_bars,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import DataCollatorWithPadding, PreTrainedTokenizerFast

from hf_rnn_multilabel.data import encode_labels, find_text_column, tokenize


@pytest.fixture(autouse=True, scope="module")
def no_progress_bars():
    disable_progress_bars()
    yield
    enable_progress_bars()


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
    with pytest.raises(ValueError, match=f"(?s)pass `text_column`.*{next(iter(columns))}"):
        find_text_column(Dataset.from_dict(columns))

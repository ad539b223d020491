"""Starts the input embeddings from another model's, or from a file of word vectors."""

import gzip
import io
import math
import os
import struct
import zlib
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import chain

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedTokenizerBase


BUFFER = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
# Bytes that a line of text does not hold.
BINARY = frozenset([*range(9), *range(14, 32)])
FORMATS = "it should be GloVe text, word2vec text or word2vec binary, plain or with gzip"

Row = tuple[str, str, Tensor]  # place in the file, word, vector (size)


def vectors_from_model(
    name_or_path_or_model: str | os.PathLike[str] | nn.Module, kept_ids: Sequence[int] | None = None
) -> Tensor:
    """
    Copies the input embeddings of another model.

    Args:
        name_or_path_or_model: a model, or what `AutoModel.from_pretrained` takes.
        kept_ids: the rows to take, as `prune_tokenizer` returns them; all by default.

    Returns:
        (len(kept_ids), the other model's embedding size), float32, on the CPU.

    Raises:
        ValueError: the model has no input embeddings, or too few of them.
    """
    model = name_or_path_or_model
    if not isinstance(model, nn.Module):
        model = AutoModel.from_pretrained(model)
    weight = _input_embeddings(model).weight.detach().cpu()
    rows = torch.arange(len(weight)) if kept_ids is None else torch.as_tensor(kept_ids, dtype=torch.long)
    if kept_ids is not None and not all(0 <= row < len(weight) for row in kept_ids):
        raise ValueError(
            f"`kept_ids` go from {min(kept_ids)} to {max(kept_ids)}, but {type(model).__name__} has {len(weight)} "
            "embeddings; prune the tokenizer of this very model."
        )
    return weight[rows].float()


def vectors_from_file(path: str | os.PathLike[str], tokenizer: PreTrainedTokenizerBase) -> tuple[Tensor, int]:
    """
    Reads the vectors of a tokenizer's words from a file: GloVe text, word2vec text or word2vec binary, plain or gzip.

    A word is looked up as it is, then in lower case. Special tokens and the continuations of word pieces ("##ing")
    have no vector; the marks of word starts ("▁", "Ġ") do not count.

    Args:
        path: the file, which is read row by row and may be larger than memory.
        tokenizer: the tokenizer of the model that is to start from these vectors.

    Returns:
        (len(tokenizer), the size of the vectors), float32, NaN in the rows that the file lacks; and the number of the
        others.

    Raises:
        ValueError: the file is none of these kinds, is empty or cut off, or has a row of another length or a value
            that is not finite; the message names the line.

    Source: Pennington et al. (2014), "GloVe: Global Vectors for Word Representation"; Mikolov et al. (2013),
    "Efficient Estimation of Word Representations in Vector Space".
    """
    wanted = _words(tokenizer)
    exact_ids = set()
    try:
        with _open(path) as file:
            size, rows = _read(file, wanted)
            vectors = torch.full((len(tokenizer), size), math.nan)
            for place, word, vector in rows:
                if not vector.isfinite().all():
                    raise ValueError(f"{place}, {word!r}, holds a value that is not a finite number")
                for token_id, exact in wanted[word]:
                    if exact or token_id not in exact_ids:
                        vectors[token_id] = vector
                    if exact:
                        exact_ids.add(token_id)
    except (ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"Cannot read word vectors from {os.fspath(path)}: {error}; {FORMATS}.") from error
    return vectors, int(vectors.isfinite().all(dim=1).sum())


def start_embeddings(model: nn.Module, vectors: Tensor) -> int:
    """
    Copies vectors into a model's input embeddings; the padding row, and rows that are not finite, stay as initialised.

    Args:
        model: a transformers model, changed in place.
        vectors: (vocabulary size, embedding size).

    Returns:
        The number of rows copied.

    Raises:
        ValueError: the vectors are not of the embeddings' shape, or there are no embeddings.
    """
    embeddings = _input_embeddings(model)
    if vectors.shape != embeddings.weight.shape:
        raise ValueError(
            f"The vectors are {tuple(vectors.shape)}, but the input embeddings are {tuple(embeddings.weight.shape)}; "
            "make the model with the `vocab_size` and the `embedding_size` of the vectors."
        )
    vectors = vectors.to(embeddings.weight)
    rows = vectors.isfinite().all(dim=1)
    if embeddings.padding_idx is not None:
        rows[embeddings.padding_idx] = False
    with torch.no_grad():
        embeddings.weight[rows] = vectors[rows]
    return int(rows.sum())


def _input_embeddings(model: nn.Module) -> nn.Embedding:
    try:
        embeddings = model.get_input_embeddings()  # type: ignore[operator]
    except (AttributeError, NotImplementedError):
        embeddings = None
    if not isinstance(embeddings, nn.Embedding):
        raise ValueError(f"{type(model).__name__} has no embeddings of tokens; give a transformers text model.")
    return embeddings


def _words(tokenizer: PreTrainedTokenizerBase) -> dict[str, list[tuple[int, bool]]]:
    """Which token ids each word stands for, and whether exactly or in lower case."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    decoder = getattr(backend, "decoder", None)
    continuation = getattr(getattr(backend, "model", None), "continuing_subword_prefix", None)
    special_tokens = set(tokenizer.all_special_tokens)
    words = defaultdict(list)
    for token, token_id in tokenizer.get_vocab().items():
        if token in special_tokens or (continuation and token.startswith(continuation)):
            continue
        word = token if decoder is None else decoder.decode([token]).strip()
        words[word].append((token_id, True))
        if word != word.lower():
            words[word.lower()].append((token_id, False))
    return dict(words)


def _open(path: str | os.PathLike[str]) -> io.BufferedReader:
    with open(path, "rb") as file:
        compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    return io.BufferedReader(gzip.GzipFile(path) if compressed else io.FileIO(path), BUFFER)


def _read(file: io.BufferedReader, wanted: Container[str]) -> tuple[int, Iterator[Row]]:
    """The size of the vectors in a file, and the rows of the words wanted."""
    first = file.readline(BUFFER)
    if not first:
        raise ValueError("the file is empty")
    fields = first.split()
    if len(fields) == 2 and all(field.isdigit() for field in fields):
        count, size = map(int, fields)
        start = file.peek(BUFFER)
        first_row = start[: start.find(b" ") + 1 + 4 * size]
        if BINARY.isdisjoint(first_row):
            return size, _text_rows(enumerate(file, 2), size, wanted, count)
        return size, _binary_rows(file, size, wanted, count)
    size = len(fields) - 1
    if size < 1 or first.rstrip().count(b" ") != size or not all(map(_is_number, fields[1:])):
        raise ValueError("line 1 is not a word and its numbers with a space before each")
    return size, _text_rows(enumerate(chain([first], file), 1), size, wanted, None)


def _text_rows(
    lines: Iterable[tuple[int, bytes]], size: int, wanted: Container[str], count: int | None
) -> Iterator[Row]:
    read = 0
    for number, line in lines:
        line = line.rstrip()
        if not line:
            continue
        read += 1
        spaces = line.count(b" ")
        # GloVe has a few words with spaces in them, such as ". . .".
        word = line.split(b" ", 1)[0] if spaces == size else line.rsplit(b" ", size)[0]
        if spaces < size or (spaces > size and _is_number(word.rsplit(b" ", 1)[1])):
            raise ValueError(f"line {number} does not have {size} numbers after its word, the size that line 1 gives")
        text = word.decode(errors="replace")
        if text in wanted:
            numbers = line[len(word) + 1 :].split(b" ")
            if not all(map(_is_number, numbers)):
                raise ValueError(f"line {number}, {text!r}, holds something else than numbers")
            yield f"line {number}", text, torch.tensor([float(field) for field in numbers])
    if count is not None and read != count:
        raise ValueError(f"line 1 promises {count} words, but there are {read}")


def _binary_rows(file: io.BufferedReader, size: int, wanted: Container[str], count: int) -> Iterator[Row]:
    buffer, start = b"", 0
    for number in range(1, count + 1):
        while (space := buffer.find(b" ", start)) < 0 or len(buffer) < space + 1 + 4 * size:
            more = file.read(BUFFER)
            if not more:
                raise ValueError(f"line 1 promises {count} words, but the file ends within word {number}")
            buffer, start = buffer[start:] + more, 0
        end = space + 1 + 4 * size
        text = buffer[start:space].lstrip(b"\n").decode(errors="replace")
        if text in wanted:
            yield f"word {number}", text, torch.tensor(struct.unpack(f"<{size}f", buffer[space + 1 : end]))
        start = end


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True

"""From unlabelled texts to a pretrained folder, and from that to a tagger."""

import json
import random
import shutil
from itertools import chain
from pathlib import Path

import pretrain
import pytest
import torch
import train
import train_model
from datasets import Dataset
from helpers import SHORT, WORDS, make_bert, metrics_of, run, weights_of, write_jsonl
from huggingface_hub.errors import StrictDataclassError
from train_arguments import DataArguments, ModelArguments
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertModel,
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from hf_rnn_multilabel import RnnMultilabelConfig, RnnMultilabelForMaskedLM, RnnMultilabelModel
from hf_rnn_multilabel.data import encode_labels, prune_tokenizer, train_tokenizer


SMALL = ["--hidden_size", "8", "--embedding_size", "6", *SHORT]


def make_texts(number: int, seed: int = 0) -> list[str]:
    """Texts of 1 to 12 words, in each of which a word is followed by the next one of WORDS."""
    draw = random.Random(seed)
    starts = [(draw.randrange(10), draw.randint(1, 12)) for _ in range(number)]
    return [" ".join(WORDS[(start + step) % 10] for step in range(length)) for start, length in starts]


def run_pretrain(output_dir: Path, *arguments) -> dict:
    """What metrics.json holds."""
    run(pretrain, "--output_dir", output_dir, *SMALL, *arguments)
    return metrics_of(output_dir)


def different(weights: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> list[str]:
    assert weights.keys() == others.keys()
    return [name for name in weights if not torch.equal(weights[name], others[name])]


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    path.write_text("\n".join(make_texts(200)))
    return str(path)


ARGUMENTS = ["--num_train_epochs", "12", "--learning_rate", "0.03", "--validation_share", "0.2"]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory, texts) -> Path:
    """A folder as the script leaves it, with the checkpoints of all epochs."""
    folder = tmp_path_factory.mktemp("models") / "pretrained"
    run_pretrain(folder, "--train_file", texts, *ARGUMENTS, "--eval_on_start", "true", "--save_total_limit", "99")
    return folder


@pytest.fixture(scope="module")
def encoding():
    rows = [{"text": text, "labels": [word for word in WORDS[:3] if word in text]} for text in make_texts(60)]
    return encode_labels(Dataset.from_list(rows))[1]


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    """A small model of another kind, whose tokenizer has another mask token."""
    return make_bert(tmp_path_factory.mktemp("bert"), mask_token="<mask>")


# A pretrained folder


def test_a_pretrained_folder_holds_the_model_its_code_its_tokenizer_and_its_figures_and_no_pickle(pretrained):
    files = {path.name for path in pretrained.iterdir() if path.is_file()}
    code = {"configuration_rnn_multilabel.py", "modeling_rnn_multilabel.py", "recurrence.py"}
    assert files >= code | {"model.safetensors", "config.json", "tokenizer.json", "metrics.json"}
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pth", ".pkl"))]
    assert type(AutoModelForMaskedLM.from_pretrained(pretrained)) is RnnMultilabelForMaskedLM
    assert AutoTokenizer.from_pretrained(pretrained).mask_token == "[MASK]"


def test_pretraining_lowers_the_held_out_loss(pretrained):
    facts = metrics_of(pretrained)
    (state,) = pretrained.glob(f"checkpoint-{facts['steps']}/trainer_state.json")
    losses = [log["eval_loss"] for log in json.loads(state.read_text())["log_history"] if "eval_loss" in log]
    assert len(losses) == 13
    assert facts["loss"] < 0.75 * losses[0]


def test_the_figures_are_those_of_the_reloaded_model(pretrained, texts):
    facts = metrics_of(pretrained)
    tokenizer = AutoTokenizer.from_pretrained(pretrained)
    lengths = [len(ids) for ids in tokenizer(make_texts(200))["input_ids"]]
    assert facts["rows"] == {"train": 160, "validation": 40}
    assert sum(facts["tokens"].values()) == sum(lengths) > facts["tokens"]["validation"] > 40
    model = AutoModelForMaskedLM.from_pretrained(pretrained).eval()
    assert facts["parameters"] == model.num_parameters()
    held_out = pretrain.tokenize(
        Dataset.from_dict({"text": make_texts(200)}).train_test_split(0.2, seed=42)["test"], tokenizer
    )
    torch.manual_seed(0)
    with torch.no_grad():
        collate = DataCollatorForLanguageModeling(tokenizer)
        losses = [model(**collate(list(held_out))).loss for _ in range(20)]
    assert facts["loss"] == pytest.approx(torch.stack(losses).mean().item(), rel=0.25)


# Going on


def test_a_run_that_goes_on_ends_at_the_weights_of_one_that_was_not_cut(tmp_path, pretrained, texts, capsys):
    steps = sorted(int(path.name.split("-")[1]) for path in pretrained.glob("checkpoint-*"))
    for step in steps[:5]:
        shutil.copytree(pretrained / f"checkpoint-{step}", tmp_path / "cut" / f"checkpoint-{step}")
    facts = run_pretrain(tmp_path / "cut", "--train_file", texts, *ARGUMENTS, "--save_total_limit", "99")
    assert "Going on from" in capsys.readouterr().out
    assert different(weights_of(tmp_path / "cut"), weights_of(pretrained)) == []
    expected = metrics_of(pretrained)
    assert (facts["loss"], facts["steps"]) == (expected["loss"], expected["steps"])


def test_a_finished_folder_is_never_overwritten(pretrained, texts):
    before = weights_of(pretrained)
    with pytest.raises(FileExistsError, match="holds a finished model"):
        run_pretrain(pretrained, "--train_file", texts)
    assert different(weights_of(pretrained), before) == []


# Texts


def test_texts_are_read_from_files_of_several_formats(tmp_path):
    rows = [{"body": text, "n": 1} for text in ("lamp, desk", "", "wood")]
    (tmp_path / "a.txt").write_text("oak\n\n  \npen\n")
    write_jsonl(tmp_path / "b.jsonl.gz", rows)
    (tmp_path / "c.csv").write_text('body,n\n"a, b",1\n')
    Dataset.from_list(rows).to_parquet(tmp_path / "d.parquet")
    files = [str(tmp_path / name) for name in ("a.txt", "b.jsonl.gz", "c.csv", "d.parquet")]
    assert pretrain.read_texts(files, "body") == ["oak", "pen", "lamp, desk", "wood", "a, b", "lamp, desk", "wood"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "lamp"}\n{"body": "desk"}\n', r"Row 2 of .* has None as `text`.*\['body'\].*`--text_column`"),
        ('{"text": "lamp"}\n{"text": ""}\n', r"hold 1 texts; give at least two"),
        (None, r"No file '.*a\.jsonl'"),
    ],
)
def test_texts_that_cannot_be_read_are_told(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        pretrain.read_texts([str(tmp_path / "a.jsonl")], "text")


def test_a_long_text_becomes_several_rows_and_none_of_it_is_lost():
    tokenizer = train_tokenizer(make_texts(20), algorithm="word")
    long, short = " ".join(WORDS * 3), "lamp"
    ids = [tokenizer(text)["input_ids"] for text in (long, short)]
    tokenizer.model_max_length = 7
    rows = pretrain.tokenize(Dataset.from_dict({"text": [long, short]}), tokenizer)["input_ids"]
    assert [len(row) for row in rows] == [7, 7, 7, 7, 2, 1]
    assert list(chain(*rows[:-1])) == ids[0] and rows[-1] == ids[1]


# Tokenizers


def start(max_length: int = 256, **arguments):
    args = pretrain.NetArguments(**arguments)
    tokenizer, vectors = pretrain.make_masking_tokenizer(args, max_length, make_texts(60))
    return tokenizer, pretrain.make_model(args, tokenizer, vectors)


@pytest.mark.parametrize("algorithm", ["wordpiece", "bpe", "unigram", "word"])
def test_a_trained_tokenizer_gets_a_mask_token_and_is_otherwise_as_without(tmp_path, algorithm):
    tokenizer, model = start(max_length=9, tokenizer_algorithm=algorithm)
    plain = train_tokenizer(make_texts(60), algorithm=algorithm)
    assert tokenizer.mask_token_id == len(plain) == len(tokenizer) - 1
    assert model.config.vocab_size == len(tokenizer) and tokenizer.model_max_length == 9
    assert tokenizer(WORDS)["input_ids"] == plain(WORDS)["input_ids"]
    tokenizer.save_pretrained(tmp_path)
    pruned, kept_ids = prune_tokenizer(AutoTokenizer.from_pretrained(tmp_path), ["lamp desk"])
    assert pruned.mask_token == "[MASK]" and kept_ids[pruned.mask_token_id] == tokenizer.mask_token_id


def test_a_tokenizer_of_another_model_keeps_its_own_mask_token(bert):
    for arguments in ({"tokenizer_name": str(bert)}, {"embeddings_from": str(bert)}):
        tokenizer, model = start(**arguments)
        assert tokenizer.mask_token == "<mask>" and "[MASK]" not in tokenizer.get_vocab()
        assert model.config.vocab_size == len(tokenizer)
    theirs = BertModel.from_pretrained(bert).get_input_embeddings().weight
    words = AutoTokenizer.from_pretrained(bert)("lamp oak <mask>")["input_ids"]
    assert torch.equal(model.decoder.weight[tokenizer("lamp oak <mask>")["input_ids"]], theirs[words])


def test_vectors_without_a_mask_token_leave_its_embedding_as_initialised(tmp_path):
    (tmp_path / "vectors.txt").write_text("lamp 1 2 3\ndesk 4 5 6\n")
    tokenizer, model = start(embeddings_from=str(tmp_path / "vectors.txt"))
    embeddings = model.get_input_embeddings().weight
    assert embeddings.shape == (len(tokenizer), 3) and embeddings.isfinite().all()
    assert embeddings[tokenizer("lamp desk")["input_ids"]].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert 0 < embeddings[tokenizer.mask_token_id].abs().max() < 1


# Going on from other checkpoints


def test_pretraining_goes_on_from_a_pretrained_folder(pretrained):
    tokenizer, model = start(model_name_or_path=str(pretrained), embedding_dropout=0.3)
    state = {name: weight for name, weight in model.state_dict().items() if name != "decoder.weight"}
    assert different(state, weights_of(pretrained)) == []
    assert model.rnn.embedding_dropout.p == model.config.embedding_dropout == 0.3
    assert len(tokenizer) == model.config.vocab_size


def test_pretraining_goes_on_from_a_net_whose_tokenizer_has_no_mask_token(tmp_path):
    tokenizer = train_tokenizer(make_texts(60))
    base = RnnMultilabelModel(RnnMultilabelConfig(vocab_size=len(tokenizer), hidden_size=8, embedding_size=6))
    base.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    found, model = start(model_name_or_path=str(tmp_path))
    assert len(found) == len(tokenizer) + 1 == model.config.vocab_size == len(model.decoder.bias)
    assert torch.equal(model.rnn.inputs.embed_tokens.weight[:-1], base.inputs.embed_tokens.weight)


def test_pretraining_goes_on_from_a_tagger_without_its_bag_of_tokens(trained):
    assert AutoConfig.from_pretrained(trained).num_bigram_buckets is not None
    model = start(model_name_or_path=str(trained))[1]
    assert model.config.num_bigram_buckets is None
    embeddings = model.rnn.inputs.embed_tokens.weight[:-1]  # but for the mask token's
    assert torch.equal(embeddings, weights_of(trained)["rnn.inputs.embed_tokens.weight"])


def test_what_pretraining_cannot_go_on_from_is_told(pretrained, bert):
    wrong = {
        r"is a 'bert' model; give a 'rnn_multilabel' one": {"model_name_or_path": str(bert)},
        r"\['cell_type'\] are given, but the net is that of": {
            "model_name_or_path": str(pretrained),
            "cell_type": "gru",
        },
    }
    for message, arguments in wrong.items():
        with pytest.raises(ValueError, match=message):
            start(**arguments)


# A tagger that starts from it


def start_tagger(encoding, **arguments):
    args = ModelArguments(**arguments)
    texts = make_texts(60)
    tokenizer, vectors = train_model.make_tokenizer(args, DataArguments(), texts)
    return train_model.make_model(args, tokenizer, vectors, encoding, texts)[0]


@pytest.fixture
def reports(caplog):
    """What transformers says of weights that are missing, or that nobody asked for."""
    logging.add_handler(caplog.handler)
    # Where CI is set, the library's loggers pass a record on to the root, and so to this handler again.
    yield lambda: [record for record in dict.fromkeys(caplog.records) if "LOAD REPORT" in record.message]
    logging.remove_handler(caplog.handler)


@pytest.mark.parametrize("kind", ["masked_lm", "base"])
def test_a_tagger_starts_from_the_pretrained_encoder_with_a_head_and_dropouts_of_its_own(
    tmp_path, pretrained, encoding, kind, reports
):
    RnnMultilabelModel.from_pretrained(pretrained).save_pretrained(tmp_path)
    assert len(reports()) == 1
    AutoTokenizer.from_pretrained(pretrained).save_pretrained(tmp_path)
    folder = pretrained if kind == "masked_lm" else tmp_path
    model = start_tagger(
        encoding, model_name_or_path=str(folder), pooling=["mean", "label_attention"], word_dropout=0.2
    )
    assert len(reports()) == 1
    expected = {name: weight for name, weight in weights_of(pretrained).items() if name.startswith("rnn.")}
    state = model.state_dict()
    assert different({name: weight for name, weight in state.items() if name.startswith("rnn.")}, expected) == []
    assert all(weight.isfinite().all() for weight in state.values())
    assert model.pooling.names == ["mean"] and model.label_attention is not None
    config = model.config
    assert (config.pooling, config.word_dropout) == (["mean", "label_attention"], 0.2)
    # That of `train.py`, not the .1 of the pretraining.
    assert model.rnn.embedding_dropout.p == config.embedding_dropout == config.classifier_dropout == 0.4
    assert model.rnn.word_dropout.p == 0.2
    assert config.label_names == encoding.label_names
    assert model.classifier.bias.tolist() == pytest.approx(config.label_bias)


def test_what_the_pretrained_encoder_has_decided_is_told(pretrained, encoding):
    with pytest.raises(ValueError, match=r"\['hidden_size'\] are given, but the net is that of"):
        start_tagger(encoding, model_name_or_path=str(pretrained), hidden_size=9, classifier_dropout=0.1)
    with pytest.raises(StrictDataclassError, match="`word_dropout` is 2"):
        start_tagger(encoding, model_name_or_path=str(pretrained), word_dropout=2.0)


def test_a_tagger_is_trained_from_a_pretrained_folder(tmp_path, pretrained):
    rows = [{"text": text, "labels": [word for word in WORDS[:3] if word in text]} for text in make_texts(80, seed=1)]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    arguments = ["--train_file", path, "--model_name_or_path", pretrained, "--pooling", "max"]
    run(train, "--output_dir", tmp_path / "model", *SHORT, *arguments)
    facts = metrics_of(tmp_path / "model")
    assert facts["training"]["started_from"] == "pretrained" and facts["training"]["learning_rate"] == 2e-3
    assert AutoConfig.from_pretrained(tmp_path / "model").pooling == "max"
    assert isinstance(AutoTokenizer.from_pretrained(tmp_path / "model"), PreTrainedTokenizerFast)
    before, after = weights_of(pretrained), weights_of(tmp_path / "model")
    name = "rnn.layers.0.forward_direction.weight_hh"
    # One epoch at a small rate moves the weights, but not to those of another start.
    assert 0 < (after[name] - before[name]).abs().max() < 0.1

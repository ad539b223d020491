"""From unlabelled texts to a pretrained folder, and from that to a tagger."""

import json
import random
import shutil
from itertools import chain
from pathlib import Path
from unittest import mock

import pytest
import torch
from datasets import Dataset
from helpers import SHORT, WORDS, make_bert, run, weights_of, write_csv, write_jsonl
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertModel,
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from hf_rnn_multilabel import RnnMultilabelConfig, RnnMultilabelForMaskedLM, RnnMultilabelModel, pretrain_encoder
from hf_rnn_multilabel.data import encode_labels, prune_tokenizer, train_tokenizer
from hf_rnn_multilabel.hub.partial import PARTIAL
from hf_rnn_multilabel.hub.run_info import PretrainingInfo, RunInfo
from hf_rnn_multilabel.training.initialization import make_tagger, make_vocabulary
from hf_rnn_multilabel.training.pretraining import (
    PretrainingRecipe,
    make_masked_lm,
    make_masking_vocabulary,
    split_off,
    split_texts,
)
from hf_rnn_multilabel.training.recipe import HEAD, NETWORK, Recipe, Traits, refuse_settings, resolve


SMALL = ["--hidden_size", "8", "--embedding_size", "6", *SHORT]
WORD_TOKENS = ["--tokenizer_algorithm", "word"]


def make_texts(number: int, seed: int = 0) -> list[str]:
    """Texts of 1 to 12 words, in each of which a word is followed by the next one of WORDS."""
    draw = random.Random(seed)
    starts = [(draw.randrange(10), draw.randint(1, 12)) for _ in range(number)]
    return [" ".join(WORDS[(start + step) % 10] for step in range(length)) for start, length in starts]


def run_pretrain(output_dir: Path, *arguments) -> PretrainingInfo:
    """What metrics.json holds."""
    run("pretrain", "--output_dir", output_dir, *SMALL, *arguments)
    return PretrainingInfo.load(output_dir)


def partial_of(folder: Path) -> Path:
    return folder.with_name(folder.name + PARTIAL)


def different(weights: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> list[str]:
    assert weights.keys() == others.keys()
    return [name for name in weights if not torch.equal(weights[name], others[name])]


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    path.write_text("\n".join(make_texts(200)))
    return str(path)


ARGUMENTS = ["--num_train_epochs", "12", "--learning_rate", "0.03", "--validation_fraction", "0.2"]
KEPT = ["--eval_on_start", "true", "--save_total_limit", "99"]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory, texts) -> Path:
    """A folder as the command leaves it, and beside it the checkpoints of all epochs."""
    folder = tmp_path_factory.mktemp("models") / "pretrained"
    with mock.patch("hf_rnn_multilabel.training.folder.remove_partial"):
        run_pretrain(folder, "--train_file", texts, *ARGUMENTS, *KEPT)
    return folder


@pytest.fixture(scope="module")
def encoding():
    rows = [{"text": text, "labels": [word for word in WORDS[:3] if word in text]} for text in make_texts(60)]
    return encode_labels(Dataset.from_list(rows))[1]


@pytest.fixture(scope="module")
def masked_bert(tmp_path_factory) -> Path:
    """A small model of another kind, whose tokenizer has another mask token."""
    return make_bert(tmp_path_factory.mktemp("bert"), mask_token="<mask>")


# A pretrained folder


def test_a_pretrained_folder_holds_the_model_its_code_its_tokenizer_and_its_figures_and_no_pickle(pretrained):
    files = {path.name for path in pretrained.iterdir() if path.is_file()}
    code = {"configuration_rnn_multilabel.py", "modeling_rnn_multilabel.py", "recurrence.py"}
    assert files >= code | {"model.safetensors", "config.json", "tokenizer.json", "metrics.json"}
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pth", ".pkl"))]
    assert not [path for path in pretrained.iterdir() if path.is_dir()]
    assert type(AutoModelForMaskedLM.from_pretrained(pretrained)) is RnnMultilabelForMaskedLM
    assert AutoTokenizer.from_pretrained(pretrained).mask_token == "[MASK]"


def test_pretraining_lowers_the_held_out_loss(pretrained):
    info = PretrainingInfo.load(pretrained)
    (state,) = partial_of(pretrained).glob(f"checkpoint-{info.training.steps}/trainer_state.json")
    losses = [log["eval_loss"] for log in json.loads(state.read_text())["log_history"] if "eval_loss" in log]
    assert len(losses) == 13
    assert info.loss < 0.75 * losses[0]


def test_the_figures_are_those_of_the_reloaded_model(pretrained, texts):
    info = PretrainingInfo.load(pretrained)
    tokenizer = AutoTokenizer.from_pretrained(pretrained)
    lengths = [len(ids) for ids in tokenizer(make_texts(200))["input_ids"]]
    parts = split_off(make_texts(200), 0.2, 42)
    assert {split: size.rows for split, size in info.splits.items()} == dict(
        zip(("train", "validation"), map(len, parts.values()), strict=True)
    )
    assert sum(info.tokens.values()) == sum(lengths) > info.tokens["validation"] > 40
    model = AutoModelForMaskedLM.from_pretrained(pretrained).eval()
    assert info.num_parameters == model.num_parameters()
    held_out = split_texts(parts["test"], tokenizer)
    torch.manual_seed(0)
    with torch.no_grad():
        collate = DataCollatorForLanguageModeling(tokenizer)
        losses = [model(**collate(list(held_out))).loss for _ in range(20)]
    assert info.loss == pytest.approx(torch.stack(losses).mean().item(), rel=0.25)


def test_the_command_says_the_loss_and_json_holds_it(tmp_path, texts, capsys):
    run_pretrain(tmp_path / "plain", "--train_file", texts)
    assert f"Saved in {tmp_path / 'plain'}." in capsys.readouterr().out
    info = run_pretrain(tmp_path / "json", "--train_file", texts, "--json")
    assert json.loads(capsys.readouterr().out) == {"folder": str(tmp_path / "json")} | info.to_dict()
    assert str(tmp_path) not in (tmp_path / "json" / "metrics.json").read_text(encoding="utf-8")


def test_python_pretrains_as_the_command_does(tmp_path, texts):
    info = run_pretrain(tmp_path / "command", "--train_file", texts)
    small = {"hidden_size": 8, "embedding_size": 6, "num_train_epochs": 1, "per_device_train_batch_size": 16}
    found = pretrain_encoder(texts, tmp_path / "python", **small, use_cpu=True, disable_tqdm=True, report_to="none")
    assert found.folder == tmp_path / "python" and found.info.loss == info.loss
    assert different(weights_of(tmp_path / "python"), weights_of(tmp_path / "command")) == []


def test_a_setting_that_nothing_takes_is_told_before_anything_is_read(tmp_path):
    with pytest.raises(ValueError, match=r"'num_epochs'; near are \['num_train_epochs'"):
        pretrain_encoder(tmp_path / "nowhere.txt", tmp_path / "model", num_epochs=3)


@pytest.mark.parametrize(
    "setting", [{"mlm_probability": 0.0}, {"validation_fraction": 2.0}, {"num_train_epochs": 0.0}]
)
def test_a_setting_that_means_nothing_is_told_before_anything_is_read(tmp_path, setting):
    ((name, value),) = setting.items()
    with pytest.raises(ValueError, match=f"`{name}` is {value}"):
        pretrain_encoder(tmp_path / "nowhere.txt", tmp_path / "model", **setting)


# Resuming


def test_a_run_that_resumes_ends_at_the_weights_of_one_that_was_not_stopped(tmp_path, pretrained, texts, caplog):
    kept = partial_of(pretrained)
    steps = sorted(int(path.name.split("-")[1]) for path in kept.glob("checkpoint-*"))
    later = shutil.ignore_patterns(*(f"checkpoint-{step}" for step in steps[5:]))
    shutil.copytree(kept, tmp_path / f"cut{PARTIAL}", ignore=later)
    caplog.set_level("INFO", "hf_rnn_multilabel")
    info = run_pretrain(tmp_path / "cut", "--train_file", texts, *ARGUMENTS, *KEPT)
    assert "Resuming from" in caplog.text
    assert different(weights_of(tmp_path / "cut"), weights_of(pretrained)) == []
    expected = PretrainingInfo.load(pretrained)
    assert (info.loss, info.training.steps) == (expected.loss, expected.training.steps)


def test_fault_11_no_copy_of_a_text_is_held_out():
    texts = [f"text {number % 20}" + " " * (number % 3) for number in range(200)]
    parts = split_off(texts, 0.1, 0)
    train, test = ({" ".join(text.split()) for text in parts[split]["text"]} for split in ("train", "test"))
    assert len(test) == 2 and len(train) == 18 and not train & test
    assert sorted([*parts["train"]["text"], *parts["test"]["text"]]) == sorted(texts)
    with pytest.raises(ValueError, match="All 3 texts are the same"):
        split_off(["a", "a ", " a"], 0.5, 0)


def test_fault_14_a_stopped_run_does_not_resume_on_other_texts(tmp_path, texts):
    stop = mock.patch("hf_rnn_multilabel.training.pretraining.describe_training", side_effect=KeyboardInterrupt)
    with stop, pytest.raises(KeyboardInterrupt):
        run_pretrain(tmp_path / "model", "--train_file", texts)
    with pytest.raises(ValueError, match=r"what differs: .*texts\.texts was"):
        run_pretrain(tmp_path / "model", "--train_file", texts, texts)
    with pytest.raises(ValueError, match=r"what differs: settings\.mlm_probability was 0\.15, is 0\.3"):
        run_pretrain(tmp_path / "model", "--train_file", texts, "--mlm_probability", 0.3)


def test_a_finished_folder_is_never_overwritten(pretrained, texts):
    before = weights_of(pretrained)
    with pytest.raises(FileExistsError, match="is not empty; give another `output_dir`"):
        run_pretrain(pretrained, "--train_file", texts)
    assert different(weights_of(pretrained), before) == []


# Texts


def test_texts_are_read_from_files_of_several_formats(tmp_path):
    rows = [{"body": text, "n": 1} for text in ("lamp, desk", "", "wood")]
    (tmp_path / "a.txt").write_text("oak\n\n  \npen\n")
    write_jsonl(tmp_path / "b.jsonl.gz", rows)
    (tmp_path / "c.csv").write_text('body,n\n"a, b",1\n')
    Dataset.from_list(rows).to_parquet(tmp_path / "d.parquet")
    files = [tmp_path / name for name in ("a.txt", "b.jsonl.gz", "c.csv", "d.parquet")]
    info = run_pretrain(tmp_path / "model", "--train_file", *files, "--text_column", "body", *WORD_TOKENS)
    # oak | pen | lamp, desk | wood | a, b | lamp, desk | wood
    assert (
        sum(size.rows for size in info.splits.values()) == 7 and sum(info.tokens.values()) == 1 + 1 + 3 + 1 + 3 + 3 + 1
    )


def test_files_are_read_with_the_delimiter_and_the_encoding_that_are_given(tmp_path):
    Path(write_csv(tmp_path / "a.csv", [{"n": 1, "body": "lämp lämp"}, {"n": 2, "body": "lämp, lämp"}], ";"))
    text = (tmp_path / "a.csv").read_text(encoding="utf-8")
    (tmp_path / "a.csv").write_text(text, encoding="latin-1")
    options = ["--delimiter", ";", "--encoding", "latin-1", *WORD_TOKENS]
    info = run_pretrain(tmp_path / "model", "--train_file", tmp_path / "a.csv", *options)
    assert sum(size.rows for size in info.splits.values()) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "lamp"}\n{"body": "desk"}\n', r"Row 2 of .* has None as `text`.*\['body'\].*`text_column`"),
        ('{"text": "lamp"}\n{"text": ""}\n', r"hold 1 texts; give at least 2"),
        (None, r"No file '.*a\.jsonl'"),
    ],
)
def test_texts_that_cannot_be_read_are_told(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run_pretrain(tmp_path / "model", "--train_file", tmp_path / "a.jsonl")
    assert not list(tmp_path.glob("model*"))


def test_a_long_text_becomes_several_rows_and_none_of_it_is_lost():
    tokenizer = train_tokenizer(make_texts(20), algorithm="word")
    long, short = " ".join(WORDS * 3), "lamp"
    ids = [tokenizer(text)["input_ids"] for text in (long, short)]
    tokenizer.model_max_length = 7
    rows = split_texts(Dataset.from_dict({"text": [long, short]}), tokenizer)["input_ids"]
    assert [len(row) for row in rows] == [7, 7, 7, 7, 2, 1]
    assert list(chain(*rows[:-1])) == ids[0] and rows[-1] == ids[1]


# Tokenizers


def start(**settings):
    recipe = PretrainingRecipe(**settings)
    vocabulary = make_masking_vocabulary(recipe, make_texts(60))
    return vocabulary.tokenizer, make_masked_lm(recipe, vocabulary)


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


def test_a_tokenizer_of_another_model_keeps_its_own_mask_token(masked_bert):
    for arguments in ({"tokenizer_name": str(masked_bert)}, {"embeddings_from": str(masked_bert)}):
        tokenizer, model = start(**arguments)
        assert tokenizer.mask_token == "<mask>" and "[MASK]" not in tokenizer.get_vocab()
        assert model.config.vocab_size == len(tokenizer)
    theirs = BertModel.from_pretrained(masked_bert).get_input_embeddings().weight
    words = AutoTokenizer.from_pretrained(masked_bert)("lamp oak <mask>")["input_ids"]
    assert torch.equal(model.decoder.weight[tokenizer("lamp oak <mask>")["input_ids"]], theirs[words])


def test_vectors_without_a_mask_token_leave_its_embedding_as_initialised(tmp_path):
    (tmp_path / "vectors.txt").write_text("lamp 1 2 3\ndesk 4 5 6\n")
    tokenizer, model = start(embeddings_from=str(tmp_path / "vectors.txt"))
    embeddings = model.get_input_embeddings().weight
    assert embeddings.shape == (len(tokenizer), 3) and embeddings.isfinite().all()
    assert embeddings[tokenizer("lamp desk")["input_ids"]].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert 0 < embeddings[tokenizer.mask_token_id].abs().max() < 1


# Starting from other checkpoints


def test_pretraining_starts_from_a_pretrained_folder(pretrained):
    tokenizer, model = start(model_name_or_path=str(pretrained), embedding_dropout=0.3)
    state = {name: weight for name, weight in model.state_dict().items() if name != "decoder.weight"}
    assert different(state, weights_of(pretrained)) == []
    assert model.rnn.inputs.dropout.p == model.config.embedding_dropout == 0.3
    assert len(tokenizer) == model.config.vocab_size


def test_pretraining_starts_from_a_model_whose_tokenizer_has_no_mask_token(tmp_path):
    tokenizer = train_tokenizer(make_texts(60))
    base = RnnMultilabelModel(RnnMultilabelConfig(vocab_size=len(tokenizer), hidden_size=8, embedding_size=6))
    base.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    found, model = start(model_name_or_path=str(tmp_path))
    assert len(found) == len(tokenizer) + 1 == model.config.vocab_size == len(model.decoder.bias)
    assert torch.equal(model.rnn.inputs.embed_tokens.weight[:-1], base.inputs.embed_tokens.weight)


def test_pretraining_starts_from_a_tagger_without_its_wide_head(trained):
    assert AutoConfig.from_pretrained(trained).num_bigram_buckets is not None
    model = start(model_name_or_path=str(trained))[1]
    assert model.config.num_bigram_buckets is None
    embeddings = model.rnn.inputs.embed_tokens.weight[:-1]  # but for the mask token's
    assert torch.equal(embeddings, weights_of(trained)["rnn.inputs.embed_tokens.weight"])


def test_what_pretraining_cannot_start_from_is_told(pretrained, masked_bert):
    wrong = {
        r"is a 'bert' model; give a 'rnn_multilabel' one": {"model_name_or_path": str(masked_bert)},
        r"\['cell_type'\] are given, but the model is": {
            "model_name_or_path": str(pretrained),
            "cell_type": "gru",
        },
    }
    for message, arguments in wrong.items():
        with pytest.raises(ValueError, match=message):
            start(**arguments)


# A tagger that starts from it


def start_tagger(encoding, **settings):
    recipe = Recipe(**settings)
    refuse_settings(recipe, NETWORK - HEAD)
    vocabulary = make_vocabulary(recipe, make_texts(60), 256)
    traits = Traits(num_rows=60, num_labels=3, vocab_size=len(vocabulary.tokenizer), max_length=256)
    return make_tagger(resolve(recipe, traits), vocabulary, encoding)[0]


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
    # That of a tagger's training, not the .1 of the pretraining.
    assert model.rnn.inputs.dropout.p == config.embedding_dropout == config.classifier_dropout == 0.4
    assert model.rnn.inputs.word_dropout.p == 0.2
    assert config.label_names == encoding.label_names
    assert model.classifier.bias.tolist() == pytest.approx(config.label_bias)


def test_what_the_pretrained_encoder_has_decided_is_told(pretrained, encoding):
    with pytest.raises(ValueError, match=r"\['hidden_size'\] are given, but the model is"):
        start_tagger(encoding, model_name_or_path=str(pretrained), hidden_size=9, classifier_dropout=0.1)
    with pytest.raises(StrictDataclassError, match="`word_dropout` is 2"):
        start_tagger(encoding, model_name_or_path=str(pretrained), word_dropout=2.0)


def test_a_tagger_is_trained_from_a_pretrained_folder(tmp_path, pretrained):
    rows = [{"text": text, "labels": [word for word in WORDS[:3] if word in text]} for text in make_texts(80, seed=1)]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    arguments = ["--train_file", path, "--model_name_or_path", pretrained, "--pooling", "max"]
    run("train", "--output_dir", tmp_path / "model", *SHORT, *arguments)
    training = RunInfo.load(tmp_path / "model").training
    assert (training.started_from, training.learning_rate) == ("pretrained", 2e-3)
    assert AutoConfig.from_pretrained(tmp_path / "model").pooling == ["max"]
    assert isinstance(AutoTokenizer.from_pretrained(tmp_path / "model"), PreTrainedTokenizerFast)
    before, after = weights_of(pretrained), weights_of(tmp_path / "model")
    name = "rnn.layers.0.forward_direction.weight_hh"
    # One epoch at a small rate moves the weights, but not to those of another start.
    assert 0 < (after[name] - before[name]).abs().max() < 0.1

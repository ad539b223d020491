"""Where a model starts: its tokenizer, its embeddings, its head."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from datasets import Dataset
from helpers import LABELS, SHORT, are_equal, make_rows, run, run_train, weights_of, write_jsonl
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, BertModel

from hf_rnn_multilabel.data import encode_labels, load_data
from hf_rnn_multilabel.hub.run_info import RunInfo
from hf_rnn_multilabel.training import initialization, steps
from hf_rnn_multilabel.training.initialization import embeds_from_model, make_tagger, make_vocabulary
from hf_rnn_multilabel.training.recipe import Recipe
from hf_rnn_multilabel.training.wide import remove_wide_head


@pytest.fixture(scope="module")
def encoding():
    return encode_labels(Dataset.from_list(make_rows(60)))[1]


def start(settings: dict, encoding, max_length: int = 256):
    """The tokenizer and the model that a training on 60 rows starts from."""
    recipe, rows = Recipe(**settings), make_rows(60)
    data = replace(load_data({"train": rows, "validation": rows}), encoding=encoding)
    inputs = steps.prepare(recipe, data, max_length)
    return inputs.tokenizer, make_tagger(steps.resolve_for(recipe, inputs), inputs.vocabulary, encoding)[0]


# Other embeddings, and the labels' names


def test_embeddings_start_from_a_file_of_word_vectors(tmp_path, encoding, caplog):
    (tmp_path / "vectors.txt").write_text("lamp 1 2 3\ndesk 4 5 6\nunseen 7 8 9\n")
    caplog.set_level("INFO", "hf_rnn_multilabel")
    tokenizer, model = start({"embeddings_from": str(tmp_path / "vectors.txt")}, encoding)
    assert model.config.embedding_size == 3
    ids = tokenizer("lamp desk")["input_ids"]
    assert model.get_input_embeddings().weight[ids].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert f"2 of {len(tokenizer)} embeddings start from" in caplog.text


def test_the_label_attention_starts_from_the_names_unless_told_otherwise(trained, encoding, caplog):
    caplog.set_level("INFO", "hf_rnn_multilabel")
    given = {"vocab_size": 60, "pooling": ["label_attention"]}
    tokenizer, model = start(given, encoding)
    said = "of 3 labels starts from their names."
    assert said in caplog.text
    known = [name for name in LABELS if tokenizer.unk_token_id not in tokenizer(name)["input_ids"]]
    state = model.eval().rnn(**tokenizer(known[0], return_tensors="pt")).last_hidden_state[0].mean(0)
    query = model.label_attention.query.weight[encoding.label_names.index(known[0])]
    assert (state @ query).item() == pytest.approx(6, rel=1e-4)
    for arguments in (
        given | {"label_name_queries": False},
        given | {"pooling": ["max"]},
        # A head that is kept has learnt more than the names.
        {"model_name_or_path": str(trained)},
    ):
        caplog.clear()
        start(arguments, encoding)
        assert said not in caplog.text
    other_labels = encode_labels(Dataset.from_list(make_rows(60, ["lux", *LABELS[1:]])))[1]
    start({"model_name_or_path": str(trained)}, other_labels)
    assert said in caplog.text


def test_labels_of_whose_names_nothing_is_known_have_no_attention_unless_it_is_asked_for(encoding, bert, caplog):
    caplog.set_level("INFO", "hf_rnn_multilabel")
    said = "Most labels' names have no word in the training texts"
    names = ["a_lamp", "lux", "desk"]
    known = replace(encoding, label_names=names, frequencies=dict.fromkeys(names, 0.5))
    assert start({}, known)[1].config.pooling == ["attention", "max", "label_attention"]
    assert start({"embeddings_from": str(bert)}, encoding)[1].config.pooling == ["attention", "max", "label_attention"]
    assert said not in caplog.text
    assert start({}, encoding)[1].config.pooling == ["attention", "max"]
    assert said in caplog.text
    caplog.clear()
    assert start({"pooling": ["label_attention"]}, encoding)[1].config.poolings == ["label_attention"]
    assert said not in caplog.text


def test_a_vector_that_is_not_finite_is_an_error(tmp_path, encoding):
    (tmp_path / "vectors.txt").write_text("lamp 1 2 3\ndesk 4 nan 6\n")
    with pytest.raises(ValueError, match="line 2, 'desk', holds a value that is not a finite number"):
        start({"embeddings_from": str(tmp_path / "vectors.txt")}, encoding)


def test_embeddings_start_from_another_model(tmp_path, train_and_validation, bert, encoding):
    _, model = start({"embeddings_from": str(bert)}, encoding)
    theirs = BertModel.from_pretrained(bert).get_input_embeddings().weight
    words = AutoTokenizer.from_pretrained(bert)("lamp oak")["input_ids"]
    tokenizer, model = start({"embeddings_from": str(bert)}, encoding)
    ours = model.get_input_embeddings().weight[tokenizer("lamp oak")["input_ids"]]
    assert torch.equal(ours, theirs[words])
    info = run_train(tmp_path / "model", *train_and_validation, "--embeddings_from", bert)
    assert AutoConfig.from_pretrained(tmp_path / "model").embedding_size == 6
    assert info.training.embedding_lr_factor == 0.1


def test_a_vocabulary_that_is_not_pruned_reads_words_that_train_lacks(bert, encoding, monkeypatch):
    unseen = AutoTokenizer.from_pretrained(bert)("garden oak", add_special_tokens=False)["input_ids"]
    theirs = BertModel.from_pretrained(bert).get_input_embeddings().weight
    recipe = Recipe(embeddings_from=str(bert))
    whole = make_vocabulary(recipe, ["a lamp"], 256)
    assert whole.tokenizer("garden oak", add_special_tokens=False)["input_ids"] == unseen
    assert torch.equal(whole.vectors[unseen], theirs[unseen])
    pruned = make_vocabulary(replace(recipe, prune_vocabulary=True), ["a lamp"], 256)
    assert len(pruned.tokenizer) < len(whole.tokenizer) == len(theirs)
    monkeypatch.setattr(initialization, "MAX_WHOLE_VOCABULARY", len(theirs) - 1)
    assert len(make_vocabulary(recipe, ["a lamp"], 256).tokenizer) == len(pruned.tokenizer)


@pytest.fixture
def bert_with_gaps(tmp_path, bert):
    """A model with an id that no token has."""
    shutil.copytree(bert, tmp_path / "bert")
    path = tmp_path / "bert" / "tokenizer.json"
    state = json.loads(path.read_text())
    vocabulary = state["model"]["vocab"]
    size = len(vocabulary)
    vocabulary[max(vocabulary, key=vocabulary.get)] += 1
    path.write_text(json.dumps(state))
    bigger = BertModel.from_pretrained(bert)
    bigger.resize_token_embeddings(size + 1)
    bigger.save_pretrained(tmp_path / "bert")
    return str(tmp_path / "bert")


@pytest.mark.parametrize("setting", ["embeddings_from", "tokenizer_name"])
def test_fault_18_a_vocabulary_with_gaps_is_made_to_count_from_zero(bert_with_gaps, encoding, setting):
    tokenizer, model = start({setting: bert_with_gaps}, encoding)
    assert max(tokenizer.get_vocab().values()) < len(tokenizer) == model.config.vocab_size


def test_fault_18_a_vocabulary_with_gaps_is_not_kept_whole(bert_with_gaps, encoding):
    with pytest.raises(ValueError, match=r"`prune_vocabulary=False` .* gaps: \d+ tokens go up to the id \d+"):
        start({"embeddings_from": bert_with_gaps, "prune_vocabulary": False}, encoding)


def test_a_file_of_word_vectors_is_told_from_a_model(tmp_path, bert):
    (tmp_path / "vectors.txt").write_text("lamp 1 2 3")
    assert not embeds_from_model(Recipe(embeddings_from=str(tmp_path / "vectors.txt")))
    assert embeds_from_model(Recipe(embeddings_from=str(bert)))
    assert not embeds_from_model(Recipe())


@pytest.mark.parametrize("prune", [False, True])
def test_only_the_vocabulary_of_another_model_is_pruned_or_kept_whole(tmp_path, encoding, prune):
    (tmp_path / "vectors.txt").write_text("lamp 1 2 3")
    for source in (None, str(tmp_path / "vectors.txt")):
        with pytest.raises(ValueError, match=f"`prune_vocabulary` is {prune}, but only a model"):
            start({"embeddings_from": source, "prune_vocabulary": prune}, encoding)


def test_a_tokenizer_without_a_pad_token_is_refused(tmp_path, bert, encoding):
    shutil.copytree(bert, tmp_path / "bert")
    tokenizer = AutoTokenizer.from_pretrained(bert)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path / "bert")
    with pytest.raises(ValueError, match="has no pad token; save it with one"):
        start({"embeddings_from": str(tmp_path / "bert"), "prune_vocabulary": False}, encoding)


# A trained folder


def test_a_trained_folder_with_the_same_labels_keeps_its_head(trained, encoding):
    tokenizer, model = start({"model_name_or_path": str(trained)}, encoding, max_length=7)
    weights = {name: weight for name, weight in weights_of(trained).items() if not name.startswith("wide.")}
    assert are_equal(model.state_dict(), weights)
    assert model.config.label_frequencies == encoding.frequencies
    assert tokenizer.model_max_length == 7


@pytest.mark.parametrize("has_wide_head", [True, False])
def test_thresholds_are_kept_but_for_those_of_a_mixture(tmp_path, trained, encoding, has_wide_head):
    shutil.copytree(trained, tmp_path / "tagger")
    model = AutoModelForSequenceClassification.from_pretrained(trained)
    assert model.wide is not None and model.config.thresholds
    if not has_wide_head:
        remove_wide_head(model)
    model.save_pretrained(tmp_path / "tagger")
    _, started = start({"model_name_or_path": str(tmp_path / "tagger")}, encoding)
    assert started.config.thresholds == (None if has_wide_head else model.config.thresholds)


@pytest.mark.parametrize("names", [["a", "b", "c"], [*LABELS, "lux"], LABELS[1:], [*LABELS[1:], "lux"]], ids=" ".join)
def test_a_trained_folder_with_other_labels_gets_a_new_head(trained, names):
    encoding = encode_labels(Dataset.from_list(make_rows(60, names)))[1]
    _, model = start({"model_name_or_path": str(trained)}, encoding)
    weights, old = model.state_dict(), weights_of(trained)
    assert {name for name in weights if not torch.equal(weights[name], old[name])} == {
        "label_attention.query.weight",
        "label_attention.classifier.weight",
        "classifier.weight",
        "classifier.bias",
    }
    assert model.config.label_names == sorted(names) and model.config.thresholds is None
    assert model.classifier.bias.tolist() == pytest.approx(model.config.label_bias)


def test_fine_tuning_on_other_labels_saves_the_new_labels_and_thresholds(tmp_path, trained):
    path = write_jsonl(tmp_path / "rows.jsonl", make_rows(80, ["x", "y", "z"]))
    arguments = ["--train_file", path, "--model_name_or_path", trained, "--balance_positives"]
    run("train", "--output_dir", tmp_path / "model", *SHORT, *arguments)
    assert RunInfo.load(tmp_path / "model").training.started_from == "trained"
    config = AutoConfig.from_pretrained(tmp_path / "model")
    assert config.label_names == ["x", "y", "z"] == list(config.thresholds) == list(config.label_frequencies)
    assert config.positive_weights == "balanced"


def test_a_trained_model_resumes_with_its_expected_f1(tmp_path, trained, train_and_validation):
    objective = ["--objective", "expected_f1", "--objective_parameters", "samples=2", "cross_entropy=0.2"]
    arguments = [*train_and_validation, "--model_name_or_path", trained, *objective]
    run("train", "--output_dir", tmp_path / "model", *SHORT, *arguments)
    config = AutoConfig.from_pretrained(tmp_path / "model")
    assert (config.objective, config.objective_parameters) == ("expected_f1", {"samples": 2, "cross_entropy": 0.2})
    assert not are_equal(weights_of(tmp_path / "model"), weights_of(trained))


def test_a_checkpoint_that_cannot_be_started_from_is_refused(tmp_path, trained, bert, encoding):
    shutil.copytree(trained, tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    wrong = {
        r"The weights in '.*cut' are broken": {"model_name_or_path": str(tmp_path / "cut")},
        r"is a 'bert' model; give a 'rnn_multilabel' one": {"model_name_or_path": str(bert)},
        r"brings its own tokenizer": {"model_name_or_path": str(trained), "embeddings_from": str(bert)},
        r"\['cell_type', 'pooling'\] are given, but the model is": {
            "model_name_or_path": str(trained),
            "cell_type": "rnn",
            "pooling": ["max"],
        },
    }
    for message, arguments in wrong.items():
        with pytest.raises(ValueError, match=message):
            start(arguments, encoding)


# Losses


def test_balanced_positives_weigh_rare_labels_up(encoding):
    _, model = start({"balance_positives": True}, encoding)
    frequencies = [encoding.frequencies[name] for name in encoding.label_names]
    assert model.positive_weights.tolist() == pytest.approx([(1 - frequency) / frequency for frequency in frequencies])
    assert start({}, encoding)[1].positive_weights.tolist() == [1, 1, 1]


def test_the_objective_is_that_of_the_arguments_whatever_the_model_starts_from(trained, encoding):
    given = {"objective": "focal", "objective_parameters": ["gamma=3"], "label_smoothing": 0.1}
    for more in ({}, {"model_name_or_path": str(trained)}):
        config = start(given | more, encoding)[1].config
        assert (config.objective, config.objective_parameters, config.label_smoothing) == ("focal", {"gamma": 3}, 0.1)
        config = start(more, encoding)[1].config
        assert (config.objective, config.objective_parameters, config.label_smoothing) == ("bce", None, 0)
        with pytest.raises(StrictDataclassError, match="holds 'margin'; 'focal' takes"):
            start(given | more | {"objective_parameters": ["margin=3"]}, encoding)

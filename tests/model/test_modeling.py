import copy
import logging
import pickle
import shutil
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModel, AutoModelForSequenceClassification
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from hf_rnn_multilabel import RnnMultilabelForSequenceClassification, RnnMultilabelModel


GATES = {"rnn": 1, "gru": 3, "lstm": 4}
DROPOUTS = ["embedding_dropout", "word_dropout", "hidden_dropout", "recurrent_dropout", "classifier_dropout"]


def test_the_label_correlation_starts_as_nothing_and_a_loaded_one_stays(tmp_path, build_config, batch):
    tagger = RnnMultilabelForSequenceClassification(build_config()).eval()
    logits = tagger(**batch).logits
    tagger.label_correlation = None
    assert torch.equal(tagger(**batch).logits, logits)
    trained = RnnMultilabelForSequenceClassification(build_config())
    trained.label_correlation.up.weight.data.fill_(0.5)
    trained.save_pretrained(tmp_path)
    loaded = RnnMultilabelForSequenceClassification.from_pretrained(tmp_path)
    assert (loaded.label_correlation.up.weight == 0.5).all()


# Saving and loading


def assert_bit_equal(model, loaded):
    states, others = model.state_dict(), loaded.state_dict()
    assert states.keys() == others.keys()
    assert [name for name in states if not torch.equal(states[name], others[name])] == []


def test_pain_01_loaded_weights_are_those_that_were_saved(tmp_path, build_tagger, cell_type, pooling):
    model = build_tagger(cell_type=cell_type, pooling=pooling, positive_weights=3)
    model.save_pretrained(tmp_path)
    for maker in [RnnMultilabelForSequenceClassification, AutoModelForSequenceClassification]:
        loaded = maker.from_pretrained(tmp_path)
        assert_bit_equal(model, loaded)
        assert loaded.positive_weights.tolist() == [3, 3, 3]
    for maker in [RnnMultilabelModel, AutoModel]:
        assert_bit_equal(model.rnn, maker.from_pretrained(tmp_path))
    model.rnn.save_pretrained(tmp_path / "base")
    assert_bit_equal(model.rnn, AutoModel.from_pretrained(tmp_path / "base"))


@pytest.fixture(scope="module")
def modules_cache(tmp_path_factory):
    """Where the code of checkpoints is imported from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path_factory.mktemp("modules")))
        # Without the place from which other tests imported.
        patch.setattr(sys, "path", [path for path in sys.path if not Path(path, "transformers_modules").is_dir()])
        # What other tests imported came from another place.
        for name in [name for name in sys.modules if name.startswith("transformers_modules")]:
            patch.delitem(sys.modules, name)
        yield
        for name in [name for name in sys.modules if name.startswith("transformers_modules")]:
            del sys.modules[name]


def test_pain_01_weights_loaded_by_the_code_of_the_checkpoint_are_those_that_were_saved(
    tmp_path, modules_cache, build_tagger, cell_type
):
    model = build_tagger(cell_type=cell_type, positive_weights=3)
    model.save_pretrained(tmp_path / cell_type)
    name = "modeling_rnn_multilabel.RnnMultilabelForSequenceClassification"
    maker = get_class_from_dynamic_module(name, tmp_path / cell_type)
    assert maker.__module__.startswith("transformers_modules")
    loaded = maker.from_pretrained(tmp_path / cell_type)
    assert_bit_equal(model, loaded)
    assert loaded.positive_weights.tolist() == [3, 3, 3]


def assert_well_initialised(model):
    config, rnn = model.config, getattr(model, "rnn", model)
    assert [name for name, weight in model.named_parameters() if not weight.isfinite().all()] == []
    for layer in rnn.layers:
        for direction in layer.children():
            for gate in direction.weight_hh.chunk(GATES[config.cell_type]):
                torch.testing.assert_close(gate @ gate.T, torch.eye(config.hidden_size), atol=1e-5, rtol=0)
            rows, columns = direction.weight_ih.shape
            assert 0 < direction.weight_ih.abs().max() <= (6 / (rows + columns)) ** 0.5
            forget = [0.0] * 5 + [1.0] * 5 + [0.0] * 10
            assert direction.bias_ih.tolist() == (forget if config.cell_type == "lstm" else [0.0] * rows)
            assert not direction.bias_hh.any()
    embeddings = rnn.inputs.embed_tokens.weight
    assert not embeddings[config.pad_token_id].any()
    assert embeddings[1:].std().item() == pytest.approx(config.initializer_range, rel=0.3)


def test_a_new_net_is_well_initialised(poisoned_memory, build_config, cell_type, bidirectional, pooling):
    config = build_config(cell_type=cell_type, bidirectional=bidirectional, pooling=pooling, num_labels=40)
    model = RnnMultilabelForSequenceClassification(config)
    assert_well_initialised(model)
    assert not model.classifier.bias.any()
    for classifier in filter(None, [model.classifier, getattr(model.label_attention, "classifier", None)]):
        if hasattr(classifier, "weight"):
            assert classifier.weight.std().item() == pytest.approx(config.initializer_range, rel=0.4)
    assert model.positive_weights.tolist() == [1] * 40


FREQUENCIES = {"LABEL_0": 0.5, "LABEL_1": 0.2, "LABEL_2": 0.01}
LOG_ODDS = [0.0, -1.3862944, -4.5951199]  # log(1), log(1 / 4), log(1 / 99)


def test_pain_02_a_head_on_a_base_checkpoint_is_well_initialised(
    tmp_path, poisoned_memory, build_config, cell_type, pooling
):
    base = RnnMultilabelModel(build_config(cell_type=cell_type))
    base.save_pretrained(tmp_path)
    model = RnnMultilabelForSequenceClassification.from_pretrained(
        tmp_path, pooling=pooling, num_labels=3, label_frequencies=FREQUENCIES, positive_weights={"LABEL_0": 2}
    )
    assert_bit_equal(base, model.rnn)
    assert_well_initialised(model)
    assert model.positive_weights.tolist() == [2, 1, 1]
    expected = [0.6931472, *LOG_ODDS[1:]]  # log(2 * 1): twice the weight, twice the odds
    torch.testing.assert_close(model.classifier.bias.detach(), torch.tensor(expected))
    heads = [model.classifier, model.pooling, *([model.label_attention] if model.label_attention else [])]
    for name, weight in [pair for head in heads for pair in head.named_parameters() if "weight" in pair[0]]:
        assert weight.numel() == 0 or 0 < weight.abs().max() < 0.6, name


def test_pain_02_a_deeper_net_on_a_shallower_checkpoint_is_well_initialised(
    tmp_path, poisoned_memory, build_config, cell_type
):
    shallow = RnnMultilabelForSequenceClassification(build_config(cell_type=cell_type, num_hidden_layers=1))
    shallow.save_pretrained(tmp_path)
    deep = RnnMultilabelForSequenceClassification.from_pretrained(tmp_path, num_hidden_layers=3)
    assert_well_initialised(deep)
    assert len(deep.rnn.layers) == 3
    assert_bit_equal(shallow.rnn.layers[0], deep.rnn.layers[0])
    assert_bit_equal(shallow.classifier, deep.classifier)


@pytest.mark.parametrize("missing", ["weight_ih", "weight_hh", "bias_ih", "bias_hh"])
def test_pain_01_a_missing_weight_leaves_its_neighbours_as_they_were_saved(
    tmp_path, poisoned_memory, build_tagger, cell_type, missing
):
    build_tagger(cell_type=cell_type).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights[f"rnn.layers.0.forward_direction.{missing}"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded = RnnMultilabelForSequenceClassification.from_pretrained(tmp_path).state_dict()
    assert [name for name in weights if not torch.equal(weights[name], loaded[name])] == []
    assert all(weight.isfinite().all() for weight in loaded.values())


def test_the_bias_starts_at_the_log_odds_of_the_labels_and_a_loaded_one_stays(tmp_path, build_config):
    model = RnnMultilabelForSequenceClassification(build_config(label_frequencies=FREQUENCIES))
    torch.testing.assert_close(model.classifier.bias.detach(), torch.tensor(LOG_ODDS))
    nn.init.constant_(model.classifier.bias, 7)
    model.save_pretrained(tmp_path)
    loaded = RnnMultilabelForSequenceClassification.from_pretrained(tmp_path, positive_weights=5)
    assert loaded.classifier.bias.tolist() == [7, 7, 7]
    assert loaded.positive_weights.tolist() == [5, 5, 5]


def test_fault_27_the_number_of_labels_may_change_on_load(tmp_path, build_tagger, batch, poisoned_memory):
    model = build_tagger(thresholds={"LABEL_1": 0.3}, label_frequencies=FREQUENCIES)
    model.save_pretrained(tmp_path)
    loaded = RnnMultilabelForSequenceClassification.from_pretrained(
        tmp_path, num_labels=5, ignore_mismatched_sizes=True
    )
    assert_bit_equal(model.rnn, loaded.rnn)
    # A new head is nobody's: neither thresholds nor the bias nor the wide head of the old labels are in it.
    assert loaded.config.label_thresholds == [0.5] * 5 and not loaded.classifier.bias.any()
    assert not loaded.wide.mixing_weights.any() and not loaded.wide.weight.any()
    outputs = loaded(batch["input_ids"], batch["attention_mask"], labels=torch.ones(3, 5))
    assert outputs.logits.shape == (3, 5)
    outputs.loss.backward()
    assert outputs.logits.isfinite().all() and loaded.classifier.weight.grad.any()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_tags_as_the_original(build_tagger, batch, copied):
    model = build_tagger()
    twin = copied(model)
    assert torch.equal(twin(**batch).logits, model(**batch).logits)
    nn.init.zeros_(twin.classifier.weight)
    assert model.classifier.weight.any()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_pain_15_extra_outputs_do_not_hinder_prediction(build_tagger, build_trainer, rows, collate, pooling):
    model = build_tagger(pooling=pooling, output_hidden_states=True, output_attentions=True)
    trainer = build_trainer(model, rows, per_device_eval_batch_size=3)
    metrics = trainer.evaluate()
    predictions = trainer.predict(rows).predictions
    with torch.no_grad():
        outputs = model(**collate(rows))
    assert np.isfinite(metrics["eval_loss"])
    np.testing.assert_allclose(predictions[0], outputs.logits.numpy(), atol=1e-6)
    assert len(predictions[1]) == 3
    assert predictions[1][2].shape == (8, 5, 10)
    heads = [size for name, size in [("attention", 1), ("label_attention", 3)] if name in model.config.poolings]
    assert [attention.shape for attention in predictions[2]] == [(8, 5, size) for size in heads]


# Half precision


def torch_runs_lstm_in_float16():
    try:
        with torch.autocast("cpu", torch.float16):
            nn.LSTM(4, 5)(torch.zeros(2, 3, 4))
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mode", ["autocast", "weights"])
def test_pain_21_half_precision_stays_finite_with_attention_in_float32(build_tagger, batch, cell_type, dtype, mode):
    if (cell_type, mode, dtype) == ("lstm", "autocast", torch.float16) and not torch_runs_lstm_in_float16():
        pytest.skip("torch's own LSTM does not run on this processor under autocast to float16")
    model = build_tagger(cell_type=cell_type)
    with torch.no_grad():
        model.label_attention.query.weight.mul_(50)
        model.pooling.attention.query.weight.mul_(50)
    if mode == "weights":
        model = model.to(dtype)
    with torch.autocast("cpu", dtype, enabled=mode == "autocast"):
        outputs = model(**batch, output_attentions=True)
    assert [attention.dtype for attention in outputs.attentions] == [torch.float32] * 2
    assert outputs.loss.dtype == torch.float32
    outputs.loss.backward()
    for value in [outputs.logits, outputs.loss, *outputs.attentions, *(weight.grad for weight in model.parameters())]:
        assert value.isfinite().all()


def test_pain_21_bfloat16_logits_are_near_those_of_float32(build_tagger, batch, cell_type):
    model = build_tagger(cell_type=cell_type)
    expected = model(**batch).logits
    torch.testing.assert_close(model.to(torch.bfloat16)(**batch).logits.float(), expected, atol=0.1, rtol=0)


def test_pain_02_a_net_in_bfloat16_is_initialised(poisoned_memory, tmp_path, build_config, cell_type):
    config = build_config(cell_type=cell_type)
    RnnMultilabelModel(config).save_pretrained(tmp_path)
    model = RnnMultilabelForSequenceClassification.from_pretrained(tmp_path, num_hidden_layers=3, dtype=torch.bfloat16)
    for weight in model.parameters():
        assert weight.dtype == torch.bfloat16
        assert weight.isfinite().all()


# Inputs


def test_fault_35_padded_ids_without_a_mask_give_the_stock_warning(build_tagger, caplog):
    model = build_tagger(pad_token_id=0)
    logger = logging.getLogger("transformers.modeling_utils")
    transformers.utils.logging.warning_once.cache_clear()
    with caplog.at_level("WARNING"), mock.patch.object(logging.getLogger("transformers"), "propagate", True):
        model(torch.tensor([[4, 9, 0]]))
    assert logger.name in {record.name for record in caplog.records}
    assert "`attention_mask`" in caplog.text


# Outputs


def test_embeddings_as_input_equal_their_ids(build_tagger, batch, cell_type):
    model = build_tagger(cell_type=cell_type, num_bigram_buckets=None)
    mask = batch["attention_mask"]
    embeddings = model.get_input_embeddings()(batch["input_ids"])
    assert torch.equal(
        model(inputs_embeds=embeddings, attention_mask=mask).logits, model(batch["input_ids"], mask).logits
    )


@pytest.mark.parametrize("where", ["call", "configuration"])
def test_outputs_may_be_a_tuple(build_tagger, batch, where):
    expected = build_tagger()(**batch, output_hidden_states=True)
    model = build_tagger(**{"return_dict": False} if where == "configuration" else {})
    outputs = model(**batch, output_hidden_states=True, **{"return_dict": False} if where == "call" else {})
    assert type(outputs) is tuple
    assert torch.equal(outputs[0], expected.loss)
    assert torch.equal(outputs[1], expected.logits)
    assert all(map(torch.equal, outputs[2], expected.hidden_states))
    assert len(outputs) == 3


@pytest.mark.parametrize("layers", [1, 3])
def test_hidden_states_are_the_embeddings_and_each_output(build_tagger, batch, cell_type, bidirectional, layers):
    model = build_tagger(cell_type=cell_type, bidirectional=bidirectional, num_hidden_layers=layers)
    inputs = batch["input_ids"], batch["attention_mask"]
    outputs = model.rnn(*inputs, output_hidden_states=True)
    size = 10 if bidirectional else 5
    assert [states.shape for states in outputs.hidden_states] == [(3, 4, 6)] + [(3, 4, size)] * layers
    assert torch.equal(outputs.hidden_states[0], model.rnn.inputs.embed_tokens(batch["input_ids"]))
    assert torch.equal(outputs.hidden_states[-1], outputs.last_hidden_state)
    assert model.rnn(*inputs).hidden_states is None
    assert all(map(torch.equal, model(*inputs, output_hidden_states=True).hidden_states, outputs.hidden_states))


@pytest.mark.parametrize(
    ("pooling", "heads"), [("attention", [1]), ("label_attention", [3]), (["label_attention", "attention"], [1, 3])]
)
def test_attentions_sum_to_one_over_the_valid_steps(build_tagger, batch, pooling, heads):
    model = build_tagger(pooling=pooling)
    attentions = model(**batch, output_attentions=True).attentions
    assert [attention.shape for attention in attentions] == [(3, 4, size) for size in heads]
    for attention in attentions:
        torch.testing.assert_close(attention.sum(1), torch.ones(3, attention.shape[-1]))
        assert not attention[batch["attention_mask"] == 0].any()
        assert (attention[batch["attention_mask"] == 1] > 0).all()
    assert model(**batch).attentions is None
    always = build_tagger(pooling=pooling, output_attentions=True)(**batch).attentions
    assert all(map(torch.equal, always, attentions))


def test_resized_embeddings_keep_the_old_tokens_and_the_padding(build_tagger, batch):
    model = build_tagger()
    expected = model(**batch).logits
    model.resize_token_embeddings(26)
    assert model.config.vocab_size == model.rnn.inputs.embed_tokens.num_embeddings == 26
    assert model.rnn.inputs.embed_tokens.padding_idx == 0
    assert torch.equal(model(**batch).logits, expected)
    assert model(torch.tensor([[25]])).logits.isfinite().all()


# Training


def test_evaluation_repeats_itself(build_tagger, batch):
    model = build_tagger(**dict.fromkeys(DROPOUTS, 0.5))
    assert torch.equal(model(**batch).logits, model(**batch).logits)


@pytest.mark.parametrize("name", DROPOUTS)
def test_each_dropout_is_active_in_training_alone(build_tagger, batch, cell_type, name):
    plain, model = build_tagger(cell_type=cell_type), build_tagger(cell_type=cell_type, **{name: 0.5})
    assert torch.equal(model(**batch).logits, plain(**batch).logits)
    torch.testing.assert_close(plain.train()(**batch).logits, plain.eval()(**batch).logits, atol=1e-6, rtol=0)
    torch.manual_seed(0)
    assert (model.train()(**batch).logits - plain(**batch).logits).abs().max() > 1e-3


def test_hidden_dropout_is_between_the_layers_alone(build_tagger, batch):
    model = build_tagger(num_hidden_layers=1, hidden_dropout=0.5)
    assert torch.equal(model.train()(**batch).logits, model.eval()(**batch).logits)


def test_activation_checkpointing_gives_the_same_gradients(build_tagger, gradients, batch, cell_type):
    results = []
    for checkpointing in [False, True]:
        model = build_tagger(cell_type=cell_type, **dict.fromkeys(DROPOUTS, 0.3)).train()
        if checkpointing:
            # Before transformers 5.23 it had the second name.
            enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
            enable()
        runs = []
        model.rnn.layers[0].forward_direction.register_forward_hook(lambda *_, runs=runs: runs.append(1))
        torch.manual_seed(0)
        results.append((gradients(model(**batch).loss, model), len(runs)))
    (plain, once), (checkpointed, twice) = results
    assert (once, twice) == (1, 2)
    torch.testing.assert_close(checkpointed, plain)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_model_has_the_same_logits(build_tagger, batch, tmp_path, monkeypatch):
    # Not what was compiled for other instructions, as with AVX2 alone.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    model = build_tagger(num_hidden_layers=1, bidirectional=False, pooling="attention")  # small: compiling is slow
    compiled = torch.compile(model, dynamic=True)
    with torch.no_grad():
        for time in [4, 3]:
            inputs = batch["input_ids"][:, :time], batch["attention_mask"][:, :time]
            torch.testing.assert_close(compiled(*inputs).logits, model(*inputs).logits, atol=1e-6, rtol=0)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    torch.compiler.reset()

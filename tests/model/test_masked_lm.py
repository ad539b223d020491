"""The masked language model: tied, exact under padding, and predicting only where there is something to predict."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
    pipeline,
)

from hf_rnn_multilabel import RnnMultilabelForMaskedLM, RnnMultilabelForSequenceClassification, RnnMultilabelModel
from hf_rnn_multilabel.data import train_tokenizer


INPUT_IDS = torch.tensor([[4, 9, 2, 7], [3, 5, 0, 0], [8, 0, 0, 0]])
ATTENTION_MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
LABELS = torch.tensor([[-100, 6, -100, 7], [3, -100, -100, -100], [-100, -100, -100, -100]])
INPUTS = {"input_ids": INPUT_IDS, "attention_mask": ATTENTION_MASK}
PREDICTED = 3


@pytest.fixture(scope="module")
def build_masked_lm(build_config):
    """A small net without dropout, in evaluation, every weight of which is drawn."""

    def build(seed=0, **overrides):
        model = RnnMultilabelForMaskedLM(build_config(**overrides)).eval()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in model.parameters():
                weight.uniform_(-0.6, 0.6, generator=generator)
        return model

    return build


# Saving and loading


def assert_same_state(model, expected):
    state, expected_state = model.state_dict(), expected.state_dict()
    assert state.keys() == expected_state.keys()
    assert [name for name in state if not torch.equal(state[name], expected_state[name])] == []


@pytest.mark.parametrize("layers", [1, 2])
def test_pain_01_loaded_weights_are_those_that_were_saved_and_still_tied(
    tmp_path, build_masked_lm, cell_type, bidirectional, layers
):
    model = build_masked_lm(cell_type=cell_type, bidirectional=bidirectional, num_hidden_layers=layers)
    model.save_pretrained(tmp_path)
    assert "decoder.weight" not in load_file(tmp_path / "model.safetensors")
    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert type(loaded) is RnnMultilabelForMaskedLM
    assert_same_state(loaded, model)
    assert loaded.decoder.weight is loaded.rnn.inputs.embed_tokens.weight
    assert_same_state(AutoModel.from_pretrained(tmp_path), model.rnn)
    assert_same_state(RnnMultilabelForSequenceClassification.from_pretrained(tmp_path).rnn, model.rnn)


def test_an_untied_decoder_is_saved_beside_the_embeddings(tmp_path, build_masked_lm):
    model = build_masked_lm(tie_word_embeddings=False)
    assert not torch.equal(model.decoder.weight, model.rnn.inputs.embed_tokens.weight)
    model.save_pretrained(tmp_path)
    loaded = RnnMultilabelForMaskedLM.from_pretrained(tmp_path)
    assert_same_state(loaded, model)
    assert loaded.decoder.weight is not loaded.rnn.inputs.embed_tokens.weight


@pytest.mark.parametrize("maker", [RnnMultilabelModel, RnnMultilabelForSequenceClassification])
@pytest.mark.parametrize("tied", [True, False])
def test_pain_02_a_head_on_a_checkpoint_without_it_is_well_initialised(
    tmp_path, poisoned_memory, build_config, cell_type, maker, tied
):
    base = maker(build_config(cell_type=cell_type))
    base.save_pretrained(tmp_path)
    model = RnnMultilabelForMaskedLM.from_pretrained(tmp_path, tie_word_embeddings=tied)
    assert_same_state(model.rnn, base.base_model)
    assert (model.decoder.weight is model.rnn.inputs.embed_tokens.weight) == tied
    assert model.head.norm.weight.eq(1).all() and not model.head.norm.bias.any()
    assert not model.head.dense.bias.any() and not model.decoder.bias.any()
    for weight in (model.head.dense.weight, model.decoder.weight[1:]):
        assert weight.std().item() == pytest.approx(0.1, rel=0.4)


@pytest.mark.parametrize("tied", [True, False])
def test_resized_embeddings_keep_the_logits_of_the_old_tokens(build_masked_lm, tied):
    model = build_masked_lm(tie_word_embeddings=tied)
    expected = model(**INPUTS).logits
    model.resize_token_embeddings(26)
    assert model.config.vocab_size == len(model.decoder.weight) == len(model.decoder.bias) == 26
    assert (model.decoder.weight is model.rnn.inputs.embed_tokens.weight) == tied
    logits = model(**INPUTS).logits
    assert logits.shape == (3, 4, 26) and logits.isfinite().all()
    assert torch.equal(logits[..., :20], expected)


# Logits


def test_padding_does_not_change_the_logits(build_masked_lm, cell_type, bidirectional):
    model = build_masked_lm(cell_type=cell_type, bidirectional=bidirectional)
    logits = model(**INPUTS).logits
    holes = torch.tensor([[4, 0, 9, 2, 0, 7], [0, 0, 0, 3, 0, 5], [0, 0, 0, 0, 0, 8]])
    with_holes = model(holes, (holes != 0).long()).logits
    for row, length in enumerate(ATTENTION_MASK.sum(1)):
        alone = model(INPUT_IDS[row : row + 1, :length]).logits[0]
        torch.testing.assert_close(logits[row, :length], alone, atol=1e-6, rtol=0)
        torch.testing.assert_close(with_holes[row][holes[row] != 0], alone, atol=1e-6, rtol=0)


def test_only_a_net_of_both_directions_sees_what_stands_after_a_token(build_masked_lm, cell_type, bidirectional):
    model = build_masked_lm(cell_type=cell_type, bidirectional=bidirectional)
    before, after = (model(torch.tensor([[4, 9, last]])).logits[0, 0] for last in (2, 7))
    assert torch.equal(before, after) is not bidirectional


def test_embeddings_as_input_equal_their_ids(build_masked_lm):
    model = build_masked_lm()
    embeddings = model.get_input_embeddings()(INPUT_IDS)
    logits = model(inputs_embeds=embeddings, attention_mask=ATTENTION_MASK, labels=LABELS).logits
    assert torch.equal(logits, model(**INPUTS, labels=LABELS).logits)


def test_outputs_are_the_loss_the_logits_and_the_hidden_states_asked_for(build_masked_lm):
    model = build_masked_lm()
    outputs = model(**INPUTS, labels=LABELS, output_hidden_states=True)
    assert [states.shape for states in outputs.hidden_states] == [(3, 4, 6), (3, 4, 10), (3, 4, 10)]
    as_tuple = model(**INPUTS, labels=LABELS, return_dict=False)
    assert len(as_tuple) == 2
    assert torch.equal(as_tuple[0], outputs.loss) and torch.equal(as_tuple[1], outputs.logits)
    assert model(**INPUTS).loss is None
    assert model(torch.zeros(2, 0, dtype=torch.long)).logits.shape == (2, 0, 20)


# Loss


def test_in_training_only_the_tokens_to_predict_meet_the_vocabulary(build_masked_lm):
    model, seen = build_masked_lm(), []
    model.decoder.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape)))
    dense = model(**INPUTS, labels=LABELS).logits
    model.train()
    sparse = model(**INPUTS, labels=LABELS).logits
    model(**INPUTS)
    assert seen == [(3, 4, 20), (PREDICTED, 20), (3, 4, 20)]
    torch.testing.assert_close(sparse, dense[LABELS != -100])


@pytest.mark.parametrize("tied", [True, False])
def test_the_loss_in_training_and_its_gradients_are_those_of_all_logits(
    build_masked_lm, gradients, cell_type, bidirectional, tied
):
    model = build_masked_lm(cell_type=cell_type, bidirectional=bidirectional, tie_word_embeddings=tied)
    logits = model(**INPUTS).logits.log_softmax(-1)
    expected = -(logits[0, 1, 6] + logits[0, 3, 7] + logits[1, 0, 3]) / PREDICTED
    expected_gradients = gradients(expected, model)
    for mode in (True, False):
        loss = model.train(mode)(**INPUTS, labels=LABELS.int()).loss
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(gradients(loss, model), expected_gradients)


def test_the_embeddings_learn_as_input_and_as_output(build_masked_lm, gradients):
    untied = build_masked_lm(tie_word_embeddings=False).train()
    with torch.no_grad():
        untied.decoder.weight.copy_(untied.rnn.inputs.embed_tokens.weight)
    tied = build_masked_lm()
    tied.load_state_dict(untied.state_dict())
    found = gradients(tied.train()(**INPUTS, labels=LABELS).loss, tied)["rnn.inputs.embed_tokens.weight"]
    paths = gradients(untied(**INPUTS, labels=LABELS).loss, untied)
    as_input, as_output = paths["rnn.inputs.embed_tokens.weight"], paths["decoder.weight"]
    assert as_input[4].any() and not as_input[6].any() and as_output[6].any()
    torch.testing.assert_close(found, as_input + as_output)


def test_pain_20_the_parts_of_a_batch_add_up_to_the_whole(build_masked_lm, gradients):
    model = build_masked_lm().train()
    whole = model(**INPUTS, labels=LABELS).loss
    parts = [
        model(INPUT_IDS[rows], ATTENTION_MASK[rows], labels=LABELS[rows], num_items_in_batch=count).loss
        for rows in (slice(0, 1), slice(1, 3))
        for count in [torch.tensor(PREDICTED)]
    ]
    assert parts[0] != whole
    torch.testing.assert_close(sum(parts), whole)
    torch.testing.assert_close(gradients(sum(parts), model), gradients(whole, model))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("count", [None, 0])
def test_a_batch_without_a_token_to_predict_has_no_loss_and_no_gradient(build_masked_lm, gradients, training, count):
    model = build_masked_lm().train(training)
    loss = model(**INPUTS, labels=torch.full_like(LABELS, -100), num_items_in_batch=count).loss
    assert loss == 0
    assert not any(gradient.any() for gradient in gradients(loss, model).values())


@pytest.mark.parametrize("training", [True, False])
def test_pain_21_the_loss_is_float32_in_half_precision(build_masked_lm, cell_type, training):
    model = build_masked_lm(cell_type=cell_type).train(training)
    expected = model(**INPUTS, labels=LABELS).loss
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(**INPUTS, labels=LABELS)
    assert outputs.logits.dtype == torch.bfloat16 and outputs.loss.dtype == torch.float32
    torch.testing.assert_close(outputs.loss, expected, atol=0.1, rtol=0)
    outputs.loss.backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


# With the stock Trainer, collator and pipeline


SENTENCES = ["the lamp gives light", "the chair is of wood", "the pen is blue", "the tree is an oak"] * 16


@pytest.fixture(scope="module")
def tokenizer():
    trained = train_tokenizer(SENTENCES, algorithm="word")
    trained.add_special_tokens({"mask_token": "[MASK]"})
    return trained


@pytest.fixture
def build_lm_trainer(tmp_path, tokenizer):
    def build(model, collator=None, **arguments):
        arguments = {"report_to": "none", "disable_tqdm": True, "save_strategy": "no", "use_cpu": True} | arguments
        rows = [{"input_ids": ids} for ids in tokenizer(SENTENCES)["input_ids"]]
        return Trainer(
            model=model,
            args=TrainingArguments(output_dir=str(tmp_path / "run"), **arguments),
            train_dataset=rows,
            eval_dataset=rows,
            data_collator=collator or DataCollatorForLanguageModeling(tokenizer),
        )

    return build


def masks_the_third(rows):
    """As the stock collator, but for the choice, which is not drawn; nothing is predicted of every second text."""
    input_ids = torch.tensor([row["input_ids"][:4] for row in rows])
    labels = torch.full_like(input_ids, -100)
    labels[::2, 2] = input_ids[::2, 2]
    return {"input_ids": input_ids.index_fill(1, torch.tensor([2]), 1), "labels": labels}


def test_pain_20_accumulation_trains_as_one_big_batch(
    stock_accumulation, build_masked_lm, build_lm_trainer, tokenizer
):
    weights = []
    for size in (16, 4):
        model = build_masked_lm(vocab_size=len(tokenizer))
        options = {"per_device_train_batch_size": size, "gradient_accumulation_steps": 16 // size, "max_steps": 2}
        build_lm_trainer(model, masks_the_third, optim="sgd", learning_rate=0.5, **options).train()
        weights.append(model.state_dict())
    assert not torch.equal(weights[0]["decoder.bias"], build_masked_lm(vocab_size=len(tokenizer)).decoder.bias)
    torch.testing.assert_close(weights[1], weights[0])


def test_the_stock_trainer_lowers_the_loss_and_the_stock_pipeline_fills_the_mask(
    tmp_path, build_config, build_lm_trainer, tokenizer
):
    model = RnnMultilabelForMaskedLM(build_config(vocab_size=len(tokenizer), hidden_size=16, embedding_size=16))
    trainer = build_lm_trainer(model, num_train_epochs=30, learning_rate=0.02)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < 0.6 * before
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    fill = pipeline("fill-mask", model=str(tmp_path / "model"))
    assert [fill(text)[0]["token_str"] for text in ("the chair is of [MASK]", "the [MASK] gives light")] == [
        "wood",
        "lamp",
    ]


def test_the_stock_trainer_evaluates_with_the_metrics_of_run_mlm(build_masked_lm, build_lm_trainer, tokenizer):
    model = build_masked_lm(vocab_size=len(tokenizer))
    trainer = build_lm_trainer(model, masks_the_third, per_device_eval_batch_size=24)

    def accuracy(prediction):
        labels, predictions = prediction.label_ids.reshape(-1), prediction.predictions.reshape(-1)
        known = labels != -100
        return {"accuracy": float((predictions[known] == labels[known]).mean())}

    trainer.preprocess_logits_for_metrics = lambda logits, labels: logits.argmax(-1)
    trainer.compute_metrics = accuracy
    found = trainer.evaluate()
    batch = masks_the_third(trainer.eval_dataset)
    with torch.no_grad():
        logits = model(batch["input_ids"]).logits
    labels, known = batch["labels"], batch["labels"] != -100
    assert found["eval_accuracy"] == pytest.approx((logits.argmax(-1)[known] == labels[known]).float().mean().item())
    assert found["eval_loss"] == pytest.approx(F.cross_entropy(logits[known], labels[known]).item(), rel=1e-5)
    assert np.isfinite(found["eval_loss"])

"""What is decided of a training where it was not told."""

import pytest
import train_settings
from helpers import run_train
from train_arguments import ModelArguments, TrainingArguments


STEPS = ("per_device_train_batch_size", "num_train_epochs")


@pytest.mark.parametrize(("max_length", "labels", "most"), [(256, 28, 256), (256, 8_207, 127), (4_096, 80_000, 1)])
def test_an_evaluation_batch_holds_as_many_texts_as_label_attention_has_room_for(max_length, labels, most):
    assert train_settings.evaluation_batch_size(max_length, labels) == most


@pytest.mark.parametrize(
    ("rows", "batch_size", "epochs"),
    [(100, 16, 30), (1_600, 16, 30), (9_999, 16, 5), (10_000, 32, 10), (32_000, 32, 3), (10**6, 32, 3)],
)
def test_batches_and_epochs_are_those_for_the_number_of_texts(tmp_path, rows, batch_size, epochs):
    args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    train_settings.fill_in(args, ModelArguments(), rows, max_length=256, labels=28)
    assert [getattr(args, name) for name in STEPS] == [batch_size, epochs]
    assert args.per_device_eval_batch_size == 256


@pytest.mark.parametrize(
    ("model", "rate", "of_embeddings"),
    [
        (ModelArguments(), 4e-3, 1),
        (ModelArguments(embeddings_from="a-model"), 2e-3, 0.1),
        (ModelArguments(embeddings_from=__file__), 2e-3, 1),
        (ModelArguments(model_name_or_path="a-model"), 2e-3, 1),
    ],
    ids=["new", "of a model", "of a file", "checkpoint"],
)
def test_the_rates_are_those_for_where_the_net_starts(tmp_path, model, rate, of_embeddings):
    args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    train_settings.fill_in(args, model, 100, max_length=256, labels=28)
    assert args.learning_rate == rate
    has_vectors = model.embeddings_from is not None
    assert train_settings.embedding_rate_for(args, model, has_vectors) == of_embeddings


def test_what_is_given_stays(tmp_path):
    given = {"learning_rate": 0.1, "num_train_epochs": 2.0, "embedding_rate": 0.5}
    given |= {"per_device_train_batch_size": 7, "per_device_eval_batch_size": 9}
    args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, **given)
    model = ModelArguments(embeddings_from="a-model")
    train_settings.fill_in(args, model, 20_000, max_length=256, labels=28)
    assert {name: getattr(args, name) for name in given} == given
    assert train_settings.embedding_rate_for(args, model, has_vectors=True) == 0.5


@pytest.mark.parametrize("rate", ["0", "0.1"])
def test_new_embeddings_learn_at_the_rate_of_the_rest(tmp_path, train_and_validation, rate):
    with pytest.raises(ValueError, match=r"`--embedding_rate` is .*, but the embeddings are new"):
        run_train(tmp_path / "model", *train_and_validation, "--embedding_rate", rate)

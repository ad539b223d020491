"""The search for settings: its space, its values, and going on."""

import json
from dataclasses import fields

import pytest
from optuna import create_study
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FixedTrial
from transformers import Trainer, TrainingArguments

from hf_rnn_multilabel import RnnMultilabelConfig
from hf_rnn_multilabel.training import search
from hf_rnn_multilabel.training.averaging import WeightAveraging


SETTINGS = {
    "learning_rate": 0.002,
    "per_device_train_batch_size": 32,
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "pooling": "attention max",
    "word_dropout": 0.1,
    "embedding_dropout": 0.2,
    "hidden_dropout": 0.3,
    "classifier_dropout": 0.4,
}
EVALUATIONS = {"max_steps": 3, "eval_strategy": "steps", "eval_steps": 1, "metric_for_best_model": "f1"}


@pytest.fixture
def build(tmp_path, build_tagger, rows, collate):
    """A trainer of small nets, and the settings that each of its trials asked for; its metrics are as given."""

    def make(values, **arguments):
        asked = []

        def model_init(trial):
            if trial is not None:
                asked.append(search.model_settings(trial))
            return build_tagger()

        options = EVALUATIONS | {"save_strategy": "no", "report_to": "none", "disable_tqdm": True} | arguments
        values = iter(values)
        trainer = Trainer(
            model_init=model_init,
            args=TrainingArguments(str(tmp_path / "run"), use_cpu=True, **options),
            train_dataset=rows,
            eval_dataset=rows,
            data_collator=collate,
            compute_metrics=lambda _: {"f1": next(values)},
            callbacks=[WeightAveraging(0.9)],
        )
        return trainer, asked

    return make


def trials_in(folder):
    return json.loads((folder / "search.json").read_text())["trials"]


def test_the_space_has_names_of_the_arguments_and_of_the_configuration():
    training, net = search.best_settings(SETTINGS)
    assert training.keys() <= {each.name for each in fields(TrainingArguments)}
    assert RnnMultilabelConfig(**net).poolings == ["attention", "max"]
    assert training | net == SETTINGS | {"pooling": ["attention", "max"]}
    assert search.search_space(FixedTrial(SETTINGS)) == training
    for pooling in (["attention", "max"], ["max", "attention"]):
        assert search.parameters_of(training | net | {"pooling": pooling}) == SETTINGS
    assert search.parameters_of(SETTINGS | {"pooling": "max"}) == SETTINGS | {"pooling": "max"}


def test_a_trial_has_the_value_of_its_best_evaluation_and_the_best_trial_wins(build, tmp_path):
    trainer, asked = build([0.1, 0.5, 0.2, 0.3, 0.3, 0.4])
    found = search.search(trainer, 2, tmp_path / "found")
    trials = trials_in(tmp_path / "found")
    assert [(trial["state"], trial["value"]) for trial in trials] == [("complete", 0.5), ("complete", 0.4)]
    assert found == {"settings": trials[0]["settings"], "value": 0.5, "metric": "f1", "trials": 2}
    assert [search.best_settings(trial["settings"])[1] for trial in trials] == asked
    assert asked[0] != asked[1]
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").rglob("checkpoint-*"))


def test_the_first_trial_is_of_the_settings_that_are_given_and_only_once(build, tmp_path):
    given = SETTINGS | {"pooling": ["attention", "max"], "learning_rate": 0.02, "output_dir": tmp_path}

    def stopped():
        yield 0.6
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search.search(build(stopped())[0], 2, tmp_path, given)
    # Interrupted, it was not tried; and a rate outside of the range is tried when it is given.
    with pytest.warns(UserWarning, match=r"learning_rate with value 0\.02 is out of range"):
        assert search.search(build([0.3] * 3 + [0.2] * 3)[0], 2, tmp_path, given)["value"] == 0.3
    trials = [trial["settings"] for trial in trials_in(tmp_path)]
    assert trials[0] == SETTINGS | {"learning_rate": 0.02} and trials[1]["learning_rate"] <= 0.01
    search.search(build([0.1] * 3)[0], 3, tmp_path, given)
    assert trials_in(tmp_path)[2]["settings"] != trials[0]


def test_given_choices_that_the_space_lacks_are_drawn(build, tmp_path):
    given = SETTINGS | {"pooling": "last", "hidden_size": 384}
    search.search(build([0.3] * 3)[0], 1, tmp_path, given)
    kept = {name: value for name, value in SETTINGS.items() if name not in ("pooling", "hidden_size")}
    assert search.parameters_of(given) == kept
    (trial,) = [trial["settings"] for trial in trials_in(tmp_path)]
    assert kept.items() <= trial.items()
    assert trial["pooling"] in search.CHOICES["pooling"] and trial["hidden_size"] in search.CHOICES["hidden_size"]


@pytest.mark.parametrize("left", ["running", "waiting"])
def test_the_given_settings_are_tried_once_whatever_trial_a_killed_search_left(left, build, tmp_path):
    storage = JournalStorage(JournalFileBackend(str(tmp_path / search.JOURNAL)))
    study = create_study(study_name=search.STUDY, storage=storage, direction="maximize")
    study.enqueue_trial(SETTINGS)
    if left == "running":
        study.ask()
    search.search(build([0.3] * 3 + [0.2] * 3)[0], 2, tmp_path, SETTINGS)
    first, second = (trial["settings"] for trial in trials_in(tmp_path))
    assert first == SETTINGS != second


def test_a_loss_is_made_small(build, tmp_path):
    trainer, _ = build([0.1, 0.5, 0.2, 0.3, 0.3, 0.4], greater_is_better=False)
    assert search.search(trainer, 2, tmp_path)["value"] == 0.1
    assert [trial["value"] for trial in trials_in(tmp_path)] == [0.1, 0.3]


def test_a_search_that_was_stopped_goes_on_with_what_is_missing(build, tmp_path):
    def stopped():
        yield from [0.6, 0.6, 0.6, 0.5]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search.search(build(stopped())[0], 3, tmp_path)
    trainer, asked = build([0.1] * 3 + [0.2] * 3)
    assert search.search(trainer, 3, tmp_path)["value"] == 0.6
    assert len(asked) == 2 and [trial["value"] for trial in trials_in(tmp_path)] == [0.6, 0.1, 0.2]
    # Its draws are not those that were made before.
    assert len({json.dumps(trial["settings"]) for trial in trials_in(tmp_path)}) == 3
    trainer, asked = build([])
    assert search.search(trainer, 3, tmp_path)["trials"] == 3 and not asked


def test_a_trial_below_the_median_ends_early(build, tmp_path):
    trainer, _ = build([0.5] * 15 + [0.1])
    assert search.search(trainer, 6, tmp_path)["value"] == 0.5
    assert [trial["state"] for trial in trials_in(tmp_path)] == ["complete"] * 5 + ["pruned"]


def test_without_optuna_it_is_said_what_to_install(build, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "is_optuna_available", lambda: False)
    with pytest.raises(ImportError, match=r"needs Optuna.*\[search\]"):
        search.search(build([])[0], 1, tmp_path)


def test_without_a_metric_there_is_nothing_to_search_for(build, tmp_path):
    with pytest.raises(ValueError, match="`metric_for_best_model` is None"):
        search.search(build([], metric_for_best_model=None)[0], 1, tmp_path)

"""A search for good settings: the space that ships with the package, and trials in it by Optuna."""

import json
from pathlib import Path
from typing import Any

from transformers import Trainer
from transformers.integrations import is_optuna_available

from ..hub.atomic import write_text
from ..hub.run_info import to_json


JOURNAL, TRIALS = "search.log", "search.json"
STUDY = "settings"
CHOICES: dict[str, list[Any]] = {
    "per_device_train_batch_size": [16, 32, 64],
    "hidden_size": [128, 256, 512],
    # Optuna chooses among strings, not among lists.
    "pooling": ["max", "attention", "attention max", "mean max", "attention max label_attention"],
}
NUMBERS = ["learning_rate", "num_hidden_layers", "word_dropout"]
NUMBERS += ["embedding_dropout", "hidden_dropout", "classifier_dropout"]


def search_space(trial: Any) -> dict[str, Any]:
    """Settings of the training, by the names of `TrainingArguments`: the `hp_space` of `hyperparameter_search`."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 5e-4, 1e-2, log=True),
        "per_device_train_batch_size": choose(trial, "per_device_train_batch_size"),
    }


def model_settings(trial: Any) -> dict[str, Any]:
    """Settings of the net, by the names of `RnnMultilabelConfig`: for the `model_init` of a `Trainer`."""
    return {
        "hidden_size": choose(trial, "hidden_size"),
        "num_hidden_layers": trial.suggest_int("num_hidden_layers", 1, 2),
        "pooling": choose(trial, "pooling").split(),
        "word_dropout": trial.suggest_float("word_dropout", 0.0, 0.3),
        "embedding_dropout": trial.suggest_float("embedding_dropout", 0.0, 0.6),
        "hidden_dropout": trial.suggest_float("hidden_dropout", 0.0, 0.6),
        "classifier_dropout": trial.suggest_float("classifier_dropout", 0.0, 0.6),
    }


def choose(trial: Any, name: str) -> Any:
    return trial.suggest_categorical(name, CHOICES[name])


def parameters_of(settings: dict[str, Any]) -> dict[str, Any]:
    """The inverse of `best_settings`, of more settings than are searched; without choices that the space lacks."""
    pooling = settings["pooling"]
    poolings = set(pooling.split() if isinstance(pooling, str) else pooling)
    joined = settings | {"pooling": next((each for each in CHOICES["pooling"] if set(each.split()) == poolings), None)}
    chosen = {name: joined[name] for name, choices in CHOICES.items() if joined[name] in choices}
    return chosen | {name: joined[name] for name in NUMBERS}


def search(trainer: Trainer, trials: int, folder: str | Path, first: dict[str, Any] | None = None) -> dict[str, Any]:
    """Trials by `Trainer.hyperparameter_search`; a search that was stopped goes on with those that are missing.

    A trial's value is that of the best of its evaluations. It ends early where it is below the median of the earlier
    ones at the same step, so of those with its batch size, once there are five (Optuna's median pruner).

    Args:
        trainer: its `model_init` takes a trial, or None, and asks `model_settings`; its arguments name a
            `metric_for_best_model`, evaluate, and save nothing.
        trials: how many, with those that the folder knows already.
        folder: there the settings and the value of each trial are written to search.json, and Optuna keeps its
            journal.
        first: settings of all names of `search_space` and `model_settings`, which a search that has no finished trial
            tries before it draws others, so that the best is no worse than they are; more in it is not looked at, and
            a choice that the space lacks is drawn.

    Returns:
        `settings` of the best trial, as `best_settings` takes them, its `value`, the `metric`, and the `trials` made.

    Raises:
        ImportError: without Optuna.
        ValueError: for more than one process, and without a metric.
    """
    if not is_optuna_available():
        raise ImportError(
            "The search needs Optuna, which is not installed; install this package with `[search]`, or search nothing."
        )
    import optuna
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    args = trainer.args
    metric = args.metric_for_best_model
    if metric is None:
        raise ValueError("`metric_for_best_model` is None; name the metric that the search is for.")
    if args.world_size > 1:
        raise ValueError(f"The search runs in one process, not in {args.world_size}; start it without a launcher.")
    better = max if args.greater_is_better else min

    def best_so_far(metrics: dict[str, float]) -> float:
        value = metrics[metric if metric.startswith("eval_") else f"eval_{metric}"]
        earlier = trainer.state.best_metric
        return value if earlier is None else better(value, earlier)

    Path(folder).mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {
        "study_name": STUDY,
        "storage": optuna.storages.JournalStorage(JournalFileBackend(str(Path(folder) / JOURNAL))),
        "load_if_exists": True,
        "direction": "maximize" if args.greater_is_better else "minimize",
    }
    study = optuna.create_study(**options)
    # A trial that was interrupted is none of them.
    done = (TrialState.COMPLETE, TrialState.PRUNED)
    missing = trials - len(study.get_trials(states=done))
    if missing > 0:
        if first is not None and not study.get_trials(states=(*done, TrialState.WAITING)):
            study.enqueue_trial(parameters_of(first))
        trainer.hyperparameter_search(
            hp_space=search_space,
            compute_objective=best_so_far,
            n_trials=missing,
            backend="optuna",
            # Another seed than before the stop, whose draws would else come again.
            sampler=optuna.samplers.TPESampler(seed=args.seed + len(study.trials)),
            pruner=optuna.pruners.MedianPruner(),
            **options,
        )
    made = [
        {"number": trial.number, "state": trial.state.name.lower(), "value": trial.value, "settings": trial.params}
        for trial in study.get_trials(states=done)
    ]
    found = to_json({"metric": metric, "trials": made})
    write_text(Path(folder) / TRIALS, json.dumps(found, indent=2, allow_nan=False) + "\n")
    best = study.best_trial
    return {"settings": best.params, "value": best.value, "metric": metric, "trials": len(made)}


def best_settings(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `search_space` and `model_settings` make of a trial's settings."""
    from optuna.trial import FixedTrial

    trial = FixedTrial(settings)
    return search_space(trial), model_settings(trial)

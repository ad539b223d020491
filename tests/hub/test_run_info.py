import dataclasses
import json
import math
import re

import numpy as np
import pytest
from hub_folder import label_result, make_run_info, make_training_info

from hf_rnn_multilabel.evaluation import evaluate
from hf_rnn_multilabel.hub.run_info import (
    BEFORE_RETRAINING,
    SCHEMA_VERSION,
    THRESHOLD_ROWS,
    DatasetInfo,
    DistillationInfo,
    LabelResult,
    MetricRow,
    PretrainingInfo,
    RetrainingInfo,
    RunInfo,
    SearchInfo,
    SplitInfo,
)


def make_full():
    """Run information without a field that is left out."""
    return make_run_info(
        fingerprint={"rows": "ab12", "recipe": {"learning_rate": 0.1}},
        search=SearchInfo(trials=3, metric="f1_micro", value=0.5, settings={"hidden_size": 8, "pooling": "max"}),
        retraining=RetrainingInfo(rows=9, epochs=2.5, steps=12, seconds=3.5),
        distillation=DistillationInfo(
            teachers=["a", "b"], fine_tuned=True, weight=0.5, temperature=2, unlabelled_rows=3
        ),
        other_seconds=1.5,
    )


def test_what_is_saved_loads_as_it_was(tmp_path):
    run_info = dataclasses.replace(make_full(), tuned_on=DatasetInfo(name="last_month.csv"))
    assert all(value not in (None, [], {}) for value in vars(run_info).values())
    assert run_info.save(tmp_path) == tmp_path / "metrics.json"
    assert RunInfo.load(tmp_path) == RunInfo.load(tmp_path / "metrics.json") == run_info
    assert RunInfo.from_dict(run_info.to_dict()) == run_info


def test_a_name_is_all_that_a_run_needs():
    run_info = RunInfo.from_dict({"schema_version": SCHEMA_VERSION, "name": "tagger"})
    assert run_info == RunInfo(name="tagger")
    assert run_info.final_split is None and run_info.train_seconds == 0


def test_the_information_of_a_pretraining_loads_as_it_was(tmp_path):
    info = PretrainingInfo(
        name="encoder",
        loss=1.5,
        splits={"train": SplitInfo(rows=3)},
        tokens={"train": 30},
        num_parameters=7,
        training=make_training_info(mlm_probability=0.15),
        processor="a processor",
    )
    info.save(tmp_path)
    assert PretrainingInfo.load(tmp_path) == info
    with pytest.raises(ValueError, match=r"metrics\.json.*'loss'.*unknown"):
        RunInfo.load(tmp_path)


def test_fault_13_what_is_not_a_number_is_null(tmp_path):
    row = MetricRow(model="this model", thresholds="0.5", metrics={"lrap": math.nan, "map_macro": math.inf})
    run_info = make_run_info(results={"test": [row]}, labels=[label_result("joy", 0, f1=float("-inf"))])
    text = run_info.save(tmp_path).read_text(encoding="utf-8")
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    loaded = RunInfo.load(tmp_path)
    assert loaded.results["test"][0].metrics == {"lrap": None, "map_macro": None}
    assert loaded.labels[0].f1 is None


def test_the_numbers_of_numpy_are_written_as_numbers():
    row = LabelResult(
        label="joy",
        train_support=np.int64(3),
        threshold=np.float32(0.5),
        support=np.int32(2),
        predicted=np.int64(1),
        precision=np.float64(0.25),
        recall=np.float64(math.nan),
        f1=np.float16(0.5),
    )
    values = make_run_info(labels=[row]).to_dict()["labels"][0]
    assert values == {
        "label": "joy",
        "train_support": 3,
        "threshold": 0.5,
        "support": 2,
        "predicted": 1,
        "precision": 0.25,
        "recall": None,
        "f1": 0.5,
    }
    assert {type(value) for value in values.values()} == {str, int, float, type(None)}


def test_names_keep_their_characters(tmp_path):
    names = ["快乐 😀", 'a "quote"', "line\nbreak", "back\\slash"]
    path = make_run_info(names).save(tmp_path)
    assert "快乐 😀" in path.read_text(encoding="utf-8")
    assert [row.label for row in RunInfo.load(path).labels] == names


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nome": 1}, r"Fields \['nome'\] of `RunInfo` are unknown; known: .*'name'"),
        ({"name": 3}, r"`name` is 3; .*str"),
        ({"name": None}, r"`name` is None; .*str"),
        ({"license": ["mit"]}, r"`license` is \['mit'\]; .*str"),
        ({"splits": {"train": {"rows": "3"}}}, r"`splits\['train'\]\.rows` is '3'; .*int"),
        ({"splits": {"train": {"rows": True}}}, r"`splits\['train'\]\.rows` is True; .*int"),
        ({"splits": {"train": {}}}, r"Fields \['rows'\] of `splits\['train'\]` are missing"),
        ({"splits": ["train"]}, r"`splits` is \['train'\]; .*dict"),
        ({"labels": [{"label": "a"}]}, r"Fields \['train_support', .*'f1'\] of `labels\[0\]` are missing"),
        (
            {"results": {"test": [{"model": "m", "thresholds": "t", "metrics": {"f1": "x"}}]}},
            r"metrics\['f1'\]` is 'x'",
        ),
        ({"training": {"seeed": 3}}, r"Fields \['seeed'\] of `training` are unknown"),
        ({"max_length": 1.5}, r"`max_length` is 1\.5; .*int"),
        ({"plots": {"a.png": None}}, r"`plots\['a\.png'\]` is None; .*str"),
        ({"schema_version": 99}, r"`schema_version` .* 99 "),
        ({"schema_version": None}, r"`schema_version` .* None "),
    ],
)
def test_a_field_that_is_missing_unknown_or_of_a_wrong_type_is_named_with_its_value(change, words):
    with pytest.raises(ValueError, match=words):
        RunInfo.from_dict(make_full().to_dict() | change)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '"text"', "null", "\x00", '{"schema_version": 1}'])
def test_a_file_that_is_not_of_a_run_is_named(tmp_path, content):
    (tmp_path / "metrics.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / "metrics.json"))):
        RunInfo.load(tmp_path)


def test_without_a_file_there_is_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"metrics\.json"):
        RunInfo.load(tmp_path)


def test_the_information_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_full().name = "another"


def test_the_final_split_is_test_where_there_is_one():
    assert make_run_info().final_split == "test"
    assert make_run_info(splits=("validation",)).final_split == "validation"


def test_the_rows_are_named_as_the_evaluation_names_them():
    assert THRESHOLD_ROWS == evaluate.THRESHOLD_ROWS


@pytest.mark.parametrize(
    ("method", "thresholds"),
    [("shrinkage", "per-label thresholds"), ("global_micro", "global threshold"), ("per_label", None)],
)
def test_the_final_row_is_that_of_the_thresholds_which_the_model_carries(method, thresholds):
    row = make_run_info(threshold_method=method).final_row("test")
    assert (row and row.thresholds) == thresholds


def test_a_model_before_retraining_has_no_final_row():
    run_info = make_run_info()
    rows = [dataclasses.replace(row, model=BEFORE_RETRAINING) for row in run_info.results["validation"]]
    run_info = dataclasses.replace(run_info, results=run_info.results | {"validation": rows})
    assert run_info.final_row("validation") is None and run_info.final_row("test") is not None


def test_the_seconds_of_a_run_are_those_of_all_its_trainings():
    assert make_full().train_seconds == pytest.approx(61.7 + 3.5 + 1.5)


def test_a_flat_row_of_metrics_becomes_a_row():
    row = MetricRow.from_flat({"model": "this model", "thresholds": "0.5", "f1_micro": 0.25, "lrap": 0.5})
    assert row == MetricRow(model="this model", thresholds="0.5", metrics={"f1_micro": 0.25, "lrap": 0.5})

"""Rows in, a folder with everything out, by the command."""

import json
from dataclasses import fields

import pytest
from helpers import SMALL, rows_of, run, run_train

from hf_rnn_multilabel.cli import distill, train
from hf_rnn_multilabel.cli.main import main
from hf_rnn_multilabel.data import DataArguments
from hf_rnn_multilabel.hub.run_info import RunInfo
from hf_rnn_multilabel.training.recipe import Recipe
from hf_rnn_multilabel.training.tagger import CardArguments
from hf_rnn_multilabel.training.teacher import DistillationArguments


def test_json_is_the_run_information_and_nothing_else(tmp_path, train_and_validation, capsys):
    run("train", "--output_dir", tmp_path / "model", *SMALL, *train_and_validation, "--json")
    found = json.loads(capsys.readouterr().out, parse_constant=lambda constant: pytest.fail(constant))
    assert found.pop("folder") == str(tmp_path / "model")
    assert found == json.loads((tmp_path / "model" / "metrics.json").read_text(encoding="utf-8"))


def test_people_read_the_metrics_the_labels_and_some_tags(tmp_path, train_and_validation, files, capsys):
    info = run_train(tmp_path / "model", *train_and_validation, "--test_file", files["test"])
    out = capsys.readouterr().out
    for split in ("validation", "test"):
        for (model, thresholds), metrics in rows_of(info, split).items():
            (line,) = [each for each in out.split(f"\n{split}, ")[1].splitlines() if f"{model}, {thresholds}" in each][
                :1
            ]
            assert f"{metrics['f1_micro']:.4f}" in line
    for row in info.labels:
        (line,) = [each for each in out.splitlines() if each.startswith(f"{row.label} ")]
        assert line.split()[1:4] == [str(row.train_support), str(row.support), f"{row.threshold:.3f}"]
    assert out.count("    -> ") == 3 and out.endswith(f"Saved in {tmp_path / 'model'}.\n")


def test_a_file_of_options_trains_as_the_command_line_does(tmp_path, train_and_validation):
    expected = run_train(tmp_path / "line", *train_and_validation, "--pooling", "max", "mean", "--seed", 3)
    names, values = [part.lstrip("-") for part in train_and_validation[::2]], train_and_validation[1::2]
    lines = [f"{name}: {value}" for name, value in zip(names, values, strict=True)]
    lines += ["hidden_size: 8", "embedding-size: 8", "per_device_train_batch_size: 16", "num_train_epochs: 1"]
    lines += ["use_cpu: true", "pooling: [max, mean]", "seed: 7", "linear_baseline: false"]
    (tmp_path / "run.yaml").write_text("\n".join(lines), encoding="utf-8")
    run("train", "--config", tmp_path / "run.yaml", "--output_dir", tmp_path / "file", "--seed", 3)
    found = RunInfo.load(tmp_path / "file")
    assert (found.results, found.labels) == (expected.results, expected.labels)


@pytest.mark.usefixtures("loggers")
@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--word_dropout", "2"], "`--word_dropout` is 2.0"),
        (["--pooling", "meen"], "`--pooling` is ['meen']"),
        (["--learning_rate", "-1"], "`--learning_rate` is -1.0"),
        (["--label_column", "tags"], "tags"),
        (["--metric_for_best_model", "f1"], "`--metric_for_best_model` is 'f1'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_setting_ends_with_1_one_line_and_no_folder(tmp_path, train_and_validation, capsys, more, words):
    argv = ["train", "--output_dir", str(tmp_path / "model"), *SMALL, *train_and_validation, *more]
    assert main(argv) == 1
    captured = capsys.readouterr()
    assert words in captured.err.splitlines()[-1] and captured.out == "" and "Traceback" not in captured.err
    assert not list(tmp_path.iterdir())


def test_the_sections_of_the_help_are_options_that_there_are():
    kinds = (DataArguments, Recipe, CardArguments, DistillationArguments)
    own = {each.name for kind in kinds for each in fields(kind)}
    for module in (train, distill):
        options = {action.dest for action in module.make_parser()._actions}
        shown = [name for names in module.make_parser().sections.values() for name in names]
        assert set(shown) <= options and len(set(shown)) == len(shown)
        assert {"train_file", "label_column", "output_dir", "hidden_size"} <= set(shown)
    assert own - {"training_arguments"} <= {action.dest for action in distill.make_parser()._actions}

"""What the rows say, by the command."""

import json

import pytest
from helpers import LABELS, make_rows, write_csv, write_jsonl

from hf_rnn_multilabel.cli.main import main
from hf_rnn_multilabel.data import inspect_data


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    rows = [{"text": f"text {i % 15}", "tags": ["red", "blue;green"][i // 15]} for i in range(30)]
    return write_csv(tmp_path_factory.mktemp("rows") / "a.csv", rows)


@pytest.mark.usefixtures("loggers")
def test_the_block_and_the_warnings_with_options_are_printed(path, capsys):
    options = ["--label_separator", ";", "--label_column", "tags", "--validation_fraction", "0.5"]
    for argv in ([path], ["--train_file", path]):
        assert main(["inspect", *argv, *options]) == 0
        captured = capsys.readouterr()
        assert captured.out.startswith(f"train       30 rows of {path} (csv") and captured.err == ""
        assert "named by `--label_column`" in captured.out
        (warning,) = [line for line in captured.out.splitlines() if line.startswith("Warning: ")]
        assert "15 of 30 rows" in warning and "`--group_duplicates True`" in warning


@pytest.mark.usefixtures("loggers")
def test_json_is_what_is_known_and_nothing_else(path, capsys):
    assert main(["inspect", path, "--label_separator", ";", "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out, parse_constant=lambda constant: pytest.fail(constant))
    assert found == json.loads(json.dumps(inspect_data(path, label_separator=";").to_dict())) and captured.err == ""
    assert found["splits"]["train"]["rows"] == 30 and found["labels"]["counts"] == {"blue": 15, "green": 15, "red": 15}


@pytest.mark.usefixtures("loggers")
@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_wrong_ends_with_1_after_what_is_known(path, capsys, as_json):
    assert main(["inspect", path, *["--json"] * as_json]) == 1
    captured = capsys.readouterr()
    assert "'blue;green'" in captured.err and captured.err.count("\n") == 1
    if as_json:
        found = json.loads(captured.out)
        assert found["splits"]["train"]["rows"] == 30 and found["labels"] is None
        assert captured.err == f"hf-rnn-multilabel inspect: {found['error']}\n"
    else:
        assert "30 rows" in captured.out and "'tags'" in captured.out


@pytest.mark.usefixtures("loggers")
@pytest.mark.parametrize("rows", [2, 1200])
def test_the_rows_of_a_file_that_cannot_be_read_to_its_end_are_not_known(tmp_path, capsys, rows):
    path = write_jsonl(tmp_path / "a.jsonl", make_rows(rows))
    with open(path, "a") as file:
        file.write('{"text": "lamp')
    assert main(["inspect", path, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    train = found["splits"]["train"]
    assert f"{rows + 1}" in found["error"].replace(",", "") and train["rows"] is train["empty"] is None
    assert main(["inspect", path]) == 1
    assert capsys.readouterr().out.startswith(f"train       {path} (jsonl")


@pytest.mark.usefixtures("loggers")
def test_a_folder_is_inspected_and_a_wrong_file_is_told(tmp_path, capsys):
    for split in ("train", "test"):
        write_jsonl(tmp_path / f"{split}.jsonl", make_rows(20))
    assert main(["inspect", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert main(["inspect", "--train_file", str(tmp_path)]) == 0
    assert capsys.readouterr().out == out
    assert main(["inspect", "--train_file", str(tmp_path), "--dataset_name", "a/b"]) == 1
    assert "beside other rows" in capsys.readouterr().err
    assert "20 of 20 texts of test stand in train too" in out and all(name in out for name in LABELS)
    assert main(["inspect", str(tmp_path / "nowhere.csv")]) == 1
    captured = capsys.readouterr()
    assert "nowhere.csv" in captured.err and captured.out == ""
    with pytest.raises(SystemExit) as stop:
        main(["inspect", "a.csv", "--train_file", "b.csv"])
    assert stop.value.code == 2 and "--train_file" in capsys.readouterr().err


@pytest.mark.usefixtures("loggers")
def test_a_training_prints_the_same_block_before_it_trains(tmp_path, path, capsys):
    options = ["--label_separator", ";", "--label_column", "tags"]
    main(["inspect", path, *options])
    block = capsys.readouterr().out
    # It ends after the rows are read, at what is refused then.
    options += ["--output_dir", str(tmp_path / "model"), "--tokenizer_name", "nowhere/nothing"]
    assert main(["train", "--train_file", path, *options]) == 1
    err = capsys.readouterr().err
    lines = [line for line in block.splitlines() if not line.startswith("Warning")]
    assert all(line in err.splitlines() for line in lines)
    assert err.index(lines[-1]) < err.index("split off train") < err.index("hf-rnn-multilabel train: ")


@pytest.mark.usefixtures("loggers")
def test_file_is_the_file_whatever_options_stand_beside_it(tmp_path, path, capsys):
    config = tmp_path / "a.yaml"
    config.write_text('label_separator: ";"\nlabel_column: tags\n')
    for argv in ([path, "--config", str(config)], ["--config", str(config), path]):
        assert main(["inspect", *argv]) == 0
        assert capsys.readouterr().out.startswith(f"train       30 rows of {path} (csv")
    with pytest.raises(SystemExit):
        main(["inspect", "--label_column", "tags", path])
    assert f"--label_column takes all that follows it, {path} too" in capsys.readouterr().err

import hashlib
import json

import pytest
from datasets import Dataset, DatasetInfo, load_dataset
from transformers import TrainingArguments

from hf_rnn_multilabel.hub import run_info
from hf_rnn_multilabel.hub.provenance import describe_dataset, describe_training, processor, shown_name


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_files_are_named_without_their_folders_and_told_apart_by_their_content(tmp_path):
    files = {}
    for split in ("train", "test"):
        files[split] = str(tmp_path / f"{split}.jsonl")
        (tmp_path / f"{split}.jsonl").write_text(json.dumps({"text": split, "labels": []}), encoding="utf-8")
    train = load_dataset("json", data_files=files, cache_dir=tmp_path / "cache")["train"]
    info = describe_dataset(train, "articles", files)
    digests = {
        split: "sha256:" + hashlib.sha256((tmp_path / f"{split}.jsonl").read_bytes()).hexdigest()[:16]
        for split in files
    }
    assert info.revisions == digests | {"validation": digests["train"]}
    assert (info.name, info.id, info.config) == ("articles", None, None)
    assert str(tmp_path) not in str(info)


def test_a_data_set_of_the_hub_is_named_with_its_commit():
    info = DatasetInfo(
        config_name="simplified",
        license="cc-by-4.0",
        citation="@article{a}",
        download_checksums={f"hf://datasets/user/set@{COMMIT}/simplified/train.parquet": {"num_bytes": 3}},
    )
    assert describe_dataset(Dataset.from_dict({"text": ["a"]}, info=info), "user/set") == run_info.DatasetInfo(
        name="user/set",
        id="user/set",
        config="simplified",
        license="cc-by-4.0",
        citation="@article{a}",
        revisions=dict.fromkeys(("train", "validation", "test"), COMMIT),
    )


def test_a_local_folder_is_no_id_of_the_hub(tmp_path):
    (tmp_path / "secret-project").mkdir()
    info = describe_dataset(Dataset.from_dict({"text": ["a"]}), str(tmp_path / "secret-project"))
    assert (info.name, info.id) == ("secret-project", None)
    assert str(tmp_path) not in str(info)


def test_a_path_is_shown_as_its_last_part_and_an_id_as_it_is(tmp_path):
    (tmp_path / "vectors.txt").touch()
    assert shown_name(str(tmp_path / "vectors.txt")) == "vectors.txt"
    assert shown_name("sentence-transformers/all-MiniLM-L6-v2") == "sentence-transformers/all-MiniLM-L6-v2"
    assert shown_name(None) is None


@pytest.mark.parametrize("selects", [True, False])
def test_the_training_is_described_as_it_ran(build_tagger, build_trainer, rows, selects):
    strategy = {"eval_strategy": "epoch", "save_strategy": "epoch", "metric_for_best_model": "eval_loss"}
    trainer = build_trainer(
        build_tagger(),
        rows,
        num_train_epochs=3,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        learning_rate=0.01,
        **(strategy | {"load_best_model_at_end": True} if selects else {}),
    )
    trainer.train()
    info = describe_training(trainer, seconds=1.5, tokenizer="a tokenizer", mixing_weight=0.3)
    assert (info.batch_size, info.learning_rate, info.epochs) == (4, 0.01, 3)
    assert (info.steps, info.seed) == (trainer.state.global_step, trainer.args.seed)
    assert (info.seconds, info.tokenizer, info.mixing_weight) == (1.5, "a tokenizer", 0.3)
    assert info.schedule == TrainingArguments("x").lr_scheduler_type.value
    losses = [log["eval_loss"] for log in trainer.state.log_history if "eval_loss" in log]
    assert info.best_epoch == (1 + losses.index(min(losses)) if selects else None)
    assert info.selected_by == ("eval_loss" if selects else None)
    assert info.precision == "float32"
    trainer.args.bf16 = True
    assert describe_training(trainer, seconds=1).precision == "bfloat16"
    whole = run_info.RunInfo(name="x", training=info)
    assert run_info.RunInfo.from_dict(json.loads(json.dumps(whole.to_dict()))) == whole


def test_the_processor_is_that_of_the_system(tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    (tmp_path / "cpuinfo").write_text("model name\t: A Small CPU\nmodel name\t: A Small CPU\n", encoding="utf-8")
    monkeypatch.setattr("hf_rnn_multilabel.hub.provenance.CPUINFO", tmp_path / "cpuinfo")
    assert processor() == "3 cores, A Small CPU"
    monkeypatch.setattr("hf_rnn_multilabel.hub.provenance.CPUINFO", tmp_path / "none")
    monkeypatch.setattr("platform.processor", lambda: "arm")
    assert processor() == "3 cores, arm"

import hashlib
import json

import pytest
from datasets import Dataset, DatasetInfo, load_dataset
from transformers import TrainingArguments

from hf_rnn_multilabel.hub.provenance import describe_dataset, describe_training, processor, shown_name


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_files_are_named_without_their_folders_and_told_apart_by_their_content(tmp_path):
    files = {}
    for split in ("train", "test"):
        files[split] = str(tmp_path / f"{split}.jsonl")
        (tmp_path / f"{split}.jsonl").write_text(json.dumps({"text": split, "labels": []}))
    train = load_dataset("json", data_files=files, cache_dir=tmp_path / "cache")["train"]
    facts = describe_dataset(train, "articles", files)
    digests = {
        split: "sha256:" + hashlib.sha256((tmp_path / f"{split}.jsonl").read_bytes()).hexdigest()[:16]
        for split in files
    }
    assert facts["revisions"] == digests | {"validation": digests["train"]}
    assert (facts["name"], facts["id"], facts["config"]) == ("articles", None, None)
    assert str(tmp_path) not in json.dumps(facts)


def test_a_data_set_of_the_hub_is_named_with_its_commit():
    info = DatasetInfo(
        config_name="simplified",
        license="cc-by-4.0",
        citation="@article{a}",
        download_checksums={f"hf://datasets/user/set@{COMMIT}/simplified/train.parquet": {"num_bytes": 3}},
    )
    facts = describe_dataset(Dataset.from_dict({"text": ["a"]}, info=info), "user/set")
    assert facts == {
        "name": "user/set",
        "id": "user/set",
        "config": "simplified",
        "license": "cc-by-4.0",
        "citation": "@article{a}",
        "revisions": dict.fromkeys(("train", "validation", "test"), COMMIT),
    }


def test_a_local_folder_is_no_id_of_the_hub(tmp_path):
    (tmp_path / "secret-project").mkdir()
    facts = describe_dataset(Dataset.from_dict({"text": ["a"]}), str(tmp_path / "secret-project"))
    assert (facts["name"], facts["id"]) == ("secret-project", None)
    assert str(tmp_path) not in json.dumps(facts)


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
    facts = describe_training(trainer)
    assert (facts["batch_size"], facts["learning_rate"], facts["epochs"]) == (4, 0.01, 3)
    assert facts["schedule"] == TrainingArguments("x").lr_scheduler_type.value
    losses = [log["eval_loss"] for log in trainer.state.log_history if "eval_loss" in log]
    assert facts["best_epoch"] == (1 + losses.index(min(losses)) if selects else None)
    assert facts["selected_by"] == ("eval_loss" if selects else None)
    assert facts["precision"] == "float32"
    trainer.args.bf16 = True
    assert describe_training(trainer)["precision"] == "bfloat16"
    json.dumps(facts)


def test_the_processor_has_cores_and_a_name():
    cores, name = processor().split(" cores, ")
    assert int(cores) > 0
    assert name.strip()

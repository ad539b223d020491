"""Run by test_versions.py with the interpreter of another environment, where the package cannot be imported.

    python without_the_package.py FOLDER [REPO_ID]

Opens each checkpoint of FOLDER/saved with its own code, tags with it, saves it again, fine-tunes it with the stock
`Trainer` and opens what was saved. With REPO_ID, it does the same with that repository of the Hub, and pushes. Prints
what was observed as JSON.
"""

import json
import sys
from pathlib import Path

# Makes the package absent as it is imported.
import loading_without_the_package  # noqa: F401
import torch
import transformers
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    pipeline,
)


TRUSTED = {"trust_remote_code": True}
torch.set_num_threads(1)


@torch.no_grad()
def numbers_of(name: str | Path, texts: list[str], auto_class: type = AutoModelForSequenceClassification) -> list:
    """The logits of a classifier, or the last hidden states of a base model."""
    model = auto_class.from_pretrained(name, **TRUSTED).eval()
    inputs = AutoTokenizer.from_pretrained(name, **TRUSTED)(texts, padding=True, return_tensors="pt")
    return model(**inputs)[0].tolist()


def tag(name: str | Path, texts: list[str]) -> dict:
    """What each pipeline answers; the scores are asked for every label."""
    tagger = pipeline("multi-label-tagging", model=str(name), **TRUSTED)
    stock = pipeline("text-classification", model=str(name), top_k=None, **TRUSTED)
    return {
        "logits": numbers_of(name, texts),
        "tags": tagger(texts),
        "scores": tagger(texts, threshold=0),
        "stock_scores": stock(texts),
        "streamed": list(tagger((text for text in texts), batch_size=2)),
    }


def fine_tune(name: str | Path, texts: list[str], output: Path, **arguments) -> Trainer:
    """Two steps of plain gradient descent on all texts, so that every version takes the same."""
    model = AutoModelForSequenceClassification.from_pretrained(name, **TRUSTED)
    tokenizer = AutoTokenizer.from_pretrained(name, **TRUSTED)
    labels = torch.eye(len(texts), model.config.num_labels).tolist()
    rows = [{**tokenizer(text), "labels": row} for text, row in zip(texts, labels, strict=True)]
    arguments = TrainingArguments(
        str(output),
        max_steps=2,
        per_device_train_batch_size=len(texts),
        optim="sgd",
        learning_rate=0.5,
        save_strategy="no",
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        **arguments,
    )
    collate = DataCollatorWithPadding(tokenizer)
    trainer = Trainer(model, arguments, data_collator=collate, train_dataset=rows, processing_class=tokenizer)
    trainer.train()
    return trainer


def save_again(folder: Path, target: Path, auto_class: type = AutoModelForSequenceClassification) -> Path:
    auto_class.from_pretrained(folder, **TRUSTED).save_pretrained(target)
    AutoTokenizer.from_pretrained(folder, **TRUSTED).save_pretrained(target)
    return target


def observe_folders(root: Path, texts: list[str]) -> dict:
    opened, saved_again, fine_tuned = {}, {}, {}
    for folder in sorted((root / "saved").iterdir()):
        opened[folder.name] = tag(folder, texts)
        saved_again[folder.name] = tag(save_again(folder, root / "again" / folder.name), texts)
        output = root / "fine_tuned" / folder.name
        fine_tune(folder, texts, output).save_model()
        fine_tuned[folder.name] = tag(output, texts)
    base = save_again(root / "saved" / "gru", root / "base", AutoModel)
    masked_lm = save_again(root / "masked_lm", root / "masked_lm_again", AutoModelForMaskedLM)
    return {
        "opened": opened,
        "saved_again": saved_again,
        "fine_tuned": fine_tuned,
        "hidden_states": numbers_of(base, texts, AutoModel),
        "token_logits": numbers_of(masked_lm, texts, AutoModelForMaskedLM),
    }


def observe_hub(root: Path, repo_id: str, texts: list[str]) -> dict:
    pulled = tag(repo_id, texts)
    again, trained = repo_id + "-again", repo_id + "-trained"
    AutoModelForSequenceClassification.from_pretrained(repo_id, **TRUSTED).push_to_hub(again, private=True)
    AutoTokenizer.from_pretrained(repo_id, **TRUSTED).push_to_hub(again, private=True)
    trainer = fine_tune(repo_id, texts, root / "pushed", push_to_hub=True, hub_model_id=trained)
    trainer.push_to_hub()
    return {"pulled": pulled, "pushed": tag(again, texts), "trained": tag(trained, texts)}


def main(root: Path, repo_id: str | None = None) -> dict:
    texts = json.loads((root / "texts.json").read_text(encoding="utf-8"))
    observed = {
        "versions": {"transformers": transformers.__version__, "torch": torch.__version__},
        "package_is_absent": "hf_rnn_multilabel" not in sys.modules,
        **observe_folders(root, texts),
    }
    return observed | ({"hub": observe_hub(root, repo_id, texts)} if repo_id else {})


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), *sys.argv[2:])))

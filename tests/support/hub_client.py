"""Run by hub_process.py in processes of their own, each with its own cache, token and Hub.

    python hub_client.py [--without_the_package]

Reads calls as lines of JSON, {"name": ..., "arguments": {...}, "environment": {...}}, and answers each with a line:
{"result": ...} or {"error": its class and message}. Everything else that is printed goes to standard error.
"""

import json
import os
import sys
import traceback
from typing import Any
from unittest import mock


answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

if "--without_the_package" in sys.argv:
    # Makes the package absent as it is imported.
    import loading_without_the_package  # noqa: F401
else:
    from hf_rnn_multilabel.hub.push import push_to_hub

import huggingface_hub  # noqa: E402
import torch  # noqa: E402
from transformers import (  # noqa: E402
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Trainer,
    TrainingArguments,
    pipeline,
)


torch.set_num_threads(1)
TRUSTED = {"trust_remote_code": True}


def push(folder: str, repo_id: str, **arguments) -> dict:
    commit = push_to_hub(folder, repo_id, **arguments)
    return {"oid": commit.oid, "pr_url": commit.pr_url}


def push_model_and_tokenizer(folder: str, repo_id: str) -> None:
    AutoModelForSequenceClassification.from_pretrained(folder).push_to_hub(repo_id, private=True)
    AutoTokenizer.from_pretrained(folder).push_to_hub(repo_id)


def upload_folder(folder: str, repo_id: str, repo_type: str) -> None:
    """As `hf upload` does."""
    sdk = {"space_sdk": "gradio"} if repo_type == "space" else {}
    huggingface_hub.create_repo(repo_id, repo_type=repo_type, exist_ok=True, **sdk)
    huggingface_hub.upload_folder(
        folder_path=folder, repo_id=repo_id, repo_type=repo_type, ignore_patterns=["__pycache__/*"]
    )


def compute_metric(name: str, **arguments) -> dict:
    import evaluate

    return evaluate.load(name).compute(**arguments)


def pull(name: str, texts: list[str], revision: str | None = None) -> dict[str, Any]:
    """All that a stock load of the model gives; `name` is a repository or a folder."""
    pinned = {**TRUSTED, "revision": revision}
    config = AutoConfig.from_pretrained(name, **pinned)
    base = AutoModel.from_pretrained(name, **pinned)
    model = AutoModelForSequenceClassification.from_pretrained(name, **pinned).eval()
    tokenizer = AutoTokenizer.from_pretrained(name, **pinned)
    with torch.no_grad():
        logits = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
    inferred = pipeline(model=name, **pinned)
    return {
        "classes": [type(thing).__name__ for thing in (config, base, model, tokenizer)],
        "module": type(model).__module__,
        "package_is_absent": "hf_rnn_multilabel" not in sys.modules,
        "logits": logits.tolist(),
        "scores": logits.sigmoid().tolist(),
        "stock_scores": pipeline("text-classification", model=name, top_k=None, **pinned)(texts),
        "tags": pipeline("multi-label-tagging", model=name, **pinned)(texts),
        "inferred_task": inferred.task,
        "inferred_tags": inferred(texts),
    }


def run_code_of_card(repo_id: str) -> None:
    card = huggingface_hub.ModelCard.load(repo_id).text
    code = card.split("```python\n")[1].split("```")[0]
    exec(compile(code, "README.md", "exec"), {})


def fine_tune(name: str, texts: list[str], output: str, push_to: str) -> str:
    """One step of the stock Trainer, which pushes; what is returned is the revision."""
    model = AutoModelForSequenceClassification.from_pretrained(name, **TRUSTED)
    tokenizer = AutoTokenizer.from_pretrained(name, **TRUSTED)
    labels = torch.eye(len(texts), model.config.num_labels).tolist()
    rows = [{**tokenizer(text), "labels": row} for text, row in zip(texts, labels, strict=True)]
    arguments = TrainingArguments(
        output,
        push_to_hub=True,
        hub_model_id=push_to,
        max_steps=1,
        save_steps=1,
        learning_rate=0.1,
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(model, arguments, train_dataset=rows, processing_class=tokenizer)
    trainer.train()
    return trainer.push_to_hub().oid


def answer(call: dict) -> dict:
    changed = {name: value for name, value in call["environment"].items() if value is not None}
    removed = [name for name, value in call["environment"].items() if value is None]
    with mock.patch.dict(os.environ, changed):
        for name in removed:
            os.environ.pop(name, None)
        try:
            return {"result": globals()[call["name"]](**call["arguments"])}
        except Exception as error:
            traceback.print_exc()
            return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    for line in sys.stdin:
        found = answer(json.loads(line))
        sys.stdout.flush()
        print(json.dumps(found), file=answers, flush=True)

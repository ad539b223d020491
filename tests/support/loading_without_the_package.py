"""Run by test_loading.py in a process of its own, where the package cannot be imported.

    python loading_without_the_package.py FOLDER

Loads what FOLDER/checkpoints holds by trust_remote_code, saves it, loads it again, trains it, and so on; prints what
was found as JSON.
"""

import importlib.abc
import json
import sys
from pathlib import Path


class PackageIsAbsent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "hf_rnn_multilabel":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, PackageIsAbsent())

import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from transformers import (  # noqa: E402
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Trainer,
    TrainingArguments,
    pipeline,
)


TRUSTED = {"trust_remote_code": True}


def logits_of(folder: Path, texts: list[str]) -> torch.Tensor:
    model = AutoModelForSequenceClassification.from_pretrained(folder, **TRUSTED).eval()
    inputs = AutoTokenizer.from_pretrained(folder, **TRUSTED)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        return model(**inputs).logits


def files_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def train(folder: Path, output: Path, texts: list[str]) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(folder, **TRUSTED)
    tokenizer = AutoTokenizer.from_pretrained(folder, **TRUSTED)
    labels = torch.eye(len(texts), model.config.num_labels).tolist()
    dataset = Dataset.from_dict({**tokenizer(texts), "labels": labels})
    arguments = TrainingArguments(
        output, max_steps=2, save_steps=1, learning_rate=0.1, use_cpu=True, report_to="none", disable_tqdm=True
    )
    trainer = Trainer(model, arguments, train_dataset=dataset, processing_class=tokenizer)
    trainer.train()
    trainer.save_model()


def main(root: Path) -> dict:
    found = {}
    try:
        import hf_rnn_multilabel  # noqa: F401
    except ModuleNotFoundError:
        found["package_is_absent"] = True

    expected = torch.load(root / "expected.pt", weights_only=True)
    texts = expected["texts"]
    found["different_logits"] = [
        name
        for name, logits in expected["logits"].items()
        if not torch.equal(logits, logits_of(root / "checkpoints" / name, texts))
    ]

    first = root / "checkpoints" / "tagger"
    config = AutoConfig.from_pretrained(first, **TRUSTED)
    base = AutoModel.from_pretrained(first, **TRUSTED)
    head = AutoModelForSequenceClassification.from_pretrained(first, **TRUSTED)
    tokenizer = AutoTokenizer.from_pretrained(first, **TRUSTED)
    found["classes"] = [type(thing).__name__ for thing in (config, base, head, tokenizer)]
    found["module"] = type(head).__module__

    stock = pipeline("text-classification", model=str(first), top_k=None, **TRUSTED)
    found["stock_scores"] = stock(texts)
    tagger = pipeline("multi-label-tagging", model=str(first), **TRUSTED)
    found["tags"] = tagger(texts)
    inferred = pipeline(model=str(first), **TRUSTED)
    found["inferred_task"], found["inferred_tags"] = inferred.task, inferred(texts)
    found["hub_tags"] = pipeline("multi-label-tagging", model="someone/tagger", **TRUSTED)(texts)

    found["masked_lm"] = {}
    for name, again in (("masked_lm", "masked_lm_again"), ("masked_lm_again", "masked_lm_third")):
        masked_lm = AutoModelForMaskedLM.from_pretrained(root / name, **TRUSTED).eval()
        with torch.no_grad():
            logits = masked_lm(**tokenizer(texts, padding=True, return_tensors="pt")).logits
        found["masked_lm"][name] = {
            "class": type(masked_lm).__name__,
            "is_tied": masked_lm.decoder.weight is masked_lm.rnn.inputs.embed_tokens.weight,
            "is_equal": torch.equal(logits, expected["token_logits"]),
        }
        masked_lm.save_pretrained(root / again)
    found["masked_lm_files"] = files_of(root / "masked_lm_again")

    head.save_pretrained(root / "second")
    tokenizer.save_pretrained(root / "second")
    pipeline(model=str(root / "second"), **TRUSTED).save_pretrained(root / "third")
    AutoModel.from_pretrained(root / "third", **TRUSTED).save_pretrained(root / "base")
    tokenizer.save_pretrained(root / "base")
    head_on_base = AutoModelForSequenceClassification.from_pretrained(root / "base", **TRUSTED)
    found["head_on_base_is_finite"] = all(parameter.isfinite().all().item() for parameter in head_on_base.parameters())
    train(root / "third", root / "trained", texts)
    train(root / "trained", root / "trained_again", texts)
    resaved = {"second": root / "second", "third": root / "third", "base": root / "base"}
    trained = {path.name: path for path in (root / "trained", root / "trained_again")}
    trained["checkpoint"] = root / "trained" / "checkpoint-1"
    found["files"] = {name: files_of(folder) for name, folder in (resaved | trained).items()}
    before = expected["logits"]["tagger"]
    found["resaved_logits_are_equal"] = {
        name: torch.equal(logits_of(resaved[name], texts), before) for name in ("second", "third")
    }
    found["trained_tags"] = {
        name: len(pipeline(model=str(folder), threshold=0, **TRUSTED)(texts[0])) for name, folder in trained.items()
    }
    found["trained_logits_moved"] = {
        name: not torch.equal(logits_of(folder, texts), before) for name, folder in trained.items()
    }
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))

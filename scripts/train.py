"""Fine-tune a recurrent multi-label tagger: read the data, train, tune the thresholds, test once, save one folder.

    python scripts/train.py --output_dir outputs/demo                                     # the bundled data set
    python scripts/train.py --output_dir outputs/mine --train_file train.csv --label_column tags --label_separator ";"

A killed run goes on from its last checkpoint when the same command is given again.
"""

import json
import logging
import math
import os
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import transformers
from datasets import Dataset, DatasetDict, concatenate_datasets, load_dataset
from datasets.exceptions import DatasetGenerationError
from safetensors import SafetensorError
from scipy.special import expit
from train_arguments import (
    ARCHITECTURE,
    HEAD,
    CardArguments,
    DataArguments,
    EncoderArguments,
    ModelArguments,
    TrainingArguments,
    refuse_settings,
)
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    EarlyStoppingCallback,
    HfArgumentParser,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    pipeline,
    set_seed,
)

import hf_rnn_multilabel
from hf_rnn_multilabel import RnnMultilabelConfig, RnnMultilabelForMaskedLM, RnnMultilabelForSequenceClassification
from hf_rnn_multilabel.averaging import RAW_WEIGHTS, WeightAveraging
from hf_rnn_multilabel.baseline import linear_scores
from hf_rnn_multilabel.data import LabelEncoding, encode_labels, find_text_column, stratified_split, tokenize
from hf_rnn_multilabel.embeddings import start_embeddings, vectors_from_file, vectors_from_model
from hf_rnn_multilabel.hub import push
from hf_rnn_multilabel.metrics.multilabel.multilabel import (
    apply_thresholds,
    decision_metrics,
    make_compute_metrics,
    per_label_metrics,
    ranking_metrics,
)
from hf_rnn_multilabel.model_card import build_card
from hf_rnn_multilabel.provenance import describe_dataset, describe_training, processor, shown_name
from hf_rnn_multilabel.report import BINS, expected_calibration_error, plot_all
from hf_rnn_multilabel.retraining import retrain
from hf_rnn_multilabel.search import best_settings, model_settings, search
from hf_rnn_multilabel.thresholds import ThresholdMethod, best_threshold, tune
from hf_rnn_multilabel.tokenization import prune_tokenizer, train_tokenizer


logger = logging.getLogger(__name__)

DEMO = Path(hf_rnn_multilabel.__file__).parent / "demo"
METRICS, WEIGHTS = "metrics.json", "model.safetensors"
RETRAINING = "retraining"  # its checkpoints, below the output folder
TIMED = 1000  # texts whose tagging is timed for the card
SPLITS = ("train", "validation", "test")
# "None" and "NA" are words like any other; an empty field is a missing one.
CSV_OPTIONS = {"keep_default_na": False, "na_values": [""]}
FORMATS = {
    ".jsonl": ("json", {}),
    ".json": ("json", {}),
    ".csv": ("csv", CSV_OPTIONS),
    ".tsv": ("csv", CSV_OPTIONS | {"sep": "\t"}),
    ".parquet": ("parquet", {}),
}
TAGGER, MASKED_LM = RnnMultilabelForSequenceClassification.__name__, RnnMultilabelForMaskedLM.__name__
MAKERS = {TAGGER: AutoModelForSequenceClassification, MASKED_LM: AutoModelForMaskedLM}


@dataclass(frozen=True)
class Data:
    """The rows of a run.

    Attributes:
        dataset: By split, rows with a column of texts and the encoded "labels".
        text_column: The column of texts.
        encoding: The labels, and what was understood of them.
        texts: By split, the texts.
        labels: By split, (rows, labels); of train, those of its first rows, if the others are unlabelled.
        source: What the card says of the data.
    """

    dataset: DatasetDict
    text_column: str
    encoding: LabelEncoding
    texts: dict[str, list[str]]
    labels: dict[str, np.ndarray]
    source: dict


def load_rows(args: DataArguments) -> DatasetDict:
    """The raw splits: from the Hub, from files, or the bundled ones."""
    if args.dataset_name is not None:
        dataset = load_dataset(args.dataset_name, args.dataset_config_name, revision=args.dataset_revision)
    else:
        files = local_files(args)
        if "train" not in files:
            raise ValueError("A validation or test file is given, but no `--train_file`.")
        dataset = read_files(files)
    if "train" not in dataset:
        raise ValueError(f"The data set has the splits {list(dataset)}; it must have 'train'.")
    return DatasetDict({split: dataset[split] for split in SPLITS if split in dataset})


def read_files(files: dict[str, str]) -> DatasetDict:
    """The rows of each split's file, "train" among them."""
    missing = [path for path in files.values() if not os.path.exists(path)]
    if missing:
        raise FileNotFoundError(f"No file {missing[0]!r}; give the path of a json, jsonl, csv or parquet file.")
    kinds = {path: file_format(path) for path in files.values()}
    if any(FORMATS[kind] != FORMATS[kinds[files["train"]]] for kind in kinds.values()):
        raise ValueError(f"The files differ in format: {kinds}; give them all in one.")
    builder, options = FORMATS[kinds[files["train"]]]
    try:
        return load_dataset(builder, data_files=files, **options)
    except (DatasetGenerationError, StopIteration, ValueError) as error:
        reason = error.__cause__ or error
        raise ValueError(
            f"Cannot read {files} as {builder} ({reason!r}); each file must hold rows, all with the same columns."
        ) from error


def local_files(args: DataArguments) -> dict[str, str]:
    """The splits' files: those that are given, else the bundled ones."""
    given = {"train": args.train_file, "validation": args.validation_file, "test": args.test_file}
    files = {split: path for split, path in given.items() if path is not None}
    return files or {split: str(DEMO / f"{split}.jsonl") for split in SPLITS}


def file_format(path: str) -> str:
    suffixes = [suffix for suffix in Path(path).suffixes if suffix not in (".gz", ".zst", ".bz2", ".xz")]
    if not suffixes or suffixes[-1] not in FORMATS:
        raise ValueError(f"Cannot tell the format of {path!r}; its name must end in one of {list(FORMATS)}.")
    return suffixes[-1]


def label_list(args: DataArguments) -> list[str] | None:
    """The names as they are given, or the lines of the one file that is."""
    given = args.label_list
    if given is not None and len(given) == 1 and os.path.isfile(given[0]):
        return [line for line in Path(given[0]).read_text(encoding="utf-8").splitlines() if line.strip()]
    return given


def describe_source(args: DataArguments, card_args: CardArguments, train: Dataset) -> dict:
    """What the card says of the data: as `describe_dataset`, but for what the arguments know better."""
    is_demo = args.dataset_name is None and args.train_file is None
    name = "the bundled product descriptions" if is_demo else args.dataset_name or Path(str(args.train_file)).name
    source = describe_dataset(train, name, local_files(args) if args.dataset_name is None else None)
    known = {"name": card_args.dataset_title, "license": card_args.dataset_license or ("cc0-1.0" if is_demo else None)}
    return source | {key: value for key, value in known.items() if value is not None}


def make_tokenizer(args: EncoderArguments, data_args: DataArguments, texts: list[str]):
    """The tokenizer, and the vectors to start the embeddings from, if any."""
    source = args.embeddings_from
    vectors = None
    if args.model_name_or_path is not None:
        if source is not None or args.tokenizer_name is not None:
            raise ValueError(
                "`--model_name_or_path` brings its own tokenizer and embeddings; leave out `--embeddings_from` and "
                "`--tokenizer_name`."
            )
        tokenizer = AutoTokenizer.from_pretrained(args.model_name_or_path, trust_remote_code=args.trust_remote_code)
    elif source is not None and not os.path.isfile(source):
        tokenizer = AutoTokenizer.from_pretrained(args.tokenizer_name or source)
        kept_ids = list(range(len(tokenizer)))
        if args.prune_vocabulary:
            tokenizer, kept_ids = prune_tokenizer(tokenizer, texts)
        vectors = vectors_from_model(source, kept_ids)
    elif args.tokenizer_name is not None:
        tokenizer = AutoTokenizer.from_pretrained(args.tokenizer_name)
    else:
        # Word vectors are of whole words.
        algorithm = args.tokenizer_algorithm if source is None else "word"
        tokenizer = train_tokenizer(texts, algorithm=algorithm, vocab_size=args.vocab_size, lowercase=args.lowercase)
    if source is not None and os.path.isfile(source):
        vectors = vectors_from_file(source, tokenizer)[0]
    tokenizer.model_max_length = data_args.max_length
    return tokenizer, vectors


def make_model(
    args: ModelArguments, tokenizer: PreTrainedTokenizerBase, vectors, encoding, distillation: dict | None = None
):
    """A new model, or one whose encoder and, where the labels are the same, head are those of a checkpoint."""
    settings = {
        "id2label": dict(enumerate(encoding.label_names)),
        "label2id": {name: index for index, name in enumerate(encoding.label_names)},
        "label_frequencies": encoding.frequencies,
        "positive_weights": "balanced" if args.balance_positives else None,
        "objective": args.objective,
        "objective_parameters": args.objective_numbers,
        "label_smoothing": args.label_smoothing,
    }
    if distillation is not None:
        settings |= {f"distillation_{name}": distillation[name] for name in ("weight", "temperature")}
    if args.model_name_or_path is not None:
        model = load_model(args.model_name_or_path, settings, args)
    else:
        model = new_model(args, tokenizer, vectors, settings)
    if args.freeze_embeddings:
        if args.model_name_or_path is None and vectors is None:
            raise ValueError(
                "`--freeze_embeddings` is given, but the embeddings are new and would never learn; say where they "
                "start with `--embeddings_from` or `--model_name_or_path`."
            )
        model.get_input_embeddings().requires_grad_(False)
    return model


def new_model(
    args: ModelArguments, tokenizer: PreTrainedTokenizerBase, vectors, settings: dict
) -> RnnMultilabelForSequenceClassification:
    """A net with drawn weights, but for embeddings that start elsewhere."""
    config = RnnMultilabelConfig(
        vocab_size=len(tokenizer),
        embedding_size=args.embedding_size if vectors is None else vectors.shape[1],
        hidden_size=args.hidden_size,
        num_hidden_layers=args.num_hidden_layers,
        cell_type=args.cell_type,
        bidirectional=args.bidirectional,
        pad_token_id=tokenizer.pad_token_id,
        **head_settings(args),
        **settings,
    )
    model = RnnMultilabelForSequenceClassification(config)
    if vectors is not None:
        started = start_embeddings(model, vectors)
        print(f"{started:,} of {len(tokenizer):,} embeddings start from {args.embeddings_from}.")
    return model


def head_settings(args: ModelArguments) -> dict:
    """Pooling and dropouts, as the configuration has them."""
    pooling = args.pooling[0] if len(args.pooling) == 1 else args.pooling
    return {name: getattr(args, name) for name in HEAD} | {"pooling": pooling}


def load_config(name_or_path: str, trust_remote_code: bool) -> RnnMultilabelConfig:
    """The configuration of a checkpoint to start from."""
    config = AutoConfig.from_pretrained(name_or_path, trust_remote_code=trust_remote_code)
    if config.model_type != RnnMultilabelConfig.model_type:
        raise ValueError(
            f"{name_or_path!r} is a {config.model_type!r} model; give a {RnnMultilabelConfig.model_type!r} one, or "
            "start a new one from its embeddings with `--embeddings_from`."
        )
    return config


def load_model(name_or_path: str, settings: dict, args: ModelArguments):
    """A checkpoint with these labels.

    A tagger keeps its settings, and its head where it has the same labels; an encoder without a tagger's head gets a
    new one, with the pooling and the dropouts of `args`. With the same labels it keeps its thresholds until they are
    tuned anew: an objective may ask for them.
    """
    remote = {"trust_remote_code": args.trust_remote_code}
    config = load_config(name_or_path, **remote)
    architecture = (config.architectures or [TAGGER])[0]
    is_tagger = architecture == TAGGER
    refuse_settings(args, ARCHITECTURE if is_tagger else ARCHITECTURE - HEAD)
    has_same_labels = is_tagger and config.label_names == list(settings["label2id"])
    for name, value in (settings if is_tagger else settings | head_settings(args)).items():
        setattr(config, name, value)
    if not has_same_labels:
        config.thresholds = None
    config.validate()
    try:
        if has_same_labels:
            return AutoModelForSequenceClassification.from_pretrained(name_or_path, config=config, **remote)
        trained = MAKERS.get(architecture, AutoModel).from_pretrained(name_or_path, **remote)
    except SafetensorError as error:
        raise ValueError(f"The weights in {name_or_path!r} are broken ({error}); fetch or save them again.") from error
    model = AutoModelForSequenceClassification.from_config(config, **remote)
    model.rnn.load_state_dict(trained.base_model.state_dict())
    if is_tagger:
        model.pooling.load_state_dict(trained.pooling.state_dict())
    return model


def compute_metrics(prediction: transformers.EvalPrediction) -> dict[str, float]:
    """The metrics at the best one threshold of the rows at hand: for choosing an epoch, not for reporting."""
    logits = prediction.predictions[0] if isinstance(prediction.predictions, tuple) else prediction.predictions
    threshold = best_threshold(expit(logits), np.asarray(prediction.label_ids))
    return make_compute_metrics(threshold)(prediction) | {"threshold": threshold}


def evaluate_all(
    model: str,
    scores: dict[str, np.ndarray],
    labels: dict[str, np.ndarray],
    names: list[str],
    method: ThresholdMethod = "shrunk",
) -> dict:
    """Each split's metrics with three kinds of thresholds, or four with another `method`, all from validation."""
    kinds = {
        "0.5": dict.fromkeys(names, 0.5),
        "one for all": tune(scores["validation"], labels["validation"], names, "one_micro"),
        "one per label": tune(scores["validation"], labels["validation"], names, "shrunk"),
    }
    if method not in ("one_micro", "shrunk"):
        kinds[method] = tune(scores["validation"], labels["validation"], names, method)
    results = {}
    for split, found in scores.items():
        ranking = ranking_metrics(found, labels[split])
        results[split] = [
            {
                "model": model,
                "thresholds": kind,
                **decision_metrics(apply_thresholds(found, list(values.values())), labels[split]),
                **ranking,
            }
            for kind, values in kinds.items()
        ]
    return results


def print_results(facts: dict) -> None:
    keys = ("f1_micro", "f1_macro", "f1_samples", "hamming_loss", "subset_accuracy")
    for split in SPLITS[1:]:
        if split in facts:
            print(f"\n{split}, {facts['rows'][split]:,} texts" + " " * 14 + "".join(f"{key:>16}" for key in keys))
            for row in facts[split]:
                name = f"{row['model']}, {row['thresholds']}"
                print(f"  {name:36}" + "".join(f"{row[key]:16.4f}" for key in keys))
    shown = facts["labels"][:40]
    print("\nlabel" + " " * 25 + "   train support threshold precision recall    F1")
    for row in shown:
        print(
            f"{row['label'][:30]:30}{row['train']:8}{row['support']:8}{row['threshold']:10.3f}"
            f"{row['precision']:10.2f}{row['recall']:7.2f}{row['f1']:6.2f}"
        )
    if len(shown) < len(facts["labels"]):
        print(f"... and {len(facts['labels']) - len(shown):,} more labels in {METRICS}.")


def main() -> None:
    parser = HfArgumentParser((ModelArguments, DataArguments, CardArguments, TrainingArguments))  # type: ignore[arg-type]
    model_args, data_args, card_args, args = parser.parse_args_into_dataclasses()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    checkpoint = prepare_output(Path(args.output_dir), args.weight_averaging > 0)
    data = read_data(data_args, card_args, args.seed)
    train_tagger(data, model_args, data_args, card_args, args, checkpoint)


def read_data(data_args: DataArguments, card_args: CardArguments, seed: int) -> Data:
    """Rows, labels, splits: what there is to train on, before any token."""
    dataset = load_rows(data_args)
    source = describe_source(data_args, card_args, dataset["train"])
    text_column = data_args.text_column or find_text_column(dataset["train"])
    label_column = data_args.label_column
    dataset, encoding = encode_labels(
        dataset,
        label_column[0] if label_column is not None and len(label_column) == 1 else label_column,
        label_names=label_list(data_args),
        separator=data_args.label_separator,
        unknown_labels=data_args.unknown_labels,
    )
    print(encoding)
    if "validation" not in dataset:
        parts = stratified_split(dataset["train"], data_args.validation_share, seed=seed)
        dataset["train"], dataset["validation"] = parts["train"], parts["test"]
        print(f"No validation split: {len(dataset['validation']):,} texts were split off train, stratified by label.")
    texts = {split: list(rows[text_column]) for split, rows in dataset.items()}
    labels = {split: np.asarray(rows.with_format("numpy")["labels"][:]) for split, rows in dataset.items()}
    if not (labels["validation"] == 1).any():
        raise ValueError("No validation row has a label: thresholds cannot be tuned on it. Give labelled rows.")
    return Data(dataset, text_column, encoding, texts, labels, source)


def train_tagger(
    data: Data,
    model_args: ModelArguments,
    data_args: DataArguments,
    card_args: CardArguments,
    args: TrainingArguments,
    checkpoint: str | None,
    distillation: dict | None = None,
    teacher_results: dict | None = None,
) -> None:
    """Tokens, training, thresholds, one folder.

    Args:
        data: the rows; where train has "teacher_logits", the model learns from them too.
        model_args, data_args, card_args, args: what the script was told.
        checkpoint: a folder to go on from.
        distillation: what the card says of a teacher: its name, the weight and the temperature, and the rest that
            `distill.py` knows.
        teacher_results: the teacher's own metrics, as `evaluate_all` gives them.
    """
    dataset, encoding, texts, labels = data.dataset, data.encoding, data.texts, data.labels
    set_seed(args.seed)

    # 1. Tokens.
    tokenizer, vectors = make_tokenizer(model_args, data_args, texts["train"])
    dataset, truncated = tokenize(dataset, tokenizer, data.text_column, max_length=data_args.max_length)
    rows = {split: len(part) for split, part in dataset.items()}
    for split, count in truncated.items():
        print(f"{split}: {rows[split]:,} texts, {count:,} cut at {data_args.max_length} tokens.")

    linear = {}
    if data_args.linear_baseline and args.process_index == 0:
        held_out = [split for split in SPLITS[1:] if split in dataset]
        labelled = texts["train"][: len(labels["train"])]
        found = linear_scores(labelled, labels["train"], *(texts[split] for split in held_out))
        linear = dict(zip(held_out, found, strict=True))
        if args.retrain_with_validation and "test" in dataset:
            both = texts["train"] + texts["validation"], np.concatenate([labels["train"], labels["validation"]])
            (linear["test"],) = linear_scores(*both, texts["test"])

    # 2. Training.
    if args.learning_rate == 0:
        starts_anew = model_args.model_name_or_path is None and model_args.embeddings_from is None
        args.learning_rate = 4e-3 if starts_anew else 2e-3
    if args.per_device_train_batch_size == 0:
        args.per_device_train_batch_size = 32 if rows["train"] >= 10_000 else 16
    if args.num_train_epochs == 0:
        args.num_train_epochs = epochs_for(3000, rows["train"], args)
    agree_on_batches(args)
    searched = {}
    if args.search_trials > 0:
        searched["search"] = search_settings(model_args, args, dataset, tokenizer, vectors, encoding, distillation)
        set_seed(args.seed)
    model = make_model(model_args, tokenizer, vectors, encoding, distillation)
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=dataset["train"],
        eval_dataset=dataset["validation"],
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
        callbacks=[EarlyStoppingCallback(args.early_stopping_patience), *averaging(args)],
    )
    started = time.perf_counter()
    trainer.train(resume_from_checkpoint=checkpoint)
    train_seconds = time.perf_counter() - started

    # 3. Thresholds from validation.
    names = encoding.label_names
    scores, truth = {}, {}
    scores["validation"], truth["validation"] = predict(trainer, dataset["validation"])
    model.config.thresholds = tune(scores["validation"], truth["validation"], names, data_args.threshold_method)
    training, steps = describe_training(trainer), trainer.state.global_step

    # 4. If asked for, a new net on train and validation, with these thresholds and for as many epochs.
    retraining = {}
    if args.retrain_with_validation:
        thresholds = model.config.thresholds
        set_seed(args.seed)
        model = make_model(model_args, tokenizer, vectors, encoding, distillation)
        model.config.thresholds = thresholds
        both = concatenate_datasets([dataset["train"], dataset["validation"]])
        folder = Path(args.output_dir) / RETRAINING
        checkpoint = last_checkpoint(folder, args.weight_averaging > 0)
        started = time.perf_counter()
        trainer = retrain(trainer, model, both, str(folder), averaging(args), checkpoint)
        retraining["retraining"] = {
            "rows": len(both),
            "epochs": trainer.state.epoch,
            "steps": trainer.state.global_step,
            "seconds": time.perf_counter() - started,
        }

    # 5. The test split scored once.
    if "test" in dataset:
        scores["test"], truth["test"] = predict(trainer, dataset["test"])
    results = evaluate_all("this model", scores, truth, names, data_args.threshold_method)
    if retraining:
        for row in results["validation"]:
            row["model"] = "before retraining"
    if linear:
        for split, found in evaluate_all("TF-IDF + LR", linear, labels, names, data_args.threshold_method).items():
            results[split] += found
    for split, found in (teacher_results or {}).items():
        results[split] += found

    # 6. One folder with everything, and the Hub.
    if not trainer.is_world_process_zero():
        return
    # Not `trainer.save_model()`, which adds its arguments as a pickle.
    model.save_pretrained(args.output_dir)
    tokenizer.save_pretrained(args.output_dir)
    final = "test" if "test" in scores else "validation"
    thresholds = model.config.label_thresholds
    tagger = pipeline("multi-label-tagging", model=args.output_dir)  # type: ignore[call-overload]
    started = time.perf_counter()
    tagger(texts[final][:TIMED], batch_size=args.per_device_eval_batch_size)
    tag_seconds = time.perf_counter() - started
    facts = {
        "name": Path(args.output_dir).resolve().name,
        **{key: value for key in ("license", "language") if (value := getattr(card_args, key)) is not None},
        "dataset": data.source,
        **results,
        "labels": [
            row | {"train": encoding.counts[row["label"]], "threshold": model.config.thresholds[row["label"]]}
            for row in per_label_metrics(apply_thresholds(scores[final], thresholds), truth[final], names)
        ],
        "threshold_method": data_args.threshold_method,
        "calibration": {
            "expected_calibration_error": expected_calibration_error(scores[final], truth[final]),
            "bins": BINS,
        },
        "plots": plot_all(scores[final], truth[final], names, thresholds, args.output_dir),
        "label_form": str(encoding),
        "rows": rows,
        "truncated": truncated,
        "max_length": data_args.max_length,
        "parameters": model.num_parameters(),
        "bytes": (Path(args.output_dir) / WEIGHTS).stat().st_size,
        "steps": steps,
        "seed": args.seed,
        "train_seconds": train_seconds,
        "training": training
        | {
            "embeddings_from": shown_name(model_args.embeddings_from),
            "frozen_embeddings": model_args.freeze_embeddings or None,
            "started_from": shown_name(model_args.model_name_or_path),
            "weight_averaging": args.weight_averaging or None,
            "tokenizer": f"{len(tokenizer):,} tokens, {tokenizer_origin(model_args)}",
        },
        **searched,
        **retraining,
        **({} if distillation is None else {"distillation": distillation}),
        "speed": {
            "texts_per_second": len(texts[final][:TIMED]) / tag_seconds,
            "batch_size": args.per_device_eval_batch_size,
            "threads": torch.get_num_threads(),
            "processor": processor(),
        },
        "versions": {name: version(name) for name in ("hf-rnn-multilabel", "torch", "transformers", "datasets")},
    }
    build_card(model.config, facts).save(Path(args.output_dir) / "README.md")
    (Path(args.output_dir) / METRICS).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    print_results(facts)
    print()
    for text in texts[final][:3]:
        tags_of_text = ", ".join(f"{tag['label']} {tag['score']:.2f}" for tag in tagger(text)) or "no tag"
        print(f"{text[:100]!r}\n    -> {tags_of_text}")
    print(f"\nSaved in {args.output_dir}.")
    if args.push_to_hub:
        commit = push(
            args.output_dir,
            args.hub_model_id or Path(args.output_dir).resolve().name,
            private=args.hub_private_repo,
            revision=args.hub_revision,
            token=args.hub_token,
        )
        print(f"Pushed as revision {commit.oid}: {commit.commit_url}")


def search_settings(
    model_args: ModelArguments,
    args: TrainingArguments,
    dataset: DatasetDict,
    tokenizer: PreTrainedTokenizerBase,
    vectors,
    encoding,
    distillation: dict | None,
) -> dict:
    """Put the best settings of a search on validation into the arguments; what the search found."""
    if model_args.model_name_or_path is not None:
        raise ValueError(
            f"`--search_trials` is for a new net, but this one is that of {model_args.model_name_or_path!r}; leave "
            "out one of the two."
        )

    def model_init(trial):
        settings = {} if trial is None else model_settings(trial)
        return make_model(replace(model_args, **settings), tokenizer, vectors, encoding, distillation)

    folder = Path(args.output_dir) / "search"
    trainer = Trainer(
        model_init=model_init,
        args=replace(
            args, output_dir=str(folder), save_strategy="no", load_best_model_at_end=False, push_to_hub=False
        ),
        train_dataset=dataset["train"],
        eval_dataset=dataset["validation"],
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
        callbacks=[EarlyStoppingCallback(args.early_stopping_patience), *averaging(args)],
    )
    found = search(trainer, args.search_trials, args.output_dir)
    print(f"The best of {found['trials']} trials, {found['metric']} {found['value']:.4f}: {found['settings']}")
    for target, settings in zip((args, model_args), best_settings(found["settings"]), strict=True):
        for name, value in settings.items():
            setattr(target, name, value)
    return found


def averaging(args: TrainingArguments) -> list[TrainerCallback]:
    """The callback that averages the weights, if they are to be."""
    return [WeightAveraging(args.weight_averaging)] if args.weight_averaging else []


def epochs_for(steps: int, rows: int, args: transformers.TrainingArguments) -> float:
    """As many epochs as give so many steps, at least 3 and at most 30."""
    steps_of_one = rows / (args.train_batch_size * args.world_size * args.gradient_accumulation_steps)
    return float(min(max(math.ceil(steps / steps_of_one), 3), 30))


def tokenizer_origin(args: EncoderArguments) -> str:
    """Where the tokenizer came from, in words."""
    taken_from = args.model_name_or_path or args.tokenizer_name or args.embeddings_from
    is_trained = taken_from is None or (args.embeddings_from == taken_from and os.path.isfile(taken_from))
    return "trained on the training texts" if is_trained else f"that of {shown_name(taken_from)}"


def prepare_output(folder: Path, averages_weights: bool = False) -> str | None:
    """The checkpoint to go on from, if any; an error while nothing is lost yet if the folder cannot take the model."""
    if (folder / METRICS).exists():
        raise FileExistsError(f"{folder} holds a finished model; give another `--output_dir`, or remove it.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(f"Cannot write to {str(folder)!r} ({error.strerror}); give another `--output_dir`.") from error
    return last_checkpoint(folder, averages_weights)


def last_checkpoint(folder: Path, averages_weights: bool) -> str | None:
    """The last checkpoint in a folder that was not cut short."""
    complete = [path for path in folder.glob("checkpoint-*") if is_complete(path, averages_weights)]
    if not complete:
        return None
    last = max(complete, key=lambda path: int(path.name.split("-")[1]))
    print(f"Going on from {last}.")
    return str(last)


def is_complete(checkpoint: Path, averages_weights: bool = False) -> bool:
    """Whether a checkpoint was not cut short: its state is written last, and then what the averaging goes on from."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
    except (OSError, ValueError):
        return False
    return not averages_weights or (checkpoint / RAW_WEIGHTS).exists()


def agree_on_batches(args: transformers.TrainingArguments) -> None:
    """Has several processes draw the same order of the rows."""
    if args.world_size > 1 and args.device.type == "cpu":
        # The grouped order is drawn from each process's own generator, and dropout moves those of a CPU apart.
        args.train_sampling_strategy = "random"


def predict(trainer: Trainer, rows: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Scores and truth, both (rows, labels), in the Trainer's order: where it groups by length, not the rows' own."""
    output = trainer.predict(rows, metric_key_prefix="predict")
    logits = output.predictions[0] if isinstance(output.predictions, tuple) else output.predictions
    return expit(logits), np.asarray(output.label_ids)


if __name__ == "__main__":
    main()

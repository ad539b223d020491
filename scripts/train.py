"""Fine-tune a recurrent multi-label tagger: read the data, train, tune the thresholds, test once, save one folder.

    python scripts/train.py --output_dir outputs/demo                                     # the bundled data set
    python scripts/train.py --output_dir outputs/mine --train_file train.csv --label_column tags --label_separator ";"

A killed run goes on from its last checkpoint when the same command is given again.
"""

import logging
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import transformers
from datasets import Dataset, DatasetDict, concatenate_datasets
from scipy.special import expit
from train_arguments import CardArguments, DataArguments, ModelArguments, TrainingArguments
from train_data import SPLITS, Data, read_data
from train_model import head_settings, make_model, make_tokenizer, takes_bag, tokenizer_origin
from train_output import METRICS, last_checkpoint, prepare_output
from train_settings import agree_on_batches, embedding_rate_for, fill_in
from transformers import (
    EarlyStoppingCallback,
    HfArgumentParser,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    pipeline,
    set_seed,
)

from hf_rnn_multilabel.data.encoding import tokenize
from hf_rnn_multilabel.evaluation.baseline import linear_scores
from hf_rnn_multilabel.evaluation.metrics.multilabel.multilabel import (
    apply_thresholds,
    decision_metrics,
    make_compute_metrics,
    per_label_metrics,
    ranking_metrics,
)
from hf_rnn_multilabel.evaluation.plots import BINS, expected_calibration_error, plot_all
from hf_rnn_multilabel.evaluation.thresholds import ThresholdMethod, best_threshold, tune
from hf_rnn_multilabel.hub.model_card import build_card, save_card
from hf_rnn_multilabel.hub.provenance import describe_training, processor, shown_name
from hf_rnn_multilabel.hub.push import push_to_hub
from hf_rnn_multilabel.hub.run_info import (
    BEFORE_RETRAINING,
    LINEAR_BASELINE,
    THIS_MODEL,
    CalibrationInfo,
    DistillationInfo,
    LabelResult,
    MetricRow,
    RetrainingInfo,
    RunInfo,
    SearchInfo,
    SpeedInfo,
    SplitInfo,
)
from hf_rnn_multilabel.training.averaging import WeightAveraging
from hf_rnn_multilabel.training.retraining import retrain
from hf_rnn_multilabel.training.search import best_settings, model_settings, search
from hf_rnn_multilabel.training.trainer import scale_embedding_rate
from hf_rnn_multilabel.training.wide import add_bag, fit_bag, set_bag


logger = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"
RETRAINING = "retraining"  # its checkpoints, below the output folder
METHODS = {"one_micro": "global_micro", "one_macro": "global_macro", "shrunk": "shrinkage"}
TIMED = 1000  # texts whose tagging is timed for the card


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
) -> dict[str, list[MetricRow]]:
    """Each split's metrics with three kinds of thresholds, or four with another `method`, all from validation."""
    kinds = {
        "0.5": dict.fromkeys(names, 0.5),
        "global threshold": tune(scores["validation"], labels["validation"], names, "one_micro"),
        "per-label thresholds": tune(scores["validation"], labels["validation"], names, "shrunk"),
    }
    if method not in ("one_micro", "shrunk"):
        kinds[method] = tune(scores["validation"], labels["validation"], names, method)
    results = {}
    for split, found in scores.items():
        ranking = ranking_metrics(found, labels[split])
        results[split] = [
            MetricRow(
                model=model,
                thresholds=METHODS.get(kind, kind),
                metrics=decision_metrics(apply_thresholds(found, list(values.values())), labels[split]) | ranking,
            )
            for kind, values in kinds.items()
        ]
    return results


def print_results(run_info: RunInfo) -> None:
    keys = ("f1_micro", "f1_macro", "f1_samples", "hamming_loss", "subset_accuracy")
    for split, results in run_info.results.items():
        rows = run_info.splits[split].rows
        print(f"\n{split}, {rows:,} texts" + " " * 14 + "".join(f"{key:>16}" for key in keys))
        for row in results:
            name = f"{row.model}, {row.thresholds}"
            print(f"  {name:36}" + "".join(f"{row.metrics[key]:16.4f}" for key in keys))
    shown = run_info.labels[:40]
    print("\nlabel" + " " * 25 + "   train support threshold precision recall    F1")
    for label in shown:
        print(
            f"{label.label[:30]:30}{label.train_support:8}{label.support:8}{label.threshold:10.3f}"
            f"{label.precision:10.2f}{label.recall:7.2f}{label.f1:6.2f}"
        )
    if len(shown) < len(run_info.labels):
        print(f"... and {len(run_info.labels) - len(shown):,} more labels in {METRICS}.")


def main() -> None:
    parser = HfArgumentParser((ModelArguments, DataArguments, CardArguments, TrainingArguments))  # type: ignore[arg-type]
    model_args, data_args, card_args, args = parser.parse_args_into_dataclasses()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    checkpoint = prepare_output(Path(args.output_dir), args.weight_averaging > 0)
    data = read_data(data_args, card_args, args.seed)
    train_tagger(data, model_args, data_args, card_args, args, checkpoint)


def train_tagger(
    data: Data,
    model_args: ModelArguments,
    data_args: DataArguments,
    card_args: CardArguments,
    args: TrainingArguments,
    checkpoint: str | None,
    distillation: DistillationInfo | None = None,
    teacher_results: dict[str, list[MetricRow]] | None = None,
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

    # 2. Training, and a bag of tokens beside the net.
    fill_in(args, model_args, rows["train"], data_args.max_length, len(encoding.label_names))
    agree_on_batches(args)
    embedding_rate = embedding_rate_for(args, model_args, has_vectors=vectors is not None)
    searched = None
    if args.search_trials > 0:
        searched = search_settings(
            model_args, args, dataset, tokenizer, vectors, encoding, texts["train"], embedding_rate, distillation
        )
        set_seed(args.seed)
    model, named = make_model(model_args, tokenizer, vectors, encoding, texts["train"], distillation)
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=dataset["train"],
        eval_dataset=dataset["validation"],
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
        callbacks=[EarlyStoppingCallback(args.early_stopping_patience), *averaging(args)],
    )
    scale_embedding_rate(trainer, embedding_rate)
    started = time.perf_counter()
    trainer.train(resume_from_checkpoint=checkpoint)
    names = encoding.label_names
    if takes_bag(model_args, len(tokenizer), len(names)):
        share = add_bag(model, tokenizer, texts, labels, args.per_device_eval_batch_size)
        print(f"Up to {share:.0%} of a logit come from a logistic regression on the tokens.")
    train_seconds = time.perf_counter() - started

    # 3. Thresholds from validation.
    scores, truth = {}, {}
    scores["validation"], truth["validation"] = predict(trainer, dataset["validation"])
    thresholds = tune(scores["validation"], truth["validation"], names, data_args.threshold_method)
    model.config.thresholds = thresholds
    training = describe_training(
        trainer,
        seconds=train_seconds,
        embeddings_from=shown_name(model_args.embeddings_from),
        embedding_lr_factor=embedding_rate,
        started_from=shown_name(model_args.model_name_or_path),
        label_name_queries=named or None,
        mixing_weight=model.config.bag_weight or None,
        weight_averaging=args.weight_averaging or None,
        tokenizer=f"{len(tokenizer):,} tokens, {tokenizer_origin(model_args)}",
    )

    # 4. If asked for, a new net on train and validation, with these thresholds and this share, for as many epochs.
    retraining = None
    if args.retrain_with_validation:
        set_seed(args.seed)
        share = model.config.bag_weight
        model, _ = make_model(model_args, tokenizer, vectors, encoding, texts["train"], distillation)
        model.config.thresholds = thresholds
        both = concatenate_datasets([dataset["train"], dataset["validation"]])
        folder = Path(args.output_dir) / RETRAINING
        checkpoint = last_checkpoint(folder, args.weight_averaging > 0)
        started = time.perf_counter()
        trainer = retrain(trainer, model, both, str(folder), averaging(args), embedding_rate, checkpoint)
        if share:
            labels_of_both = np.concatenate([labels["train"], labels["validation"]])
            sizes = model.config.vocab_size, model.config.bag_pairs
            set_bag(model, fit_bag(both["input_ids"], labels_of_both, *sizes), share)
        retraining = RetrainingInfo(
            rows=len(both),
            epochs=trainer.state.epoch,
            steps=trainer.state.global_step,
            seconds=time.perf_counter() - started,
        )

    # 5. The test split scored once.
    if "test" in dataset:
        scores["test"], truth["test"] = predict(trainer, dataset["test"])
    results = evaluate_all(THIS_MODEL, scores, truth, names, data_args.threshold_method)
    if retraining:
        results["validation"] = [replace(row, model=BEFORE_RETRAINING) for row in results["validation"]]
    if linear:
        for split, rows_of in evaluate_all(LINEAR_BASELINE, linear, labels, names, data_args.threshold_method).items():
            results[split] += rows_of
    for split, rows_of in (teacher_results or {}).items():
        results[split] += rows_of

    # 6. One folder with everything, and the Hub.
    if not trainer.is_world_process_zero():
        return
    model.config.num_bigram_buckets = model.config.bag_pairs if model.config.bag_weight else None
    # Not `trainer.save_model()`, which adds its arguments as a pickle.
    model.save_pretrained(args.output_dir)
    tokenizer.save_pretrained(args.output_dir)
    final = "test" if "test" in scores else "validation"
    limits = model.config.label_thresholds
    tagger = pipeline("multi-label-tagging", model=args.output_dir)  # type: ignore[call-overload]
    started = time.perf_counter()
    tagger(texts[final][:TIMED], batch_size=args.per_device_eval_batch_size)
    tag_seconds = time.perf_counter() - started
    run_info = RunInfo(
        name=Path(args.output_dir).resolve().name,
        license=card_args.license,
        language=card_args.language,
        dataset=data.source,
        splits={split: SplitInfo(rows=rows[split], truncated=truncated[split]) for split in rows},
        max_length=data_args.max_length,
        label_description=str(encoding),
        threshold_method=METHODS.get(data_args.threshold_method, data_args.threshold_method),
        results=results,
        labels=[
            LabelResult(**row, train_support=encoding.counts[row["label"]], threshold=thresholds[row["label"]])
            for row in per_label_metrics(apply_thresholds(scores[final], limits), truth[final], names)
        ],
        calibration=CalibrationInfo(
            expected_calibration_error=expected_calibration_error(scores[final], truth[final]), bins=BINS
        ),
        plots=plot_all(scores[final], truth[final], names, limits, args.output_dir),
        num_parameters=model.num_parameters(),
        weight_bytes=(Path(args.output_dir) / WEIGHTS).stat().st_size,
        training=training,
        search=searched,
        retraining=retraining,
        distillation=distillation,
        speed=SpeedInfo(
            texts_per_second=len(texts[final][:TIMED]) / tag_seconds,
            batch_size=args.per_device_eval_batch_size,
            threads=torch.get_num_threads(),
            processor=processor(),
        ),
        versions={name: version(name) for name in ("hf-rnn-multilabel", "torch", "transformers", "datasets")},
    )
    save_card(build_card(model.config, run_info), args.output_dir)
    run_info.save(args.output_dir)
    print_results(run_info)
    print()
    for text in texts[final][:3]:
        tags_of_text = ", ".join(f"{tag['label']} {tag['score']:.2f}" for tag in tagger(text)) or "no tag"
        print(f"{text[:100]!r}\n    -> {tags_of_text}")
    print(f"\nSaved in {args.output_dir}.")
    if args.push_to_hub:
        commit = push_to_hub(
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
    texts: list[str],
    embedding_rate: float,
    distillation: DistillationInfo | None,
) -> SearchInfo:
    """Put the best settings of a search on validation into the arguments; what the search found."""
    if model_args.model_name_or_path is not None:
        raise ValueError(
            f"`--search_trials` is for a new net, but this one is that of {model_args.model_name_or_path!r}; leave "
            "out one of the two."
        )

    def model_init(trial):
        settings = {} if trial is None else model_settings(trial)
        net, _ = make_model(replace(model_args, **settings), tokenizer, vectors, encoding, texts, distillation)
        # As `Trainer(model)` does: so the net that is trained in the end is that of the best trial.
        set_seed(args.seed)
        return net

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
    scale_embedding_rate(trainer, embedding_rate)
    given = vars(args) | vars(model_args) | head_settings(model_args, encoding.label_names, texts)
    found = search(trainer, args.search_trials, args.output_dir, given)
    print(f"The best of {found['trials']} trials, {found['metric']} {found['value']:.4f}: {found['settings']}")
    for target, settings in zip((args, model_args), best_settings(found["settings"]), strict=True):
        for name, value in settings.items():
            setattr(target, name, value)
    return SearchInfo(**found)


def averaging(args: TrainingArguments) -> list[TrainerCallback]:
    """The callback that averages the weights, if they are to be."""
    return [WeightAveraging(args.weight_averaging)] if args.weight_averaging else []


def predict(trainer: Trainer, rows: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Scores and truth, both (rows, labels), in the Trainer's order: where it groups by length, not the rows' own."""
    output = trainer.predict(rows, metric_key_prefix="predict")
    logits = output.predictions[0] if isinstance(output.predictions, tuple) else output.predictions
    return expit(logits), np.asarray(output.label_ids)


if __name__ == "__main__":
    main()

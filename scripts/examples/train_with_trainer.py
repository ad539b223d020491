"""Train a multi-label tagger with the stock `Trainer` alone: every step is here, to be read and changed.

    python scripts/examples/train_with_trainer.py --train_file train.jsonl --output_dir my-tagger

Without files it trains on the product descriptions that come with the package. The command `hf-rnn-multilabel train`
does more: dropouts by the size of the data, a wide head beside the network, a model card.
"""

from dataclasses import dataclass, field

import numpy as np
from transformers import EarlyStoppingCallback, HfArgumentParser, Trainer, TrainingArguments, set_seed

from hf_rnn_multilabel import (
    RnnMultilabelConfig,
    RnnMultilabelForSequenceClassification,
    make_compute_metrics,
    tune_thresholds,
)
from hf_rnn_multilabel.data import load_data, tokenize, train_tokenizer


@dataclass
class DataTrainingArguments:
    """Where the rows are, and how long a text may be."""

    train_file: str | None = field(default=None, metadata={"help": "A file of texts with their labels."})
    validation_file: str | None = field(default=None, metadata={"help": "Else a part of train is split off."})
    test_file: str | None = field(default=None, metadata={"help": "Evaluated once, at the end."})
    max_length: int = field(default=256, metadata={"help": "Tokens at which a text is truncated."})


@dataclass
class ModelArguments:
    """The network."""

    cell_type: str = field(default="lstm", metadata={"help": "rnn, gru or lstm."})
    hidden_size: int = field(default=256, metadata={"help": "Features of a hidden state, per direction."})
    pooling: list[str] = field(default_factory=lambda: ["attention", "max"], metadata={"help": "One or several."})


def main() -> None:
    """Train, tune the thresholds on validation, test once, save."""
    parser = HfArgumentParser((ModelArguments, DataTrainingArguments, TrainingArguments))  # type: ignore[arg-type]
    model_args, data_args, args = parser.parse_args_into_dataclasses()
    set_seed(args.seed)

    # Rows with a float multi-hot column "labels", and a validation split.
    files = {"train": data_args.train_file, "validation": data_args.validation_file, "test": data_args.test_file}
    data = load_data({split: path for split, path in files.items() if path is not None} or None, seed=args.seed)
    label_names = data.encoding.label_names

    # A tokenizer of the training texts; texts become "input_ids" and "attention_mask", padded batch by batch later.
    tokenizer = train_tokenizer(data.texts["train"], model_max_length=data_args.max_length)
    rows, _ = tokenize(data.dataset, tokenizer, data.text_column)

    # The frequencies of the labels are where the classifier's bias starts.
    config = RnnMultilabelConfig(
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        cell_type=model_args.cell_type,
        hidden_size=model_args.hidden_size,
        pooling=model_args.pooling,
        id2label=dict(enumerate(label_names)),
        label_frequencies=data.encoding.frequencies,
    )
    model = RnnMultilabelForSequenceClassification(config)

    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        processing_class=tokenizer,
        compute_metrics=make_compute_metrics(),
        callbacks=[EarlyStoppingCallback(3)] if args.load_best_model_at_end else [],
    )
    trainer.train()

    # One threshold per label, from validation, stored in the configuration: every way of tagging honours them.
    output = trainer.predict(rows["validation"])
    logits, labels = np.asarray(output.predictions), np.asarray(output.label_ids)  # (rows, labels)
    config.thresholds = tune_thresholds(1 / (1 + np.exp(-logits)), labels, label_names)

    if "test" in rows:
        trainer.compute_metrics = make_compute_metrics(config.label_thresholds)
        metrics = trainer.predict(rows["test"]).metrics
        trainer.log_metrics("test", metrics)
        trainer.save_metrics("test", metrics)
    trainer.save_model()
    print(f"Saved in {args.output_dir}.")


if __name__ == "__main__":
    main()

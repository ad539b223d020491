"""Pretrain a recurrent encoder by masked language modelling with the stock `Trainer`, for a tagger to start from.

python scripts/examples/pretrain_with_trainer.py --train_file texts.txt --output_dir encoder
hf-rnn-multilabel train --train_file train.jsonl --model_name_or_path encoder --output_dir my-tagger
"""

from dataclasses import dataclass, field

from datasets import Dataset
from transformers import DataCollatorForLanguageModeling, HfArgumentParser, Trainer, TrainingArguments, set_seed

from hf_rnn_multilabel import RnnMultilabelConfig, RnnMultilabelForMaskedLM
from hf_rnn_multilabel.data import read_texts, train_tokenizer


@dataclass
class TextArguments:
    """The texts, and how they are masked."""

    train_file: str = field(metadata={"help": "txt, jsonl, csv, tsv or parquet, also compressed."})
    text_column: str = field(default="text", metadata={"help": "Where a row's text is; a line of txt is a text."})
    max_length: int = field(default=128, metadata={"help": "Tokens of a row; a longer text becomes several."})
    mlm_probability: float = field(default=0.15, metadata={"help": "Fraction of the tokens to predict."})


def main() -> None:
    """Train a tokenizer, then the encoder, and save both."""
    parser = HfArgumentParser((TextArguments, TrainingArguments))  # type: ignore[arg-type]
    text_args, args = parser.parse_args_into_dataclasses()
    set_seed(args.seed)

    texts = list(read_texts([text_args.train_file], text_args.text_column))
    tokenizer = train_tokenizer(texts, model_max_length=text_args.max_length)
    tokenizer.add_special_tokens({"mask_token": "[MASK]"})

    def split(batch: dict[str, list]) -> dict[str, list]:
        tokens = tokenizer(batch["text"], truncation=True, return_overflowing_tokens=True)
        return {"input_ids": tokens["input_ids"]}

    rows = Dataset.from_dict({"text": texts}).map(split, batched=True, remove_columns="text")
    parts = rows.train_test_split(0.05, seed=args.seed)

    config = RnnMultilabelConfig(
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        # Each text is masked in another way in every epoch, so little more is needed against overfitting.
        embedding_dropout=0.1,
        hidden_dropout=0.1,
    )
    trainer = Trainer(
        model=RnnMultilabelForMaskedLM(config),
        args=args,
        train_dataset=parts["train"],
        eval_dataset=parts["test"],
        processing_class=tokenizer,
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=text_args.mlm_probability),
    )
    trainer.train()
    trainer.log_metrics("eval", trainer.evaluate())
    trainer.save_model()
    print(f"Saved in {args.output_dir}.")


if __name__ == "__main__":
    main()

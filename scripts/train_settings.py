"""What `train.py` decides of the training where it was not told, by the rows and the net."""

import math

import transformers
from train_arguments import FEW_TEXTS, ModelArguments, TrainingArguments
from train_model import takes_embeddings_of_a_model


LARGEST_ATTENTION = 2**28  # numbers in an evaluation batch: a gigabyte, a few times


def fill_in(args: TrainingArguments, model_args: ModelArguments, rows: int, max_length: int, labels: int) -> None:
    """Replaces the rate, the batches and the epochs that were left open in `args`.

    Args:
        rows: number of texts to train on.
        max_length: tokens at which a text is cut.
        labels: their number.
    """
    if args.learning_rate == 0:
        starts_anew = model_args.model_name_or_path is None and model_args.embeddings_from is None
        args.learning_rate = 4e-3 if starts_anew else 2e-3
    if args.per_device_train_batch_size == 0:
        args.per_device_train_batch_size = 32 if rows >= FEW_TEXTS else 16
    if args.num_train_epochs == 0:
        args.num_train_epochs = epochs_for(3000, rows, args)
    if args.per_device_eval_batch_size == 0:
        args.per_device_eval_batch_size = evaluation_batch_size(max_length, labels)


def embedding_rate_for(args: TrainingArguments, model_args: ModelArguments, has_vectors: bool) -> float:
    """The factor of the embeddings' learning rate; `has_vectors` says whether another model's or a file's are there.

    Raises:
        ValueError: if it is not 1 and the embeddings are new.
    """
    rate = args.embedding_rate
    if rate is None:
        rate = 0.1 if takes_embeddings_of_a_model(model_args) else 1.0
    if rate != 1 and model_args.model_name_or_path is None and not has_vectors:
        raise ValueError(
            f"`--embedding_rate` is {rate}, but the embeddings are new and have all to learn; say where they start "
            "with `--embeddings_from` or `--model_name_or_path`."
        )
    return rate


def epochs_for(steps: int, rows: int, args: transformers.TrainingArguments) -> float:
    """As many epochs as give so many steps, at least 3 and at most 30."""
    steps_of_one = rows / (args.train_batch_size * args.world_size * args.gradient_accumulation_steps)
    return float(min(max(math.ceil(steps / steps_of_one), 3), 30))


def evaluation_batch_size(max_length: int, labels: int) -> int:
    """At most 256 texts, of which label attention has a number a token and label."""
    return min(max(LARGEST_ATTENTION // (max_length * labels), 1), 256)


def agree_on_batches(args: transformers.TrainingArguments) -> None:
    """Has several processes draw the same order of the rows."""
    if args.world_size > 1 and args.device.type == "cpu":
        # The grouped order is drawn from each process's own generator, and dropout moves those of a CPU apart.
        args.train_sampling_strategy = "random"

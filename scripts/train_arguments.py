"""What `train.py` can be told: of the net, of the data, of the model card, and of the training.

Of the net, `pretrain.py` can be told the same, but for the head.
"""

from dataclasses import dataclass, field, fields
from typing import Literal

import torch
import transformers

from hf_rnn_multilabel import RnnMultilabelConfig
from hf_rnn_multilabel.evaluation.thresholds import ThresholdMethod
from hf_rnn_multilabel.model.configuration_rnn_multilabel import ObjectiveName


# A vocabulary of a hundred languages is most of a model.
LARGEST_WHOLE_VOCABULARY = 60_000
# Fewer texts are seen more often each: in smaller batches, with more dropout.
FEW_TEXTS = 10_000
DROPOUT_OF_FEW, DROPOUT = 0.4, 0.1
# 40 MB of weights.
LARGEST_BAG = 10_000_000


@dataclass
class EncoderArguments:
    model_name_or_path: str | None = field(
        default=None, metadata={"help": "A trained recurrent model to start from; else a new one is made."}
    )
    tokenizer_name: str | None = field(
        default=None, metadata={"help": "A tokenizer to take, by name or folder; else one is trained on the texts."}
    )
    tokenizer_algorithm: Literal["wordpiece", "bpe", "unigram", "word"] = field(
        default="wordpiece", metadata={"help": "wordpiece, bpe, unigram or word."}
    )
    vocab_size: int = field(default=30_000, metadata={"help": "Most tokens of a trained tokenizer."})
    lowercase: bool = field(default=True, metadata={"help": "Whether a trained tokenizer lower-cases."})
    embeddings_from: str | None = field(
        default=None,
        metadata={
            "help": "Start the embeddings from another model's (name or folder; its tokenizer is taken too) or from a "
            "file of word vectors (GloVe, word2vec)."
        },
    )
    prune_vocabulary: bool | None = field(
        default=None,
        metadata={
            "help": "true or false: whether to keep only those tokens of a model in `embeddings_from` that stand in "
            f"the training texts. Unless said, where it has more than {LARGEST_WHOLE_VOCABULARY:,}, and in "
            "pretraining, where all embeddings learn at the full rate."
        },
    )
    cell_type: Literal["rnn", "gru", "lstm"] = field(default="lstm", metadata={"help": "rnn, gru or lstm."})
    embedding_size: int = field(default=192, metadata={"help": "Unless `embeddings_from` brings its own."})
    hidden_size: int = field(default=256, metadata={"help": "Size of a state, per direction."})
    num_hidden_layers: int = field(default=1, metadata={"help": "Recurrent layers."})
    bidirectional: bool = field(default=True, metadata={"help": "Whether to read the text from both ends."})
    embedding_dropout: float | None = field(
        default=None,
        metadata={
            "help": f"On the embeddings. Unless said, {DROPOUT}, or {DROPOUT_OF_FEW} below {FEW_TEXTS:,} texts."
        },
    )
    word_dropout: float = field(default=0.0, metadata={"help": "Share of the words dropped in training."})
    hidden_dropout: float = field(default=0.4, metadata={"help": "Dropout between layers."})
    recurrent_dropout: float = field(default=0.0, metadata={"help": "DropConnect on the recurrent weights."})
    trust_remote_code: bool = field(default=False, metadata={"help": "Execute the code of `model_name_or_path`."})


@dataclass
class ModelArguments(EncoderArguments):
    pooling: list[str] | None = field(
        default=None,
        metadata={
            "help": "One or several of last, mean, max, attention, label_attention. Unless said, attention, max and "
            "label_attention, but for the last where no other model's embeddings are taken and most labels' names "
            "have no word in the training texts."
        },
    )
    label_name_queries: bool = field(
        default=True, metadata={"help": "Whether new label attention starts from the labels' names."}
    )
    label_correlation_size: int = field(
        default=0, metadata={"help": "Features of a residual block on the logits (CorNet), as 64; 0: none."}
    )
    bag_of_tokens: bool | None = field(
        default=None,
        metadata={
            "help": "true or false: whether to mix a logistic regression on the tokens into the trained net's logits, "
            "as far as validation says. Unless said, where its weights, one a label for each token and hashed pair, "
            f"are at most {LARGEST_BAG:,}."
        },
    )
    bag_pairs: int = field(
        default=65_536, metadata={"help": "Hashed pairs of neighbouring tokens in that regression; 0: none."}
    )
    classifier_dropout: float | None = field(
        default=None, metadata={"help": "Before the classifier. Unless said, by the number of texts too."}
    )
    objective: ObjectiveName = field(
        default="bce",
        metadata={
            "help": "The loss: bce, focal, asymmetric, zlpr, distribution_balanced, or expected_f1, which is meant "
            "for a model trained on another one (`model_name_or_path`)."
        },
    )
    objective_parameters: list[str] | None = field(
        default=None, metadata={"help": "Numbers for the loss, as gamma=2; see `losses.py` for their names."}
    )
    label_smoothing: float = field(default=0.0, metadata={"help": "How far a label is moved towards a half."})
    balance_positives: bool = field(
        default=False, metadata={"help": "Weigh the rare labels' positives up in the loss (capped)."}
    )

    @property
    def objective_numbers(self) -> dict[str, float | int] | None:
        """`objective_parameters` as the configuration takes them."""
        if self.objective_parameters is None:
            return None
        numbers: dict[str, float | int] = {}
        for given in self.objective_parameters:
            name, _, text = given.partition("=")
            try:
                number = int(text) if text.isdecimal() else float(text)
            except ValueError:
                number = None
            if number is None or name in numbers:
                raise ValueError(f"`--objective_parameters` holds {given!r}; give each name once, as gamma=2.")
            numbers[name] = number
        return numbers


# How a net is trained, whatever checkpoint it starts from.
TRAINING = {"objective", "objective_parameters", "label_smoothing", "bag_pairs"}
# The settings of the net, of which a tagger keeps its own.
ARCHITECTURE = {each.name for each in fields(RnnMultilabelConfig)} & {each.name for each in fields(ModelArguments)}
ARCHITECTURE -= TRAINING
# Those that change none of the encoder's weights; an encoder without a tagger's head takes them anew.
DROPOUTS = {"embedding_dropout", "word_dropout", "hidden_dropout", "recurrent_dropout"}
HEAD = {"pooling", "label_correlation_size", "classifier_dropout"} | DROPOUTS


def refuse_settings(args: EncoderArguments, names: set[str]) -> None:
    """An error where a setting is given that the checkpoint to start from has already decided."""
    changed = [name for name in sorted(names) if getattr(args, name) != getattr(type(args)(), name)]
    if changed:
        raise ValueError(
            f"{changed} are given, but the net is that of {args.model_name_or_path!r}; leave them out, or start a "
            "new net without `--model_name_or_path`."
        )


@dataclass
class DataArguments:
    dataset_name: str | None = field(default=None, metadata={"help": "On the Hub; else files, else the demo."})
    dataset_config_name: str | None = field(default=None, metadata={"help": "Its configuration."})
    dataset_revision: str | None = field(default=None, metadata={"help": "Its commit, branch or tag."})
    train_file: str | None = field(default=None, metadata={"help": "json, jsonl, csv or parquet, also .gz."})
    validation_file: str | None = field(default=None, metadata={"help": "Else a part of train is split off."})
    test_file: str | None = field(default=None, metadata={"help": "Evaluated once, at the end."})
    text_column: str | None = field(default=None, metadata={"help": "Else it is looked for."})
    label_column: list[str] | None = field(
        default=None, metadata={"help": "The label column, or several 0/1 columns; else it is looked for."}
    )
    label_separator: str | None = field(default=None, metadata={"help": "What separates labels within a string."})
    label_list: list[str] | None = field(
        default=None,
        metadata={"help": "All labels in the order of their ids, or a file of them; else those of train."},
    )
    unknown_labels: Literal["error", "drop"] = field(
        default="error", metadata={"help": "Labels that train lacks: error or drop."}
    )
    validation_share: float = field(default=0.1, metadata={"help": "Share of train split off when there is none."})
    max_length: int = field(default=256, metadata={"help": "Tokens at which a text is cut."})
    threshold_method: ThresholdMethod = field(
        default="shrinkage", metadata={"help": "How the model's thresholds are tuned; see `tune_thresholds`."}
    )
    linear_baseline: bool = field(default=False, metadata={"help": "Train TF-IDF with logistic regression beside it."})


@dataclass
class CardArguments:
    """What a stranger wants to know of the model, and only its author can say."""

    license: str | None = field(default=None, metadata={"help": "The model's licence, as apache-2.0."})
    language: list[str] | None = field(default=None, metadata={"help": "Languages of the texts, as en."})
    dataset_title: str | None = field(default=None, metadata={"help": "The data set's name; else its file's or id."})
    dataset_license: str | None = field(default=None, metadata={"help": "The data set's licence, as cc-by-4.0."})


@dataclass
class TrainingArguments(transformers.TrainingArguments):
    """The stock arguments with the defaults of this recipe."""

    output_dir: str = field(default="outputs/model", metadata={"help": "Everything is saved here."})
    learning_rate: float = field(
        default=0, metadata={"help": "Highest one. 0: 4e-3, or 2e-3 where the embeddings come from elsewhere."}
    )
    embedding_rate: float | None = field(
        default=None,
        metadata={
            "help": "Factor of the learning rate for embeddings from elsewhere; 0 leaves them as they start. Unless "
            "said, 0.1 for those of a model in `embeddings_from`, and 1 for all others."
        },
    )
    num_train_epochs: float = field(
        default=0, metadata={"help": "0: as many as give 3,000 steps, at least 3 and at most 30."}
    )
    per_device_train_batch_size: int = field(
        default=0, metadata={"help": f"Texts in a batch. 0: 32, or 16 below {FEW_TEXTS:,} texts."}
    )
    per_device_eval_batch_size: int = field(
        default=0, metadata={"help": "Texts in an evaluation batch. 0: 256, or fewer of long ones with many labels."}
    )
    warmup_steps: float = field(default=0.1, metadata={"help": "Steps, or the share of all steps below 1."})
    weight_decay: float = field(default=0.01, metadata={"help": "AdamW's."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When to evaluate."})
    save_strategy: str = field(default="epoch", metadata={"help": "When to save a checkpoint."})
    save_total_limit: int | None = field(default=1, metadata={"help": "Checkpoints to keep beside the best."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "Keep the best epoch's weights."})
    metric_for_best_model: str | None = field(default="f1_micro", metadata={"help": "On validation."})
    dataloader_pin_memory: bool = field(default=torch.cuda.is_available(), metadata={"help": "Of use to a GPU alone."})
    train_sampling_strategy: str = field(default="group_by_length", metadata={"help": "Batches of alike lengths."})
    restore_callback_states_from_checkpoint: bool = field(
        default=True, metadata={"help": "Else a run that goes on forgets how long it has waited for a gain."}
    )
    early_stopping_patience: int = field(default=3, metadata={"help": "Evaluations without a gain before the stop."})
    weight_averaging: float = field(
        default=0, metadata={"help": "Decay of the weights' moving average, as 0.999, which is then kept. 0: none."}
    )
    search_trials: int = field(
        default=0, metadata={"help": "Try so many settings of net and training on validation, and keep the best."}
    )
    retrain_with_validation: bool = field(
        default=False,
        metadata={"help": "With epoch and thresholds chosen, train a new net on train and validation for as long."},
    )
    hub_strategy: str = field(
        default="end",
        metadata={"help": "With `push_to_hub`, when: the finished folder, or checkpoints before it too."},
    )

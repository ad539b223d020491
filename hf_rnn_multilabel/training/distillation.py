"""A larger model as the teacher of a recurrent one: its logits, as a column of the training rows."""

from typing import Any

import numpy as np
import torch
from datasets import Dataset, Features, List, Value, concatenate_datasets
from scipy.special import expit
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding, PreTrainedModel, PreTrainedTokenizerBase, Trainer

from ..data.encoding import tokenize
from ..model.losses import IGNORED
from .objectives import check_distillation, distilled_loss


def label_order(config: Any, label_names: list[str]) -> list[int]:
    """Where a teacher's head has each label, matched by name.

    Args:
        config: the teacher's configuration, with one sigmoid a label.
        label_names: the labels in the order of their indices here.

    Returns:
        for each of `label_names` the index of its logit in the teacher.

    Raises:
        ValueError: if the teacher's labels are not the same, or its head is no sigmoid a label.
    """
    indices = {name: int(index) for index, name in config.id2label.items()}
    missing = [name for name in label_names if name not in indices]
    extra = [name for name in indices if name not in set(label_names)]
    if missing or extra:
        raise ValueError(
            f"The teacher lacks the labels {missing} and has {extra} besides; give one of the same labels, or name "
            "them alike in the `id2label` of its configuration."
        )
    if config.problem_type != "multi_label_classification":
        raise ValueError(
            f"The teacher's `problem_type` is {config.problem_type!r}; give one with a sigmoid a label. If it was "
            'trained as one, say so in its configuration: "multi_label_classification".'
        )
    return [indices[name] for name in label_names]


@torch.inference_mode()
def compute_logits(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
    *,
    max_length: int | None = None,
    batch_size: int = 32,
) -> np.ndarray:
    """A text classifier's logits; texts of alike length share a batch.

    Args:
        model: the classifier, on the device where it is to run; it is put into evaluation.
        tokenizer: its fast tokenizer.
        texts: the texts.
        max_length: tokens at which a text is cut; the tokenizer's own limit if that is lower.
        batch_size: texts in a batch.

    Returns:
        (texts, labels) float32, in the order of the texts and of the model's labels.
    """
    model.eval()
    limit = min(max_length or tokenizer.model_max_length, tokenizer.model_max_length)
    rows, _ = tokenize(Dataset.from_dict({"text": texts}), tokenizer, max_length=limit)
    # The longest come first: a batch that is too large for the memory shows at once.
    order = np.argsort([-len(ids) for ids in rows["input_ids"]], kind="stable")
    batches = DataLoader(
        rows.select(order),
        batch_size,
        collate_fn=DataCollatorWithPadding(tokenizer),
    )
    logits = [model(**batch.to(model.device)).logits.float().cpu().numpy() for batch in batches]
    return np.concatenate(logits)[np.argsort(order)]


def add_teacher(rows: Dataset, logits: np.ndarray) -> Dataset:
    """Gives rows the column "teacher_logits", for `DistillationTrainer`, and unknown labels the teacher's score.

    With a score for a label, a text without labels weighs as much in the loss as any other, and `Trainer` counts it.

    Args:
        rows: rows with the column "labels" of `encode_labels`.
        logits: (rows, labels), the teacher's, in the order of the labels.

    Returns:
        the rows; "labels" are 0, 1 or, where they were unknown (-100), between.

    Raises:
        ValueError: if the logits are not of the shape of the labels, or not finite.
    """
    labels = np.asarray(rows.with_format("numpy")["labels"][:])
    if logits.shape != labels.shape:
        raise ValueError(
            f"The teacher's logits have the shape {logits.shape}, the labels {labels.shape}; give one each."
        )
    wrong = np.flatnonzero(~np.isfinite(logits).all(1))
    if len(wrong):
        raise ValueError(
            f"{len(wrong)} rows have a teacher's logit that is not finite, as row {wrong[0]}: {logits[wrong[0]]}; "
            "give a teacher that is whole, in float32."
        )
    columns = {"labels": np.where(labels == IGNORED, expit(logits), labels), "teacher_logits": logits}
    features = Features(dict.fromkeys(columns, List(Value("float32"), length=labels.shape[1])))
    taught = Dataset.from_dict(columns, features=features)
    return concatenate_datasets([rows.remove_columns("labels"), taught], axis=1)


class DistillationTrainer(Trainer):
    """The stock `Trainer` for a student: rows with "teacher_logits" are learned from the teacher too.

    Args:
        distillation_weight: Weight of the teacher in the loss, from 0 to 1.
        distillation_temperature: Divisor of the logits of both, see `objectives.distillation`.
    """

    def __init__(
        self, *args: Any, distillation_weight: float = 0.5, distillation_temperature: float = 1.0, **kwargs: Any
    ):
        super().__init__(*args, **kwargs)
        check_distillation(distillation_weight, distillation_temperature)
        self.distillation_weight = distillation_weight
        self.distillation_temperature = distillation_temperature

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """As the stock one; with `teacher_logits` in the inputs, the loss is `objectives.distilled_loss`."""
        teacher_logits = inputs.pop("teacher_logits", None)
        if teacher_logits is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

        def loss(outputs, labels, num_items_in_batch=None):
            return distilled_loss(
                self.accelerator.unwrap_model(model),
                outputs.logits,
                labels,
                teacher_logits,
                weight=self.distillation_weight,
                temperature=self.distillation_temperature,
                num_items_in_batch=num_items_in_batch,
            )

        # The stock method scales what such a function returns for gradient accumulation and several processes.
        self.compute_loss_func = loss
        try:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        finally:
            self.compute_loss_func = None

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        columns: list[str] = self._signature_columns  # type: ignore[assignment]
        if "teacher_logits" not in columns:
            columns.append("teacher_logits")

"""The card of a trained folder, from its facts and nothing else."""

import re
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData
from jinja2 import Environment, StrictUndefined


TEMPLATE = Path(__file__).with_name("model_card_template.md")


def build_card(config: Any, facts: dict[str, Any]) -> ModelCard:
    """Render the model card.

    Args:
        config: the `RnnMultilabelConfig` of the model.
        facts: what `scripts/train.py` writes to metrics.json.

    Returns:
        a card whose `save(path)` writes the README.md.

    Raises:
        jinja2.UndefinedError, TypeError: for a fact that is missing; only the test split may be.
    """
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["multi-label", "rnn_multilabel", config.cell_type, "hf_rnn_multilabel"],
        metrics=["f1", "precision", "recall"],
    )
    # Not `ModelCard.from_template`, which leaves an empty line for each tag of the template and so breaks its tables.
    environment = Environment(trim_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined)
    environment.filters["plain"] = _plain
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return ModelCard(template.render(card_data=data.to_yaml().strip(), config=config, facts=facts))


def _plain(text: str) -> str:
    """A text that Markdown and HTML show as it is, in one line, also in the cell of a table."""
    # An underscore within a word is no markup.
    markup = r"[\\`*\[\]<>&|~$]|(?<![^\W_])_|_(?![^\W_])"
    return re.sub(markup, lambda match: f"&#{ord(match[0])};", " ".join(text.split()))

import ast
import re
from html import unescape
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from jinja2 import UndefinedError
from markdown_it import MarkdownIt

from hf_rnn_multilabel import RnnMultilabelConfig
from hf_rnn_multilabel.model_card import build_card


AWKWARD = {
    "a|b": "a|b",
    "`code`": "`code`",
    "*bold* and __bold__": "*bold* and __bold__",
    "two\n\nlines\tlong": "two lines long",
    "<script>alert('x')</script>": "<script>alert('x')</script>",
    "<b>": "<b>",
    "ends with \\": "ends with \\",
    "escaped \\| pipe": "escaped \\| pipe",
    "[link](javascript:x)": "[link](javascript:x)",
    "![image](http://x.example/y)": "![image](http://x.example/y)",
    "AT&amp;T": "AT&amp;T",
    "~~struck~~ $x$": "~~struck~~ $x$",
    "snake_case": "snake_case",
    "{{ facts }}": "{{ facts }}",
    "{% raw %}": "{% raw %}",
    "快乐 😀": "快乐 😀",
}


def metrics(model, thresholds, f1):
    return {
        "model": model,
        "thresholds": thresholds,
        "f1_micro": f1,
        "f1_macro": f1 / 2,
        "f1_samples": f1 / 4,
        "hamming_loss": f1 / 8,
        "subset_accuracy": f1 / 16,
        "lrap": 0.987654,
    }


def make_facts(names=("calm", "joy"), splits=("validation", "test"), **changes):
    """Facts of the form that `scripts/train.py` writes, each number another."""
    kinds = ("0.5", "one for all", "one per label")
    return {
        "name": "tagger",
        **{
            split: [metrics("this model", kind, 0.8123 - row / 9 - place / 50) for row, kind in enumerate(kinds)]
            for place, split in enumerate(splits)
        },
        "labels": [
            {
                "label": name,
                "support": 11 + index,
                "predicted": 1,
                "precision": 0.1 + 0.8 / (index + 1),
                "recall": 0.2 + 0.7 / (index + 1),
                "f1": 0.3 + 0.6 / (index + 1),
                "train": 1001 + index,
                "threshold": 0.0004321 + index / 1000,
            }
            for index, name in enumerate(names)
        ],
        "threshold_method": "shrunk",
        "label_form": "2 labels (calm, joy), read from names; a train row carries 1.50 on average.",
        "rows": {"train": 12345, "validation": 1300, "test": 1400},
        "truncated": {"train": 4321, "validation": 2, "test": 3},
        "max_length": 256,
        "parameters": 1234567,
        "steps": 3000,
        "seed": 17,
        "train_seconds": 61.7,
        "versions": {"torch": "2.13.0", "transformers": "5.23.0"},
    } | changes


def make_card(names=("calm", "joy"), **changes):
    config = RnnMultilabelConfig(id2label=dict(enumerate(names)), cell_type="gru", hidden_size=48)
    return build_card(config, make_facts(names, **changes))


def tables(card):
    """The tables of the rendered Markdown, each a list of rows of the cells' texts, markup left out."""
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(card.text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and found and token.level > 3:
            found[-1][-1].append("".join(part.content for part in token.children if part.type.startswith("text")))
    return found


def shown(card):
    """The card's text with its entities resolved."""
    return unescape(card.text)


def test_the_card_has_a_table_for_each_split_and_one_of_the_labels():
    test, validation, labels = tables(make_card())
    assert [len(table) for table in (test, validation, labels)] == [4, 4, 3]
    assert {len(row) for row in test + validation} == {6}
    assert {len(row) for row in labels} == {7}


def test_every_number_is_that_of_the_facts():
    facts = make_facts()
    test, validation, labels = tables(make_card())
    for table, split in ((test, "test"), (validation, "validation")):
        for cells, row in zip(table[1:], facts[split], strict=True):
            assert cells[0] == f"{row['model']}, {row['thresholds']}"
            keys = ("f1_micro", "f1_macro", "f1_samples", "hamming_loss", "subset_accuracy")
            assert [float(cell) for cell in cells[1:]] == pytest.approx([row[key] for key in keys], abs=6e-4)
    for cells, row in zip(labels[1:], facts["labels"], strict=True):
        assert cells[:2] == [row["label"], str(row["train"])]
        assert float(cells[2]) == pytest.approx(row["threshold"], rel=2e-3)
        assert cells[3] == str(row["support"])
        assert [float(cell) for cell in cells[4:]] == pytest.approx(
            [row[key] for key in ("precision", "recall", "f1")], abs=6e-3
        )
    text = shown(make_card())
    for number in ("12,345 texts", "1,400 texts", "1,300 texts", "1,234,567", "3,000 steps", "seed 17", "62 s"):
        assert number in text
    assert "256 tokens: 4,321 of the training texts" in text
    assert "torch 2.13.0, transformers 5.23.0." in text
    assert "(GRU, both directions, 1 \u00d7 48," in text


def test_pain_11_a_threshold_near_zero_is_not_shown_as_zero():
    assert tables(make_card())[-1][1][2] == "0.000432"


def test_no_number_is_of_a_metric_that_the_card_does_not_name():
    assert "0.988" not in make_card().text


@pytest.mark.parametrize("names", [("calm", "joy"), tuple(AWKWARD), tuple(f"label {i}" for i in range(201))])
@pytest.mark.parametrize("splits", [("validation", "test"), ("validation",)])
def test_tables_stand_between_empty_lines_and_have_none_within(names, splits):
    blocks = re.split(r"\n\s*\n", make_card(names, splits=splits).text.strip())
    with_rows = [block.splitlines() for block in blocks if re.search(r"^\|", block, re.MULTILINE)]
    assert len(with_rows) == len(splits) + 1
    for lines in with_rows:
        assert all(line.startswith("| ") and line.endswith(" |") for line in [lines[0], *lines[2:]])
        assert re.fullmatch(r"\|(---\|)+", lines[1])
        assert {line.count("|") for line in lines} == {lines[0].count("|")}
    assert "\n\n\n" not in make_card(names, splits=splits).text


def test_headings_and_sentences_are_apart_and_whole():
    text = make_card().text.strip()
    assert re.findall(r"^#+ .*$", text, re.MULTILINE) == [
        "# tagger",
        "## Use",
        "## Results",
        "## Labels",
        "## Training",
    ]
    assert not re.search(r"(?<!\n)\n#|^#.*\n(?!\n)", text, re.MULTILINE)
    assert ".." not in text
    assert "{{" not in text
    assert "{%" not in text


def test_without_a_test_split_the_card_says_so():
    card = make_card(splits=("validation",))
    assert len(tables(card)) == 2
    assert "On the test split" not in card.text
    assert "no test split" in card.text
    assert "what they give on the validation split" in card.text
    assert "no test split" not in make_card().text
    assert "what they give on the test split" in make_card().text


def test_a_missing_fact_is_an_error_and_never_a_hole():
    facts = make_facts()
    for name in facts:
        if name not in ("validation", "test"):
            rest = {key: value for key, value in facts.items() if key != name}
            with pytest.raises((UndefinedError, TypeError)):
                build_card(RnnMultilabelConfig(), rest)
    del facts["validation"][0]["f1_micro"]
    with pytest.raises(UndefinedError, match="f1_micro"):
        build_card(RnnMultilabelConfig(), facts)


@pytest.mark.parametrize(
    ("count", "rest"), [(200, None), (201, "The other 1 labels"), (3200, "The other 3,000 labels")]
)
def test_only_two_hundred_labels_are_listed(count, rest):
    card = make_card([f"label {index}" for index in range(count)])
    assert len(tables(card)[-1]) == 1 + 200
    assert ("The other" in card.text) == (rest is not None)
    assert rest is None or f"{rest} stand in metrics.json." in card.text


def test_label_names_with_markup_are_shown_as_they_are():
    card = make_card(tuple(AWKWARD))
    assert [row[0] for row in tables(card)[-1][1:]] == list(AWKWARD.values())


def test_label_names_with_markup_bring_no_html_and_no_links():
    description = f"{len(AWKWARD)} labels ({', '.join(AWKWARD)})."
    card = make_card(tuple(AWKWARD), name="<i>*my* `tagger`</i>", label_form=description)
    kinds = {token.type for block in MarkdownIt().parse(card.text) for token in [block, *(block.children or [])]}
    assert kinds.isdisjoint({"html_block", "html_inline", "link_open", "image", "em_open", "strong_open", "s_open"})
    assert "<script" not in card.text
    assert " ".join(description.split()) in shown(card)


@pytest.mark.parametrize("name", ["my-tagger", 'a "quoted" name', "back\\slash", "it's", "```", "über 快乐"])
def test_the_code_to_use_the_model_is_python_with_the_folders_name(name):
    code = re.search(r"```python\n(.*?)\n```\n", make_card(name=name).text, re.DOTALL)[1]
    (model,) = (
        keyword.value.value
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "model"
    )
    assert model == name


def test_the_metadata_is_yaml_that_the_hub_reads():
    content = str(make_card())
    assert content.startswith("---\n")
    metadata = yaml.safe_load(content.split("---\n")[1])
    assert metadata["library_name"] == "transformers"
    assert metadata["pipeline_tag"] == "text-classification"
    assert {"multi-label", "rnn_multilabel", "gru"} <= set(metadata["tags"])
    assert metadata["metrics"] == ["f1", "precision", "recall"]


@pytest.mark.parametrize("names", [("calm", "joy"), tuple(AWKWARD)])
def test_a_saved_card_loads_as_it_was(names, tmp_path):
    card = make_card(names)
    card.save(tmp_path / "README.md")
    loaded = ModelCard.load(Path(tmp_path / "README.md"))
    assert loaded.content == card.content
    assert loaded.data.to_dict() == card.data.to_dict()
    assert loaded.text.endswith("5.23.0.\n")

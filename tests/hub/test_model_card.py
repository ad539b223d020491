import ast
import json
import math
import re
from html import unescape
from itertools import combinations, pairwise
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData
from jinja2 import UndefinedError
from markdown_it import MarkdownIt

from hf_rnn_multilabel import RnnMultilabelConfig, RnnMultilabelForSequenceClassification
from hf_rnn_multilabel.data.tokenization import train_tokenizer
from hf_rnn_multilabel.hub.model_card import build_card


AWKWARD = {
    "a|b": "a|b",
    "`code`": "`code`",
    "*bold* and __bold__": "*bold* and __bold__",
    "two\n\nlines\tlong": "two lines long",
    "carriage\rreturn": "carriage return",
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
    "# C #": "# C #",
    "---": "---",
    "yaml: [no, 'off']": "yaml: [no, 'off']",
    "turned\u202eround\x00": "turnedround",
    "x" * 500: "x" * 47 + "…",
    "快乐 😀": "快乐 😀",
}
SECTIONS = [
    "Use",
    "Results",
    "Labels",
    "Thresholds",
    "Plots",
    "Training data",
    "Training procedure",
    "Size and speed",
    "Limitations",
    "Versions",
    "Citation",
]
CARDS = Path(__file__).parents[2] / "model_cards"


def metrics(model, thresholds, f1):
    return {
        "model": model,
        "thresholds": thresholds,
        "f1_micro": f1,
        "f1_macro": f1 / 2,
        "f1_weighted": f1 / 3,
        "f1_samples": f1 / 4,
        "precision_micro": f1 / 5,
        "precision_macro": f1 / 6,
        "recall_micro": f1 / 7,
        "recall_macro": f1 / 9,
        "hamming_loss": f1 / 8,
        "subset_accuracy": f1 / 16,
        "lrap": 0.987654,
        "map_macro": math.nan,
        "precision_at_1": 0.976543,
    }


def make_facts(names=("calm", "joy"), splits=("validation", "test"), without=(), **changes):
    """All facts of the form that `scripts/train.py` writes, each number another."""
    kinds = ("0.5", "one for all", "one per label")
    facts = {
        "name": "tagger",
        "license": "apache-2.0",
        "language": ["en", "no"],
        "dataset": {
            "name": "Moods",
            "id": "someone/moods",
            "config": "simple",
            "license": "cc-by-4.0",
            "citation": "@misc{moods,\n  title={Moods}\n}",
            "revisions": {"train": "1a" * 20, "validation": "2b" * 20, "test": "3c" * 20},
        },
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
        "calibration": {"expected_calibration_error": 0.012345, "bins": 15},
        "plots": {"plots/one.png": "The first. What it shows.", "plots/two.png": "The second. And this."},
        "label_form": "2 labels (calm, joy), read from names; a train row carries 1.50 on average.",
        "rows": {"train": 12345, "validation": 1300, "test": 1400},
        "truncated": {"train": 4321, "validation": 2, "test": 3},
        "max_length": 256,
        "parameters": 1234567,
        "bytes": 4_938_268,
        "steps": 3000,
        "seed": 17,
        "train_seconds": 61.7,
        "training": {
            "batch_size": 33,
            "learning_rate": 0.00234,
            "schedule": "linear",
            "warmup": 0.15,
            "weight_decay": 0.013,
            "optimizer": "adamw_torch_fused",
            "epochs": 6.0,
            "best_epoch": 4.0,
            "selected_by": "f1_micro",
            "embeddings_from": "MiniLM",
            "started_from": None,
            "tokenizer": "a wordpiece one of the training texts",
        },
        "speed": {"texts_per_second": 2712.3, "batch_size": 257, "threads": 2, "processor": "2 cores, a small CPU"},
        "versions": {"torch": "2.13.0", "transformers": "5.23.0"},
    } | changes
    return {key: value for key, value in facts.items() if key not in without}


def make_config(names=("calm", "joy"), **arguments):
    return RnnMultilabelConfig(
        **{"id2label": dict(enumerate(names)), "cell_type": "gru", "hidden_size": 48} | arguments
    )


def make_card(names=("calm", "joy"), **changes):
    return build_card(make_config(names), make_facts(names, **changes))


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


def section(card, title):
    """What stands below a heading, and None if there is no such heading."""
    found = re.search(rf"^## {title}\n\n(.*?)(?=^## |\Z)", shown(card), re.MULTILINE | re.DOTALL)
    return found and found[1]


def headings(card):
    tokens = MarkdownIt("commonmark").parse(card.text)
    return [after.content for token, after in pairwise(tokens) if token.tag == "h2" and token.nesting == 1]


def test_the_whole_card_has_its_sections_in_order():
    assert headings(make_card()) == SECTIONS


def test_without_facts_the_card_tells_what_the_configuration_tells():
    card = build_card(make_config())
    assert headings(card) == ["Use"]
    assert card.text.strip().startswith(
        "# model\n\nA recurrent multi-label tagger. It gives a text those of its 2 labels"
    )
    assert "GRU in both directions (layers: 1, hidden size: 48), attention and max pooling." in card.text
    assert card.data.to_dict().keys() == {"library_name", "pipeline_tag", "tags"}
    assert build_card(make_config(), {"name": "model"}).content == card.content


def test_a_net_of_one_direction_is_not_said_to_have_two():
    card = build_card(make_config(bidirectional=False, pooling="label_attention", num_hidden_layers=2))
    assert "GRU (layers: 2, hidden size: 48), label attention pooling." in card.text
    card = build_card(make_config(label_correlation_size=29))
    assert "attention and max pooling, a correlation of the labels by 29 features." in card.text
    card = build_card(make_config(num_bigram_buckets=0))
    assert "pooling; a part of each logit comes from a logistic regression on the text's tokens." in card.text
    card = build_card(make_config(num_bigram_buckets=64))
    assert "on the text's tokens and pairs of them." in card.text


@pytest.mark.parametrize(
    ("keys", "gone"),
    [
        ({"test", "validation"}, {"Results"}),
        ({"labels"}, {"Labels"}),
        ({"threshold_method"}, {"Thresholds"}),
        ({"plots"}, {"Plots"}),
        ({"dataset"}, {"Citation"}),
        ({"dataset", "rows", "label_form"}, {"Training data", "Citation"}),
        ({"training", "steps"}, {"Training procedure"}),
        ({"bytes", "speed"}, {"Size and speed"}),
        ({"versions"}, {"Versions"}),
    ],
)
def test_a_section_without_its_facts_is_absent(keys, gone):
    assert headings(make_card(without=keys)) == [title for title in SECTIONS if title not in gone]


@pytest.mark.parametrize("missing", [1, 2, -1])
def test_whatever_is_missing_no_heading_is_empty_and_no_sentence_is_broken(missing):
    keys = sorted(make_facts().keys() - {"name"})
    for without in combinations(keys, missing % len(keys)):
        text = make_card(without=without).text.strip()
        assert not re.search(r"^#.*\n+(?=#|\Z)", text, re.MULTILINE), without
        assert not re.search(r"(?<!\n)\n#|^#.*\n(?!\n)|\n\n\n", text, re.MULTILINE), without
        prose = re.sub(r"```.*?```|`.*?`", "code", text, flags=re.DOTALL)
        assert not re.search(r"(?<!\.)\.\.(?!\.)|None|nan|\{\{|\{%|,,|  \w|\(\)", prose), without


def test_the_facts_of_the_least_run_render():
    facts = make_facts()
    old = {key: facts[key] for key in facts if key not in ("dataset", "license", "language", "calibration", "plots")}
    for key in ("bytes", "training", "speed"):
        old.pop(key, None)
    card = build_card(make_config([row["label"] for row in old["labels"]]), old)
    missing = ("Plots", "Size and speed", "Citation")
    assert headings(card) == [title for title in SECTIONS if title not in missing]
    assert "model-index" not in card.content and "license" not in card.data.to_dict()
    assert len(tables(card)[2]) == 1 + len(old["labels"])


def test_the_same_facts_give_the_same_bytes_also_when_they_were_a_file():
    facts = make_facts()
    content = build_card(make_config(), facts).content
    assert build_card(make_config(), facts).content == content
    assert build_card(make_config(), json.loads(json.dumps(facts))).content == content


def test_every_number_is_that_of_the_facts():
    facts = make_facts()
    test, validation, labels, data, training = tables(make_card())
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
    assert data == [
        ["split", "texts", "cut at 256 tokens", "revision"],
        ["train", "12,345", "4,321", "1a" * 20],
        ["validation", "1,300", "2", "2b" * 20],
        ["test", "1,400", "3", "3c" * 20],
    ]
    assert dict(training[1:]) == {
        "optimizer": "adamw_torch_fused, weight decay 0.013",
        "learning rate": "0.00234, schedule linear, warm-up 0.15 of the steps",
        "batch size": "33",
        "epochs": "6 planned; the weights of epoch 4 kept, of the best f1_micro on the validation split",
        "steps": "3,000",
        "seed": "17",
        "time": "62 s",
        "tokenizer": "a wordpiece one of the training texts",
        "embeddings start from": "MiniLM",
        "dropout": "embeddings 0.4, words 0.0, between layers 0.4, recurrent weights 0.0, classifier 0.4",
        "loss": "bce",
    }
    card = make_card()
    assert "(1,400 texts)" in card.text and "(1,300 texts)" in card.text and "1,234,567 parameters" in card.text
    assert section(card, "Size and speed") == (
        "The weights take 4.9 MB.\n"
        "The model tagged 2,712 texts a second, 257 at a time (threads: 2; 2 cores, a small CPU).\n\n"
    )
    assert section(card, "Versions") == "torch 2.13.0, transformers 5.23.0.\n\n"


def test_no_number_stands_in_the_text_that_is_neither_in_the_facts_nor_in_the_configuration():
    card = make_card(without=("dataset", "plots", "versions", "label_form"))
    text = re.sub(r"```.*?```", "", shown(card), flags=re.DOTALL)
    kept = {"2", "1", "48", "0.5", "20", "95", "15", "0", "0.0", "0.4", "F1"}
    numbers = set(re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?", text)) - kept
    values = [*_leaves(make_facts()), 4.938268, 98 / 1400**0.5]
    for number in numbers:
        digits = len(number.partition(".")[2])
        value = float(number.replace(",", ""))
        assert any(abs(value - leaf) <= 0.51 * 10**-digits for leaf in values), number


def _leaves(value):
    if isinstance(value, dict):
        value = value.values()
    if isinstance(value, int | float):
        return [value]
    return [] if isinstance(value, str) or value is None else [leaf for part in value for leaf in _leaves(part)]


def test_pain_11_a_threshold_near_zero_is_not_shown_as_zero():
    assert tables(make_card())[2][1][2] == "0.000432"


@pytest.mark.parametrize(
    ("method", "row", "words"),
    [
        ("shrunk", "one per label", "its calibrated scores expect"),
        ("per_label", "per_label", "its own largest F1; a label that no text"),
        ("one_micro", "one for all", "one threshold, that of the largest micro-F1"),
        ("one_macro", "one_macro", "one threshold, that of the largest macro-F1"),
    ],
)
def test_the_card_says_how_the_thresholds_were_chosen_and_which_row_they_give(method, row, words):
    facts = make_facts(threshold_method=method)
    for place, split in enumerate(("test", "validation")):
        if method in ("per_label", "one_macro"):
            facts[split] = [*facts[split], metrics("this model", method, 0.3333 + place / 9)]
    card = build_card(make_config(), facts)
    assert f'The model carries the thresholds of "this model, {row}".' in section(card, "Results")
    assert words in section(card, "Thresholds") and "1,300 texts of the validation split" in section(
        card, "Thresholds"
    )
    expected = {split: {r["thresholds"]: r for r in facts[split]}[row]["f1_micro"] for split in ("test", "validation")}
    results = {r.dataset_split: r.metric_value for r in card.data.eval_results if r.metric_name == "F1 (micro)"}
    assert results == pytest.approx(expected, rel=1e-3)


def test_a_method_that_the_card_cannot_explain_is_an_error():
    with pytest.raises(UndefinedError, match="guessed"):
        make_card(threshold_method="guessed")


def test_the_linear_model_stands_beside_this_one_and_is_explained():
    facts = make_facts()
    facts["test"] = [*facts["test"], metrics("TF-IDF + LR", "one per label", 0.123)]
    card = build_card(make_config(), facts)
    assert tables(card)[0][-1][:2] == ["TF-IDF + LR, one per label", "0.123"]
    assert "linear model for comparison" in card.text and "linear model" not in make_card().text
    assert 0.123 not in [result.metric_value for result in card.data.eval_results]


def test_without_a_test_split_the_card_says_so():
    card = make_card(splits=("validation",))
    assert len(tables(card)) == 4
    assert "On the test split" not in card.text and "of the test split" not in card.text
    assert (
        "There was no test split: the figures are of the very rows that the thresholds and the epoch were" in card.text
    )
    assert "carries, on the validation split:" in section(card, "Labels")
    assert section(card, "Plots").startswith("On the validation split.")
    assert {result.dataset_split for result in card.data.eval_results} == {"validation"}
    assert "no test split" not in make_card().text
    assert "carries, on the test split:" in section(make_card(), "Labels")
    assert "that the thresholds were chosen on" in make_card(splits=("validation",), without=["training"]).text


@pytest.mark.parametrize("group", ["dataset", "training", "speed", "calibration", "rows", "truncated"])
def test_a_fact_that_is_missing_within_a_group_is_an_error_and_never_a_hole(group):
    for name in make_facts()[group]:
        facts = make_facts()
        del facts[group][name]
        if (group, name) == ("rows", "train"):
            del facts["max_length"], facts["truncated"]
            facts["rows"] = {}
        with pytest.raises((UndefinedError, KeyError)):
            build_card(make_config(), facts)


@pytest.mark.parametrize("key", ["f1_micro", "f1_macro", "f1_samples", "hamming_loss", "subset_accuracy"])
def test_a_metric_that_the_card_shows_and_the_facts_lack_is_an_error(key):
    facts = make_facts()
    del facts["validation"][0][key]
    with pytest.raises(UndefinedError, match=key):
        build_card(make_config(), facts)


@pytest.mark.parametrize("count", [200, 201, 1200])
def test_only_the_two_hundred_labels_of_the_most_training_texts_are_listed(count):
    card = make_card([f"label {index}" for index in range(count)])
    found = [row[0] for row in tables(card)[2][1:]]
    assert len(found) == 200
    assert ("stand in metrics.json" in card.text) == (count > 200)
    if count > 200:
        assert set(found) == {f"label {index}" for index in range(count - 200, count)}
        assert f"the others ({count - 200:,}) stand in metrics.json." in card.text


def test_the_limitations_are_those_that_the_facts_show():
    facts = make_facts(names=[f"mood {index}" for index in range(30)])
    for index, row in enumerate(facts["labels"]):
        row["train"] = 3 * index
        row["support"] = index
    text = section(build_card(make_config([f"mood {index}" for index in range(30)]), facts), "Limitations")
    lines = text.strip().splitlines()
    assert all(re.fullmatch(r"- [A-Z].*\.", line) for line in lines) and len(lines) == 9
    assert (
        "Fewer than 20 training texts: 7 of 30 labels (mood 0, mood 1, mood 2, mood 3, mood 4, mood 5, mood 6)" in text
    )
    assert "Fewer than 20 texts of the test split: 20 of 30 labels (mood 0, " in text and "mood 7 and 12 more)" in text
    assert "1,400 texts: chance alone" in text and "by up to 2.6 points" in text
    assert "one run (seed 17)" in text
    assert "chosen on 1,300 texts" in text
    assert "cut at 256 tokens (longer: 4,321 of 12,345 training texts)" in text
    assert "made for texts in en, no and" in text
    assert "calibration error is 0.0123 (15 bins" in text


def test_labels_with_texts_enough_are_no_limitation():
    facts = make_facts()
    for row in facts["labels"]:
        row["train"] = row["support"] = 20
    assert "Fewer than" not in build_card(make_config(), facts).text
    assert "Fewer than 20 texts of the test split: 2 of 2 labels (calm, joy)" in make_card().text


def test_a_calibration_error_that_is_not_a_number_is_no_sentence():
    card = make_card(calibration={"expected_calibration_error": math.nan, "bins": 15})
    assert "calibration" not in card.text and "nan" not in card.content.replace("finance", "")


def test_plots_are_images_with_a_text_for_those_who_do_not_see_them():
    card = make_card(plots={"plots/one two.png": "A *title*. What it shows [here]."}, without=["calibration"])
    tokens = MarkdownIt("commonmark").parse(card.text)
    (image,) = (part for token in tokens for part in token.children or [] if part.type == "image")
    assert image.attrs["src"] == "plots/one%20two.png" and image.content == "A &#42;title&#42;"
    assert "A *title*. What it shows [here].\n" in section(card, "Plots")
    assert "Plots" not in headings(make_card(plots={}))


def test_the_data_set_is_named_and_linked_where_the_hub_has_it():
    text = section(make_card(), "Training data")
    assert "Moods, [someone/moods](https://huggingface.co/datasets/someone/moods) on the Hub" in text
    assert "configuration simple, licence cc-by-4.0." in text and "1.50 on average." in text
    dataset = {"name": "mine.csv", "id": None, "config": None, "license": None, "citation": None}
    card = make_card(dataset=dataset | {"revisions": {"train": "sha256:0123456789abcdef"}})
    assert section(card, "Training data").startswith("The data set: mine.csv.\nThe labels: ")
    assert [row[3] for row in tables(card)[3][1:]] == ["sha256:0123456789abcdef", "n/a", "n/a"]
    assert section(card, "Citation") is None
    assert "datasets" not in card.data.to_dict()
    assert {result.dataset_type for result in card.data.eval_results} == {"unknown"}


@pytest.mark.parametrize(
    "citation",
    ["@misc{a}", "```\n<script>x</script>\n```", "~~~\n````\n# no heading", "a\r\n---\rb\x0c\n`````", "  \n{{ x }}\n"],
)
def test_no_fence_within_the_citation_breaks_out_of_its_block(citation):
    card = make_card(dataset=make_facts()["dataset"] | {"citation": citation})
    blocks = [token for token in MarkdownIt("commonmark").parse(card.text) if token.type == "fence"]
    expected = [line.rstrip("\x0c") for line in citation.strip().splitlines()]
    assert blocks[-1].content.splitlines() == expected
    assert headings(card) == SECTIONS
    assert "\r" not in card.content
    assert card.text.endswith("`\n")


@pytest.mark.parametrize("names", [("calm", "joy"), tuple(AWKWARD), tuple(f"label {i}" for i in range(201))])
@pytest.mark.parametrize("splits", [("validation", "test"), ("validation",)])
def test_tables_stand_between_empty_lines_and_have_none_within(names, splits):
    blocks = re.split(r"\n\s*\n", make_card(names, splits=splits).text.strip())
    with_rows = [block.splitlines() for block in blocks if re.search(r"^\|", block, re.MULTILINE)]
    assert len(with_rows) == len(splits) + 3
    for lines in with_rows:
        assert all(line.startswith("| ") and line.endswith(" |") for line in [lines[0], *lines[2:]])
        assert re.fullmatch(r"\|(---\|)+", lines[1])
        assert {line.count("|") for line in lines} == {lines[0].count("|")}
    assert "\n\n\n" not in make_card(names, splits=splits).text


def test_label_names_with_markup_are_shown_as_they_are():
    card = make_card(tuple(AWKWARD))
    assert [row[0] for row in tables(card)[2][1:]] == list(AWKWARD.values())
    facts = make_facts(tuple(AWKWARD))
    for row in facts["labels"]:
        row["train"] = 1
    listed = section(build_card(make_config(tuple(AWKWARD)), facts), "Limitations")
    assert f"({', '.join(list(AWKWARD.values())[:8])} and {len(AWKWARD) - 8} more)" in listed


def test_a_word_that_no_page_is_wide_enough_for_is_cut_wherever_it_stands():
    long = "y" * 500
    facts = make_facts((long, "joy"), label_form=f"2 labels (calm, {long}, joy), read from names.", license="z" * 60)
    facts["labels"][0]["train"] = 1
    card = build_card(make_config((long, "joy")), facts)
    assert f"(calm, {'y' * 59}… joy)" in section(card, "Training data")
    # The first paragraph, the table, the form of the labels, and two limitations.
    assert [len(found) for found in re.findall("y+(?=…)", card.text)] == [39, 47, 59, 39, 39]
    assert card.data.license == "z" * 60


@pytest.mark.parametrize("awkward", list(AWKWARD))
def test_no_text_of_the_facts_brings_html_links_or_headings(awkward):
    facts = make_facts()
    plain = {"language": [awkward], "label_form": awkward, "license": awkward, "name": awkward}
    facts |= plain | {"versions": {awkward: awkward}, "plots": {"plots/one.png": f"Title. {awkward}"}}
    facts["training"] |= dict.fromkeys(("schedule", "optimizer", "embeddings_from", "started_from"), awkward)
    facts["training"] |= {"tokenizer": awkward, "selected_by": awkward}
    facts["dataset"] |= dict.fromkeys(("name", "config", "license", "citation"), awkward)
    facts["dataset"]["revisions"] = dict.fromkeys(("train", "validation", "test"), awkward)
    facts["speed"] |= {"processor": awkward}
    card = build_card(make_config([awkward, "joy"]), facts)
    tokens = [token for block in MarkdownIt().parse(card.text) for token in [block, *(block.children or [])]]
    links = [token.attrs["href"] for token in tokens if token.type == "link_open"]
    assert links == ["https://huggingface.co/datasets/someone/moods"]
    kinds = {token.type for token in tokens}
    assert kinds.isdisjoint({"html_block", "html_inline", "em_open", "strong_open", "s_open", "hr", "lheading"})
    assert headings(card) == SECTIONS
    assert sum(token.type == "image" for token in tokens) == 1
    assert "<script" not in re.sub(r"```.*?```", "", card.text, flags=re.DOTALL)
    loaded = ModelCard(card.content)
    assert loaded.data.eval_results == card.data.eval_results and loaded.text == card.text
    assert len(loaded.data.model_name) <= 80 and loaded.data.to_dict().keys() == make_card().data.to_dict().keys()


@pytest.mark.parametrize(
    "name", ["my-tagger", "user/tagger", 'a "quoted" name', "back\\slash", "it's", "```", "über 快乐 😀"]
)
def test_the_code_to_use_the_model_is_python_with_the_folders_name(name):
    blocks = re.findall(r"```python\n(.*?)\n```\n", make_card(name=name).text, re.DOTALL)
    constants = [
        node.value for block in blocks for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Constant)
    ]
    assert len(blocks) == 3 and constants.count(name) == 3


def test_the_code_of_the_card_tags_a_text_the_same_in_all_three_ways(tmp_path):
    tokenizer = train_tokenizer(["a text", "another text"] * 3, model_max_length=4)
    config = make_config(vocab_size=len(tokenizer), embedding_size=4, initializer_range=1, thresholds={"joy": 0.01})
    RnnMultilabelForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    card = build_card(config, {"name": str(tmp_path)})
    pipeline, by_hand, package = re.findall(r"```python\n(.*?)\n```\n", card.text, re.DOTALL)
    names = {}
    exec(by_hand, names)
    exec(pipeline, names)
    assert "joy" in names["tags"]
    assert {tag["label"] for tag in names["tagger"]("a text")} == set(names["tags"])
    (first,) = names["tagger"]("a text")[:1]
    exec(package, names)
    assert names["tagger"]("a text")[0] == first
    assert names["tagger"].model.config.label_names == ["calm", "joy"]


def test_the_metadata_is_yaml_that_the_hub_reads():
    content = str(make_card())
    assert content.startswith("---\n")
    metadata = yaml.safe_load(content.split("---\n")[1])
    assert metadata["library_name"] == "transformers"
    assert metadata["pipeline_tag"] == "text-classification"
    assert {"multi-label", "rnn_multilabel", "gru", "hf_rnn_multilabel"} <= set(metadata["tags"])
    assert metadata["metrics"] == ["f1", "precision", "recall"]
    assert metadata["datasets"] == ["someone/moods"]
    assert metadata["license"] == "apache-2.0"
    assert metadata["language"] == ["en", "no"]
    assert ModelCardData(ignore_metadata_errors=False, **metadata).to_dict() == metadata


def test_the_results_in_the_metadata_are_of_this_model_with_its_own_thresholds():
    results = make_card().data.eval_results
    kept = {split: make_facts()[split][2] for split in ("test", "validation")}
    names = {
        "F1 (micro)": "f1_micro",
        "F1 (macro)": "f1_macro",
        "F1 (weighted)": "f1_weighted",
        "F1 (samples)": "f1_samples",
        "Precision (micro)": "precision_micro",
        "Precision (macro)": "precision_macro",
        "Recall (micro)": "recall_micro",
        "Recall (macro)": "recall_macro",
        "Hamming loss": "hamming_loss",
        "Subset accuracy": "subset_accuracy",
        "Label-ranking average precision": "lrap",
        "Precision at 1": "precision_at_1",
    }
    assert [(r.dataset_split, r.metric_name) for r in results] == [
        (s, n) for s in ("test", "validation") for n in names
    ]
    for result in results:
        assert result.metric_value == pytest.approx(kept[result.dataset_split][names[result.metric_name]], rel=1e-3)
        assert (result.dataset_name, result.dataset_type, result.dataset_config) == (
            "Moods",
            "someone/moods",
            "simple",
        )
        assert result.dataset_revision == {"test": "3c", "validation": "2b"}[result.dataset_split] * 20
        # What the Hub takes as the type of a data set.
        assert re.fullmatch(r"(?:[\w-]+/)?[\w.-]+", result.dataset_type)
    averages = {r.metric_name: r.metric_args for r in results if r.metric_type in ("f1", "precision", "recall")}
    assert all(args == {"average": re.search(r"\((\w+)\)", name)[1]} for name, args in averages.items())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_that_is_none_gets_into_the_metadata(value):
    facts = make_facts()
    for split in ("test", "validation"):
        facts[split] = [row | {"lrap": value, "f1_micro": value} for row in facts[split]]
    card = build_card(make_config(), facts)
    head = card.content.split("---\n")[1]
    assert not re.search(r"nan|inf\b", head, re.IGNORECASE) and "Label-ranking" not in head
    assert tables(card)[0][1][1] == "n/a"


@pytest.mark.parametrize("missing", ["dataset", "threshold_method", "test"])
def test_a_result_without_all_its_facts_is_not_in_the_metadata(missing):
    data = make_card(without=[missing]).data
    splits = {result.dataset_split for result in data.eval_results or []}
    assert splits == ({"validation"} if missing == "test" else set())
    assert ("model-index" in data.to_dict()) == bool(splits) and "model_name" not in data.to_dict()


@pytest.mark.parametrize("names", [("calm", "joy"), tuple(AWKWARD)])
def test_a_saved_card_loads_as_it_was(names, tmp_path):
    card = make_card(names)
    card.save(tmp_path / "README.md")
    loaded = ModelCard.load(tmp_path / "README.md")
    assert loaded.content == card.content
    assert loaded.data.to_dict() == card.data.to_dict()
    assert loaded.data.eval_results == card.data.eval_results and len(loaded.data.eval_results) == 24
    assert loaded.data.model_name == "tagger"
    assert loaded.text.endswith("```\n") and not loaded.text.endswith("\n\n")


@pytest.mark.parametrize(("precision", "is_said"), [("bfloat16", True), ("float32", False)])
def test_half_precision_is_told_and_whole_is_not(precision, is_said):
    facts = make_facts()
    facts["training"]["precision"] = precision
    text = build_card(make_config(), facts).text
    assert ("| precision | mixed" in text) == (f"| precision | mixed, {precision} |\n" in text) == is_said


@pytest.mark.parametrize("name", sorted(path.parent.name for path in CARDS.glob("*/metrics.json")))
def test_the_cards_of_this_repository_are_those_of_their_facts(name):
    facts = json.loads((CARDS / name / "metrics.json").read_text(encoding="utf-8"))
    config = RnnMultilabelConfig.from_pretrained(CARDS / name)
    assert (CARDS / name / "README.md").read_text(encoding="utf-8") == str(build_card(config, facts))
    assert {path.relative_to(CARDS / name).as_posix() for path in (CARDS / name).glob("plots/*")} == set(
        facts["plots"]
    )
    assert f"## {name}\n" in (CARDS / "README.md").read_text(encoding="utf-8")

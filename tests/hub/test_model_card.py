import ast
import math
import re
from dataclasses import replace
from html import unescape
from itertools import combinations, pairwise
from pathlib import Path

import pytest
import yaml
from hub_folder import label_result, make_dataset_info, make_run_info, make_training_info, metric_row
from huggingface_hub import ModelCard, ModelCardData
from jinja2 import UndefinedError
from markdown_it import MarkdownIt

from hf_rnn_multilabel import RnnMultilabelConfig, RnnMultilabelForSequenceClassification
from hf_rnn_multilabel.data import train_tokenizer
from hf_rnn_multilabel.hub.model_card import build_card, holds_card, save_card
from hf_rnn_multilabel.hub.run_info import (
    CalibrationInfo,
    DistillationInfo,
    RetrainingInfo,
    RunInfo,
    SearchInfo,
    SpeedInfo,
    SplitInfo,
)


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
    "{{ run_info }}": "{{ run_info }}",
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


METHODS = ["global_micro", "global_macro", "per_label", "shrinkage"]
SHOWN = ["f1_micro", "f1_macro", "f1_samples", "hamming_loss", "subset_accuracy"]


def make_config(names=("calm", "joy"), **arguments):
    values = {
        "id2label": dict(enumerate(names)),
        "cell_type": "gru",
        "hidden_size": 48,
        "pooling": ["attention", "max"],
    }
    return RnnMultilabelConfig(**values | arguments)


def make_card(names=("calm", "joy"), **changes):
    return build_card(make_config(names), make_run_info(names, **changes))


def make_longest_card(**changes):
    """A card with every sentence that is not of a method of thresholds."""
    run_info = make_run_info(
        [f"mood {index}" for index in range(300)],
        labels=[label_result(f"mood {index}", index, train_support=index) for index in range(300)],
        search=SearchInfo(trials=7, metric="f1_micro", value=0.5, settings={}),
        retraining=RetrainingInfo(rows=13645, epochs=4, steps=2100, seconds=70.2),
        distillation=DistillationInfo(
            teachers=["one", "two"], fine_tuned=True, weight=0.5, temperature=2, unlabelled_rows=9876
        ),
        training=make_training_info(
            precision="bfloat16",
            mixing_weight=0.35,
            embedding_lr_factor=0.1,
            label_name_queries=5,
            started_from="checkpoint",
            weight_averaging=0.998,
        ),
        **changes,
    )
    more = [metric_row(model, "0.5", 0.4) for model in ("TF-IDF + LR", "teacher")]
    run_info = replace(run_info, results={split: [*rows, *more] for split, rows in run_info.results.items()})
    settings = {"num_bigram_buckets": 64, "label_correlation_size": 29, "label_smoothing": 0.1, "positive_weights": 2}
    return build_card(make_config([f"mood {index}" for index in range(300)], **settings), run_info)


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


def test_without_run_information_the_card_says_what_the_configuration_says():
    card = build_card(make_config())
    assert headings(card) == ["Use"] and card.text.strip().startswith("# model\n")
    assert "GRU, bidirectional (layers: 1, hidden size: 48), attention and max pooling." in card.text
    assert card.data.to_dict().keys() == {"library_name", "pipeline_tag", "tags"}
    assert build_card(make_config(), RunInfo(name="model")).content == card.content


@pytest.mark.parametrize(
    ("settings", "shown_words", "other_words"),
    [
        (
            {"bidirectional": False, "pooling": "label_attention"},
            ["label attention pooling"],
            ["bidirectional", "wide"],
        ),
        ({"label_correlation_size": 29}, ["by 29 features"], ["wide"]),
        ({"num_bigram_buckets": 0}, ["wide head", "one-vs-rest logistic regression", "0.35"], ["bigram"]),
        ({"num_bigram_buckets": 65536}, ["wide head", "65,536 hashed bigram buckets", "0.35"], []),
    ],
)
def test_the_card_describes_the_parts_that_the_model_has(settings, shown_words, other_words):
    run_info = make_run_info(training=make_training_info(mixing_weight=0.35))
    first = build_card(make_config(**settings), run_info).text.split("## Use")[0]
    assert all(words in first for words in shown_words) and not any(words in first for words in other_words)


@pytest.mark.parametrize("method", METHODS)
def test_no_sentence_of_the_card_is_long_or_has_a_semicolon(method):
    plots = {"plots/one.png": "A caption. It shows something."}
    for card in (make_longest_card(threshold_method=method, plots=plots), make_card(splits=["validation"])):
        text = re.sub(r"```.*?```|^---\n.*?\n---\n", "", shown(card), flags=re.DOTALL)
        lines = [line for line in text.splitlines() if line and not re.match(r"[|#!]", line)]
        for sentence in (each for line in lines for each in re.split(r"(?<=[.:])\s", line.removeprefix("- "))):
            # What stands in brackets is counted as one word.
            assert len(re.sub(r"\([^()]*\)", "x", sentence).split()) <= 25, sentence
            assert ";" not in sentence


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ({"results"}, {"Results"}),
        ({"labels"}, {"Labels"}),
        ({"threshold_method"}, {"Thresholds"}),
        ({"plots"}, {"Plots"}),
        ({"dataset"}, {"Citation"}),
        ({"dataset", "splits", "label_description"}, {"Training data", "Citation"}),
        ({"training"}, {"Training procedure"}),
        ({"weight_bytes", "speed"}, {"Size and speed"}),
        ({"versions"}, {"Versions"}),
    ],
)
def test_a_section_of_which_nothing_is_known_is_absent(fields, missing):
    assert headings(make_card(without=fields)) == [title for title in SECTIONS if title not in missing]


@pytest.mark.parametrize("count", [1, 2, -1])
def test_whatever_is_missing_no_heading_is_empty_and_no_sentence_is_broken(count):
    names = sorted(name for name in vars(make_run_info()) if name != "name")
    names = [name for name in names if vars(make_run_info())[name] not in (None, 0)]
    for without in combinations(names, count % len(names)):
        text = make_card(without=without).text.strip()
        assert not re.search(r"^#.*\n+(?=#|\Z)", text, re.MULTILINE), without
        assert not re.search(r"(?<!\n)\n#|^#.*\n(?!\n)|\n\n\n", text, re.MULTILINE), without
        prose = re.sub(r"```.*?```|`.*?`", "code", text, flags=re.DOTALL)
        assert not re.search(r"(?<!\.)\.\.(?!\.)|None|nan|\{\{|\{%|,,|  \w|\(\)", prose), without


def test_the_same_information_gives_the_same_bytes_also_when_it_was_a_file(tmp_path):
    run_info = make_run_info()
    content = build_card(make_config(), run_info).content
    assert build_card(make_config(), run_info).content == content
    assert build_card(make_config(), RunInfo.load(run_info.save(tmp_path))).content == content


def test_every_number_is_that_of_the_run_information():
    run_info = make_run_info()
    card = make_card()
    test, validation, labels, data, training = tables(card)
    for table, split in ((test, "test"), (validation, "validation")):
        for cells, row in zip(table[1:], run_info.results[split], strict=True):
            assert cells[0] == f"{row.model}, {row.thresholds}"
            assert [float(cell) for cell in cells[1:]] == pytest.approx([row.metrics[key] for key in SHOWN], abs=6e-4)
    for cells, row in zip(labels[1:], run_info.labels, strict=True):
        assert cells[:2] == [row.label, str(row.train_support)]
        assert float(cells[2]) == pytest.approx(row.threshold, rel=2e-3)
        assert cells[3] == str(row.support)
        assert [float(cell) for cell in cells[4:]] == pytest.approx([row.precision, row.recall, row.f1], abs=6e-3)
    assert [cells[:3] for cells in data[1:]] == [
        ["train", "12,345", "4,321"],
        ["validation", "1,300", "2"],
        ["test", "1,400", "3"],
    ]
    assert [cells[3] for cells in data[1:]] == list(run_info.dataset.revisions.values())
    numbers = {setting: re.findall(r"(?<![\w.])\d(?:[\d.,]*\d)?", value) for setting, value in training[1:]}
    assert numbers == {
        "optimizer": ["0.013"],
        "learning rate": ["0.00234", "0.15"],
        "batch size": ["33"],
        "epochs": ["6"],
        "selected epoch": ["4"],
        "steps": ["3,000"],
        "seed": ["17"],
        "time": ["62"],
        "tokenizer": [],
        "embeddings": [],
        "dropout": ["0.4", "0.0", "0.4", "0.0", "0.4"],
        "loss": [],
    }
    assert "1,234,567 parameters" in card.text and "4.9 MB" in section(card, "Size and speed")
    assert re.findall(r"\d[\d,]*\d|\d", section(card, "Size and speed"))[2:] == ["2,712", "257", "2", "2"]
    assert section(card, "Versions") == "torch 2.13.0, transformers 5.23.0.\n\n"


def test_the_settings_that_not_every_training_has_are_shown_where_there_are_any():
    training = dict(tables(make_longest_card())[-1][1:])
    assert "bfloat16" in training["precision"] and "7 trials" in training["hyperparameter search"]
    assert "13,645" in training["re-training"] and "2,100" in training["re-training"]
    assert "one, two" in training["teacher"] and "9,876" in training["distillation"]
    assert "0.1" in training["embeddings"] and "5" in training["label attention"]
    assert "0.998" in training["weight averaging"] and training["weights start from"] == "checkpoint"
    assert "label smoothing 0.1" in training["loss"] and "positive weights 2" in training["loss"]


def test_pain_11_a_threshold_near_zero_is_not_shown_as_zero():
    assert tables(make_card())[2][1][2] == "0.000432"


@pytest.mark.parametrize(
    ("method", "row", "words"),
    [
        ("shrinkage", "per-label thresholds", "shrunk toward"),
        ("per_label", "per_label", "its own largest F1"),
        ("global_micro", "global threshold", "largest micro-F1"),
        ("global_macro", "global_macro", "largest macro-F1"),
    ],
)
def test_the_card_says_how_the_thresholds_were_chosen_and_which_row_they_give(method, row, words):
    run_info = make_run_info(threshold_method=method)
    more = metric_row("this model", method, 0.3333)
    run_info = replace(run_info, results={split: [*rows, more] for split, rows in run_info.results.items()})
    card = build_card(make_config(), run_info)
    assert f'"this model, {row}"' in section(card, "Results")
    assert words in section(card, "Thresholds") and "1,300 texts" in section(card, "Thresholds")
    expected = {split: run_info.final_row(split).metrics["f1_micro"] for split in ("test", "validation")}
    results = {r.dataset_split: r.metric_value for r in card.data.eval_results if r.metric_name == "F1 (micro)"}
    assert results == pytest.approx(expected, rel=1e-3)


def test_a_method_that_the_card_cannot_explain_is_an_error():
    with pytest.raises(UndefinedError, match="guessed"):
        make_card(threshold_method="guessed")


@pytest.mark.parametrize("model", ["TF-IDF + LR", "teacher"])
def test_what_the_model_is_compared_with_stands_beside_it_and_is_explained(model):
    run_info = make_run_info()
    rows = [*run_info.results["test"], metric_row(model, "0.5", 0.123)]
    card = build_card(make_config(), replace(run_info, results=run_info.results | {"test": rows}))
    assert tables(card)[0][-1][:2] == [f"{model}, 0.5", "0.123"]
    words = {"TF-IDF + LR": "linear baseline", "teacher": "distilled from"}[model]
    assert words in section(card, "Results") and words not in make_card().text
    assert 0.123 not in [result.metric_value for result in card.data.eval_results]


def test_after_retraining_the_card_says_which_model_the_validation_figures_are_of():
    retraining = RetrainingInfo(rows=13645, epochs=4, steps=2100, seconds=70.2)
    words = "model before re-training"
    assert words in section(make_card(retraining=retraining), "Results") and words not in make_card().text


def test_without_a_test_split_the_card_says_so():
    card = make_card(splits=("validation",))
    assert len(tables(card)) == 4
    assert "the test split" not in card.text
    assert "no test split" in section(card, "Results") and "and the epoch" in section(card, "Results")
    assert "on the validation split:" in section(card, "Labels")
    assert section(card, "Plots").startswith("On the validation split.")
    assert {result.dataset_split for result in card.data.eval_results} == {"validation"}
    assert "no test split" not in make_card().text
    assert "on the test split:" in section(make_card(), "Labels")
    assert "and the epoch" not in make_card(splits=("validation",), without=["training"]).text


@pytest.mark.parametrize("key", SHOWN)
def test_a_metric_that_the_card_shows_and_a_row_lacks_is_an_error(key):
    run_info = make_run_info()
    del run_info.results["validation"][0].metrics[key]
    with pytest.raises(UndefinedError, match=key):
        build_card(make_config(), run_info)


@pytest.mark.parametrize("count", [200, 201, 1200])
def test_only_the_two_hundred_labels_of_the_most_training_texts_are_listed(count):
    card = make_card([f"label {index}" for index in range(count)])
    listed = [row[0] for row in tables(card)[2][1:]]
    assert len(listed) == 200
    assert ("metrics.json" in card.text) == (count > 200)
    if count > 200:
        assert set(listed) == {f"label {index}" for index in range(count - 200, count)}
        assert f"The other {count - 200:,} are in metrics.json." in card.text


def test_the_limitations_are_those_that_the_run_information_shows():
    names = [f"mood {index}" for index in range(30)]
    labels = [label_result(name, index, train_support=3 * index, support=index) for index, name in enumerate(names)]
    text = section(build_card(make_config(names), make_run_info(names, labels=labels)), "Limitations")
    lines = text.strip().splitlines()
    assert all(re.fullmatch(r"- [A-Z0-9].*\.", line) for line in lines) and len(lines) == 9
    rare, untested, chance, seed, thresholds, calibration, length, language, _ = lines
    assert rare.startswith("- 7 of 30 labels") and f"({', '.join(names[:7])})" in rare
    assert untested.startswith("- 20 of 30 labels") and "mood 7 and 12 more)" in untested and "test" in untested
    assert "1,400 texts" in chance and "2.6 points" in chance
    assert "seed 17" in seed and "1,300 texts" in thresholds
    assert "0.0123 (15 bins" in calibration
    assert "256 tokens" in length and "4,321 of 12,345" in length
    assert "en, no" in language


def test_labels_with_texts_enough_are_no_limitation():
    labels = [label_result(name, 0, train_support=20, support=20) for name in ("calm", "joy")]
    assert "labels have fewer than" not in make_card(labels=labels).text
    assert "2 of 2 labels have fewer than 20 texts in the test split (calm, joy)" in make_card().text


@pytest.mark.parametrize("error", [math.nan, None])
def test_a_calibration_error_that_is_not_a_number_is_no_sentence(error):
    card = make_card(calibration=CalibrationInfo(expected_calibration_error=error, bins=15))
    assert "calibration" not in card.text


def test_plots_are_images_with_a_text_for_those_who_do_not_see_them():
    card = make_card(plots={"plots/one two.png": "A *title*. What it shows [here]."}, without=["calibration"])
    tokens = MarkdownIt("commonmark").parse(card.text)
    (image,) = (part for token in tokens for part in token.children or [] if part.type == "image")
    assert image.attrs["src"] == "plots/one%20two.png" and image.content == "A &#42;title&#42;"
    assert "A *title*. What it shows [here].\n" in section(card, "Plots")


def test_the_data_set_is_named_and_linked_where_the_hub_has_it():
    text = section(make_card(), "Training data")
    assert "Moods, [someone/moods](https://huggingface.co/datasets/someone/moods) on the Hub" in text
    assert "configuration simple, licence cc-by-4.0." in text and "1.50 on average." in text
    revisions = {"train": "sha256:0123456789abcdef"}
    card = make_card(
        dataset=make_dataset_info(
            name="mine.csv", id=None, config=None, license=None, citation=None, revisions=revisions
        )
    )
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
    card = make_card(dataset=make_dataset_info(citation=citation))
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
    names = tuple(AWKWARD)
    card = make_card(names)
    assert [row[0] for row in tables(card)[2][1:]] == list(AWKWARD.values())
    labels = [label_result(name, 0, train_support=1) for name in names]
    listed = section(make_card(names, labels=labels), "Limitations")
    assert f"({', '.join(list(AWKWARD.values())[:8])} and {len(AWKWARD) - 8} more)" in listed


def test_a_word_that_no_page_is_wide_enough_for_is_truncated_wherever_it_stands():
    long = "y" * 500
    card = make_card(
        (long, "joy"),
        label_description=f"2 labels (calm, {long}, joy), read from names.",
        license="z" * 60,
        labels=[label_result(long, 0, train_support=1), label_result("joy", 1)],
    )
    assert f"(calm, {'y' * 59}… joy)" in section(card, "Training data")
    # The first paragraph, the table, the description of the labels, and two limitations.
    assert [len(word) for word in re.findall("y+(?=…)", card.text)] == [39, 47, 59, 39, 39]
    assert card.data.license == "z" * 60


@pytest.mark.parametrize("awkward", list(AWKWARD))
def test_no_text_of_the_run_information_brings_html_links_or_headings(awkward):
    strings = ("schedule", "optimizer", "embeddings_from", "started_from", "tokenizer", "selected_by")
    splits = ("train", "validation", "test")
    run_info = make_run_info(
        name=awkward,
        language=[awkward],
        license=awkward,
        label_description=awkward,
        versions={awkward: awkward},
        plots={"plots/one.png": f"Title. {awkward}"},
        training=make_training_info(**dict.fromkeys(strings, awkward)),
        dataset=make_dataset_info(
            **dict.fromkeys(("name", "config", "license", "citation"), awkward),
            revisions=dict.fromkeys(splits, awkward),
        ),
        speed=SpeedInfo(texts_per_second=1.5, batch_size=2, threads=3, processor=awkward),
        distillation=DistillationInfo(teachers=[awkward], fine_tuned=False, weight=0.5, temperature=1),
    )
    card = build_card(make_config([awkward, "joy"]), run_info)
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
    card = build_card(config, RunInfo(name=str(tmp_path)))
    pipeline, in_steps, package = re.findall(r"```python\n(.*?)\n```\n", card.text, re.DOTALL)
    names = {}
    exec(in_steps, names)
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
    rows = {split: make_run_info().final_row(split).metrics for split in ("test", "validation")}
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
        assert result.metric_value == pytest.approx(rows[result.dataset_split][names[result.metric_name]], rel=1e-3)
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


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_no_number_that_is_none_gets_into_the_metadata(value):
    run_info = make_run_info()
    for rows in run_info.results.values():
        for row in rows:
            row.metrics.update(lrap=value, f1_micro=value)
    card = build_card(make_config(), run_info)
    head = card.content.split("---\n")[1]
    assert not re.search(r"nan|inf\b", head, re.IGNORECASE) and "Label-ranking" not in head
    assert tables(card)[0][1][1] == "n/a"


@pytest.mark.parametrize("missing", ["dataset", "threshold_method", "results"])
def test_without_data_set_method_or_results_there_is_no_result_in_the_metadata(missing):
    data = make_card(without=[missing]).data
    assert not data.eval_results and not {"model-index", "model_name"} & data.to_dict().keys()


@pytest.mark.parametrize("names", [("calm", "joy"), tuple(AWKWARD)])
def test_a_saved_card_loads_as_it_was(names, tmp_path):
    card = make_card(names)
    assert not holds_card(tmp_path)
    loaded = ModelCard.load(save_card(card, tmp_path))
    assert loaded.content == card.content
    assert loaded.data.to_dict() == card.data.to_dict()
    assert loaded.data.eval_results == card.data.eval_results and len(loaded.data.eval_results) == 24
    assert loaded.data.model_name == "tagger"
    assert loaded.text.endswith("```\n") and not loaded.text.endswith("\n\n")
    assert holds_card(tmp_path)


@pytest.mark.parametrize("text", ["", "no metadata", "---\ntags: [mine]\n---\nMy own.\n", "---\nlicense: mit\n---\n"])
def test_a_card_of_somebody_else_is_not_one_of_this_package(text, tmp_path):
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    assert not holds_card(tmp_path)


def test_rows_without_a_count_of_truncated_ones_are_shown_without_it():
    card = make_card(splits=("validation",), max_length=None, dataset=None)
    assert tables(card)[2][0] == ["split", "texts"]
    sizes = {"train": SplitInfo(rows=3), "validation": SplitInfo(rows=2)}
    assert tables(build_card(make_config(), replace(make_run_info(), splits=sizes)))[3][1][:3] == ["train", "3", "n/a"]


@pytest.mark.parametrize("name", sorted(path.parent.name for path in CARDS.glob("*/metrics.json")))
def test_the_cards_of_this_repository_are_those_of_their_metrics(name):
    run_info = RunInfo.load(CARDS / name)
    config = RnnMultilabelConfig.from_pretrained(CARDS / name)
    assert (CARDS / name / "README.md").read_text(encoding="utf-8") == str(build_card(config, run_info))
    plots = {path.relative_to(CARDS / name).as_posix() for path in (CARDS / name).glob("plots/*")}
    assert plots == set(run_info.plots)
    assert f"## {name}\n" in (CARDS / "README.md").read_text(encoding="utf-8")

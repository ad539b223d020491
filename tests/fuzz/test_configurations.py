"""Configurations of any values: a model that works and comes back from its folder, or an error in words."""

import json
import tempfile
from pathlib import Path

import pytest
import torch
from fuzzing import Refusal, attempt, fuzz, scalars, strings, values, whole_strings
from hypothesis import strategies as st
from transformers import AutoConfig

from hf_rnn_multilabel import RnnMultilabelConfig, RnnMultilabelForSequenceClassification


POOLINGS = ["last", "mean", "max", "attention", "label_attention"]
FIELDS = [*RnnMultilabelConfig.__annotations__, "num_labels", "id2label", "label2id"]
label_names = st.lists(whole_strings, min_size=1, max_size=4, unique=True)
fractions = st.floats(0, 0.99)


@st.composite
def valid_configurations(draw):
    names = draw(label_names)
    objective = draw(st.sampled_from(["bce", "focal", "asymmetric", "zlpr", "distribution_balanced", "expected_f1"]))
    some = st.lists(st.sampled_from(names), unique=True)

    def by_label(numbers):
        return {name: draw(numbers) for name in draw(some)}

    given = {
        "vocab_size": draw(st.integers(1, 12)),
        "embedding_size": draw(st.integers(1, 4)),
        "hidden_size": draw(st.integers(1, 4)),
        "num_hidden_layers": draw(st.integers(1, 2)),
        "cell_type": draw(st.sampled_from(["rnn", "gru", "lstm"])),
        "bidirectional": draw(st.booleans()),
        "pooling": draw(
            st.one_of(st.sampled_from(POOLINGS), st.lists(st.sampled_from(POOLINGS), min_size=1, unique=True))
        ),
        "label_correlation_size": draw(st.integers(0, 3)),
        "num_bigram_buckets": draw(st.one_of(st.none(), st.integers(0, 5))),
        "embedding_dropout": draw(fractions),
        "recurrent_dropout": draw(fractions),
        "objective": objective,
        "thresholds": draw(st.one_of(st.none(), st.floats(0, 1), st.just("by label"))),
        "label_frequencies": {name: draw(st.floats(0, 1)) for name in names},
        "id2label": dict(enumerate(names)),
    }
    if given["thresholds"] == "by label":
        given["thresholds"] = by_label(st.floats(0, 1))
    if objective in ("bce", "focal", "asymmetric"):
        given["positive_weights"] = draw(st.sampled_from([None, "balanced", 2, 0.5])) or by_label(st.floats(0.1, 10))
    if objective not in ("distribution_balanced", "expected_f1"):
        given["label_smoothing"] = draw(fractions)
    given["pad_token_id"] = draw(st.one_of(st.none(), st.integers(0, given["vocab_size"] - 1)))
    return {name: given[name] for name in draw(st.permutations(sorted(given)))}


def check_model(config) -> None:
    """Its logits are finite and depend neither on padding nor on other texts."""
    torch.manual_seed(0)
    model = RnnMultilabelForSequenceClassification(config).eval()
    ids = [[index * 7 % config.vocab_size for index in range(length)] for length in (3, 0, 1)]
    with torch.no_grad():
        alone = torch.cat([model(torch.tensor([row], dtype=torch.long)).logits for row in ids])
        assert alone.isfinite().all()
        for left in (0, 2):
            mask = torch.tensor([[0] * left + [1] * len(row) + [0] * (5 - left - len(row)) for row in ids])
            batch = torch.zeros(3, 5, dtype=torch.long)
            batch[mask.bool()] = torch.tensor([token for row in ids for token in row])
            batch[~mask.bool()] = config.vocab_size - 1
            torch.testing.assert_close(model(batch, mask).logits, alone, atol=1e-5, rtol=1e-5)
    model.train()
    labels = torch.tensor([[(row + label) % 2 for label in range(config.num_labels)] for row in range(3)])
    labels[0, 0] = -100
    model(batch, mask, labels=labels).loss.backward()


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        yield Path(name)


def check_saved(config, folder) -> None:
    """It comes back from its folder, and is strict JSON there."""
    config.save_pretrained(folder)
    text = (folder / "config.json").read_text(encoding="utf-8")
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    for loaded in (AutoConfig.from_pretrained(folder),):
        expected, found = config.to_dict(), loaded.to_dict()
        del expected["_name_or_path"], found["_name_or_path"]
        assert json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)
        assert loaded.label_names == config.label_names
        assert loaded.label_thresholds == config.label_thresholds
        assert loaded.label_bias == config.label_bias


@fuzz(60, given=valid_configurations())
def test_a_valid_configuration_makes_a_model_that_does_not_see_padding(folder, given):
    config = RnnMultilabelConfig(**given)
    names = list(given["id2label"].values())
    assert config.label_names == names
    thresholds = given["thresholds"] if given["thresholds"] is not None else 0.5
    if isinstance(thresholds, dict):
        assert config.label_thresholds == [thresholds.get(name, 0.5) for name in names]
    else:
        assert config.label_thresholds == [thresholds] * len(names)
    check_saved(config, folder)
    check_model(config)


small = {"vocab_size": 9, "embedding_size": 2, "hidden_size": 2, "num_labels": 3}
any_values = st.one_of(
    st.integers(0, 4),
    st.floats(0, 1),
    st.sampled_from([None, True, False, 0, 1, "mean", "gru", "asymmetric", {"gamma": 2}, {"samples": 3}]),
    values,
    st.dictionaries(
        st.one_of(st.integers(-1, 3), st.sampled_from(["LABEL_0", "LABEL_1", "x"]), strings), scalars, max_size=3
    ),
    st.lists(st.sampled_from([*POOLINGS, "x"]), max_size=3),
    st.floats(-2, 2),
    st.sampled_from([*POOLINGS, "balanced", "focal", "expected_f1", "zlpr", "rnn", "bce"]),
)


def likely_values(field: str) -> st.SearchStrategy:
    """Values of the field's type, most of them in its range."""
    by_field = {
        "cell_type": st.sampled_from(["rnn", "gru", "lstm"]),
        "pooling": st.one_of(st.sampled_from(POOLINGS), st.lists(st.sampled_from(POOLINGS), max_size=3)),
        "objective": st.sampled_from(["bce", "focal", "asymmetric", "zlpr", "distribution_balanced", "expected_f1"]),
        "objective_parameters": st.sampled_from([{"gamma": 2}, {"samples": 3}, {"margin": 0.1}, {}]),
        "id2label": st.sampled_from([{0: "a", 1: "b"}, {"0": "a"}, {1: "b", 0: "a", 2: "c"}]),
        "label2id": st.sampled_from([{"a": 0, "b": 1}, {"b": 1}]),
    }
    if "dropout" in field or field in ("initializer_range", "label_smoothing", "positive_weight_cap"):
        return st.floats(-0.1, 1.1)
    if field in ("thresholds", "label_frequencies", "positive_weights"):
        by_name = st.dictionaries(st.sampled_from(["LABEL_0", "LABEL_1", "a"]), st.floats(0, 1), max_size=2)
        return st.one_of(st.none(), st.floats(0, 1), by_name)
    return by_field.get(field, st.one_of(st.integers(-1, 6), st.booleans(), st.none()))


changed_fields = st.sampled_from(FIELDS).flatmap(
    lambda field: st.tuples(st.just(field), st.one_of(likely_values(field), likely_values(field), any_values))
)


@fuzz(120, changes=st.lists(changed_fields, min_size=1, max_size=3).map(dict))
def test_any_configuration_makes_a_model_or_is_refused(folder, changes):
    given = {name: value for name, value in small.items() if name not in changes}
    if {"id2label", "label2id"} & set(changes):
        given.pop("num_labels", None)
    config = attempt(RnnMultilabelConfig, **given | changes)
    if isinstance(config, Refusal):
        return
    check_saved(config, folder)
    sizes = (config.vocab_size, config.embedding_size, config.hidden_size, config.num_hidden_layers)
    if max(*sizes, config.label_correlation_size, config.num_bigram_buckets or 0, config.num_labels) <= 50:
        model = attempt(check_model, config)
        assert not isinstance(model, Refusal), model


renamings = st.dictionaries(st.one_of(st.integers(-1, 4), strings, scalars), st.one_of(strings, scalars), max_size=4)


@fuzz(
    100,
    names=st.one_of(label_names.map(lambda names: dict(enumerate(names))), renamings, values),
    as_argument=st.booleans(),
)
def test_labels_that_are_renamed_keep_their_thresholds(folder, names, as_argument):
    before = {"LABEL_0": 0.1, "LABEL_1": 0.2, "LABEL_2": 0.9}
    config = RnnMultilabelConfig(**small, thresholds=before)

    def rename():
        if as_argument:
            config.save_pretrained(folder)
            return RnnMultilabelConfig.from_pretrained(folder, id2label=names)
        config.id2label = names
        return config

    renamed = attempt(rename)
    if isinstance(renamed, Refusal) or names is None:
        return
    thresholds = attempt(lambda: renamed.label_thresholds)
    if not isinstance(thresholds, Refusal):
        assert sorted(map(int, names)) == list(range(len(names)))
        assert renamed.label_names == [names[key] for key in sorted(names, key=int)]
        assert thresholds == ([0.1, 0.2, 0.9] if len(names) == 3 else [0.5] * len(names))

import copy
import json
import math
import pickle
from pathlib import Path

import pytest
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig

import hf_rnn_multilabel.model
from hf_rnn_multilabel import RnnMultilabelConfig, RnnMultilabelForMaskedLM, RnnMultilabelModel


NAMES = {0: "art", 1: "law", 2: "war"}
FREQUENCIES = {"art": 0.5, "law": 0.2, "war": 0.01}
ODDS = [1.0, 0.25, 1 / 99]


# Labels


@pytest.mark.parametrize("given", [{"id2label": NAMES}, {"label2id": {"war": 2, "art": 0, "law": 1}}])
def test_either_label_map_gives_the_other(given):
    config = RnnMultilabelConfig(**given)
    assert config.id2label == NAMES
    assert config.label2id == {"art": 0, "law": 1, "war": 2}
    assert config.num_labels == 3


def test_label_names_are_in_the_order_of_the_logits_not_of_the_map():
    assert RnnMultilabelConfig(id2label={2: "war", 0: "art", 1: "law"}).label_names == ["art", "law", "war"]
    assert RnnMultilabelConfig(id2label={"1": "law", "0": "art"}).label_names == ["art", "law"]
    assert RnnMultilabelConfig(num_labels=3).label_names == ["LABEL_0", "LABEL_1", "LABEL_2"]


def test_the_number_of_labels_may_change_on_load(tmp_path):
    RnnMultilabelConfig(id2label=NAMES, thresholds={"law": 0.3}, label_frequencies=FREQUENCIES).save_pretrained(
        tmp_path
    )
    config = RnnMultilabelConfig.from_pretrained(tmp_path, num_labels=5)
    assert config.label_names == [f"LABEL_{index}" for index in range(5)]
    config.save_pretrained(tmp_path)
    assert config.label_thresholds == [0.5] * 5
    assert config.label_bias == [0.0] * 5


BY_NAME = {"thresholds": {"law": 0.3, "war": 0.1}, "positive_weights": {"art": 2}, "label_frequencies": FREQUENCIES}


def assert_renamed(config):
    assert config.label_names == ["Kunst", "Recht", "war"]
    assert config.label2id == {"Kunst": 0, "Recht": 1, "war": 2}
    assert config.thresholds == {"Recht": 0.3, "war": 0.1}
    assert config.label_thresholds == [0.5, 0.3, 0.1]
    assert config.label_positive_weights == [2, 1, 1]
    assert config.label_priors == [0.5, 0.2, 0.01]


RENAMED = {0: "Kunst", 1: "Recht", 2: "war"}


def test_fault_19_thresholds_follow_a_label_that_is_renamed_in_memory(tmp_path):
    config = RnnMultilabelConfig(id2label=NAMES, **BY_NAME)
    config.id2label = RENAMED
    assert_renamed(config)
    config.save_pretrained(tmp_path)
    assert_renamed(RnnMultilabelConfig.from_pretrained(tmp_path))
    config.id2label = {"0": "art", "1": "law", "2": "war"}
    assert config.thresholds == BY_NAME["thresholds"]


@pytest.mark.parametrize("more", [{}, {"num_labels": 3}, {"label2id": {"Kunst": 0, "Recht": 1, "war": 2}}])
def test_fault_19_thresholds_follow_a_label_that_is_renamed_at_loading(tmp_path, more):
    RnnMultilabelConfig(id2label=NAMES, **BY_NAME).save_pretrained(tmp_path)
    assert_renamed(RnnMultilabelConfig.from_pretrained(tmp_path, id2label=RENAMED, **more))
    assert_renamed(AutoConfig.from_pretrained(tmp_path, **more, id2label=RENAMED))


def test_fault_19_names_that_change_places_take_the_thresholds_of_their_new_places():
    config = RnnMultilabelConfig(id2label=NAMES, thresholds={"law": 0.3, "war": 0.1})
    config.id2label = {0: "war", 1: "art", 2: "law"}
    assert config.label_thresholds == [0.5, 0.3, 0.1]


@pytest.mark.parametrize("field", BY_NAME)
def test_fault_19_a_name_that_is_no_label_is_refused(tmp_path, field):
    wrong = {"Law": 0.3, "war": 0.1}
    with pytest.raises(StrictDataclassError, match=rf"`{field}` names \[Law\], .*\[art, law, war\]"):
        RnnMultilabelConfig(id2label=NAMES, **{field: wrong})
    config = RnnMultilabelConfig(id2label=NAMES)
    setattr(config, field, wrong)
    names = {"thresholds": "label_thresholds", "label_frequencies": "label_priors"}
    with pytest.raises(ValueError, match=rf"`{field}` names \[Law\]"):
        getattr(config, names.get(field, "label_positive_weights"))
    with pytest.raises(StrictDataclassError, match=rf"`{field}` names \[Law\]"):
        config.save_pretrained(tmp_path)


def edit(folder: Path, change) -> None:
    """A config.json that somebody changes by hand."""
    RnnMultilabelConfig(id2label=NAMES, thresholds={"law": 0.3}).save_pretrained(folder)
    file = folder / "config.json"
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))


def test_fault_19_a_file_in_which_the_labels_alone_were_renamed_is_refused(tmp_path):
    edit(tmp_path, lambda values: values.update(id2label=RENAMED, label2id=dict(map(reversed, RENAMED.items()))))
    with pytest.raises(StrictDataclassError, match=r"`thresholds` names \[law\]"):
        RnnMultilabelConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"id2label": RENAMED},
        {"id2label": {0: "law", 1: "art", 2: "war"}},
        {"label2id": {"law": 0, "art": 1, "war": 2}},
    ],
    ids=str,
)
def test_fault_19_a_file_whose_two_maps_differ_is_refused_where_thresholds_are_by_name(tmp_path, change):
    edit(tmp_path, lambda values: values.update(change))
    with pytest.raises(ValueError, match=r"`id2label` and `label2id` differ in \["):
        RnnMultilabelConfig.from_pretrained(tmp_path)
    edit(tmp_path, lambda values: values.update(change, thresholds=0.3))
    config = RnnMultilabelConfig.from_pretrained(tmp_path)
    assert config.label2id == {label: index for index, label in config.id2label.items()}


@pytest.mark.parametrize("name", ["threshold", "treshold", "hiden_size", "positive_weight"])
def test_fault_19_a_misspelled_field_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=f"no `{name}`; `[a-z_]+` is near"):
        RnnMultilabelConfig(id2label=NAMES, **{name: 0.3})
    edit(tmp_path, lambda values: values.update({name: 0.3}))
    with pytest.raises(ValueError, match=f"no `{name}`"):
        AutoConfig.from_pretrained(tmp_path)
    assert RnnMultilabelConfig(my_own_field=1).my_own_field == 1


@pytest.mark.parametrize("more", [{"label2id": {"Kunst": 0, "Recht": 1, "war": 2}}], ids=str)
def test_fault_19_either_map_renames_labels(tmp_path, more):
    config = RnnMultilabelConfig(id2label=NAMES, **BY_NAME)
    config.label2id = more["label2id"]
    assert_renamed(config)
    RnnMultilabelConfig(id2label=NAMES, **BY_NAME).save_pretrained(tmp_path)
    assert_renamed(RnnMultilabelConfig.from_pretrained(tmp_path, **more))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({0: "a", 1: "a", 2: "b"}, r"names \[a\] twice"),
        ({0: "a", 2: "b", 3: "c"}, r"has the indices \[0, 2, 3\]"),
        (["a", "b", "c"], r".*\['a', 'b', 'c'\]"),
        (None, "is None"),
        ({0: 1, 1: 2, 2: 3}, ".*{0: 1"),
    ],
)
def test_fault_19_labels_that_are_set_are_checked(labels, message):
    config = RnnMultilabelConfig(id2label=NAMES, thresholds={"law": 0.3})
    # The lowest versions look at the type first, and say so in their words.
    with pytest.raises((StrictDataclassError, ValueError), match=f"[`']id2label[`'] {message}"):
        config.id2label = labels
    assert config.id2label == NAMES


@pytest.mark.parametrize("thresholds", [math.nan, 2, {"law": math.nan}, {"law": -0.1}], ids=str)
def test_fault_19_thresholds_that_are_none_are_refused_where_they_are_asked_for(thresholds):
    config = RnnMultilabelConfig(id2label=NAMES)
    config.thresholds = thresholds
    with pytest.raises(ValueError, match=r"`thresholds` holds .*\[0, 1\]"):
        _ = config.label_thresholds


def test_fault_19_labels_that_change_places_in_place_are_refused(tmp_path):
    config = RnnMultilabelConfig(id2label=dict(NAMES), thresholds={"law": 0.3})
    config.id2label[0], config.id2label[1] = "law", "art"
    with pytest.raises(ValueError, match=r"differ in \[law, art\]"):
        _ = config.label_thresholds
    with pytest.raises(StrictDataclassError, match=r"differ in \[law, art\]"):
        config.save_pretrained(tmp_path)
    config.thresholds = 0.3
    config.save_pretrained(tmp_path)
    assert RnnMultilabelConfig.from_pretrained(tmp_path).label2id == {"law": 0, "art": 1, "war": 2}


def test_fault_19_labels_that_are_renamed_in_place_are_refused_where_a_threshold_is_asked_for():
    config = RnnMultilabelConfig(id2label=dict(NAMES), thresholds={"law": 0.3})
    config.id2label[1] = "Recht"
    with pytest.raises(ValueError, match=r"`thresholds` names \[law\]"):
        _ = config.label_thresholds


@pytest.mark.parametrize(
    "labels", [{"num_labels": 2}, {"id2label": {0: "war", 1: "tax", 2: "law", 3: "art"}}, {"num_labels": 4}], ids=str
)
def test_fault_27_another_number_of_labels_keeps_no_threshold_and_no_frequency(tmp_path, labels):
    RnnMultilabelConfig(id2label=NAMES, **BY_NAME).save_pretrained(tmp_path)
    config = RnnMultilabelConfig.from_pretrained(tmp_path, **labels)
    assert config.label_thresholds == [0.5] * config.num_labels
    assert config.label_bias == [0.0] * config.num_labels
    assert config.label_positive_weights == [1.0] * config.num_labels
    RnnMultilabelConfig(id2label=NAMES, thresholds=0.2).save_pretrained(tmp_path)
    assert set(RnnMultilabelConfig.from_pretrained(tmp_path, **labels).label_thresholds) == {0.5}


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [
        (None, [0.5, 0.5, 0.5]),
        (0.3, [0.3, 0.3, 0.3]),
        (1, [1.0, 1.0, 1.0]),
        ({"war": 0.1, "art": 0}, [0.0, 0.5, 0.1]),
        ({}, [0.5, 0.5, 0.5]),
    ],
)
def test_thresholds_are_a_number_or_numbers_by_name(thresholds, expected):
    config = RnnMultilabelConfig(id2label=NAMES, thresholds=thresholds)
    assert config.label_thresholds == expected
    assert all(isinstance(threshold, float) for threshold in config.label_thresholds)


@pytest.mark.parametrize("problem_type", [None, "multi_label_classification"])
def test_pain_06_the_problem_type_is_always_multi_label(tmp_path, problem_type):
    config = RnnMultilabelConfig(num_labels=1, problem_type=problem_type)
    assert config.problem_type == "multi_label_classification"
    config.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["problem_type"] == "multi_label_classification"


# Weights of present labels, and the bias


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [1.0, 1.0, 1.0]),
        ({"positive_weights": 3}, [3.0, 3.0, 3.0]),
        ({"positive_weights": {"war": 7.5}}, [1.0, 1.0, 7.5]),
        ({"positive_weights": "balanced", "label_frequencies": FREQUENCIES}, [1.0, 4.0, 10.0]),
        (
            {"positive_weights": "balanced", "label_frequencies": FREQUENCIES, "positive_weight_cap": 100},
            [1.0, 4.0, 99.0],
        ),
        ({"positive_weights": "balanced", "label_frequencies": {"law": 0.2, "war": 0}}, [1.0, 4.0, 10.0]),
        ({"label_frequencies": FREQUENCIES}, [1.0, 1.0, 1.0]),
    ],
    ids=["none", "number", "by_name", "balanced", "high_cap", "unknown_and_absent", "frequencies_alone"],
)
def test_pain_09_positive_weights_are_configuration(given, expected):
    config = RnnMultilabelConfig(id2label=NAMES, **given)
    assert config.label_positive_weights == pytest.approx(expected)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [0.0, 0.0, 0.0]),
        ({"positive_weights": 3.0}, [0.0, 0.0, 0.0]),
        ({"label_frequencies": FREQUENCIES}, [math.log(odds) for odds in ODDS]),
        ({"label_frequencies": FREQUENCIES, "positive_weights": 3.0}, [math.log(3 * odds) for odds in ODDS]),
        ({"label_frequencies": FREQUENCIES, "positive_weights": "balanced"}, [0.0, 0.0, math.log(10 / 99)]),
        ({"label_frequencies": {"law": 0.2}, "positive_weights": 3.0}, [0.0, math.log(0.75), 0.0]),
    ],
    ids=["none", "no_frequencies", "frequencies", "weighted", "balanced", "unknown"],
)
def test_the_bias_is_the_log_odds_of_the_weighted_label(given, expected):
    assert RnnMultilabelConfig(id2label=NAMES, **given).label_bias == pytest.approx(expected)


@pytest.mark.parametrize("positive_weights", [None, "balanced", 0.01])
def test_a_label_of_all_texts_or_of_none_has_a_finite_bias(positive_weights):
    config = RnnMultilabelConfig(
        id2label=NAMES, label_frequencies={"art": 1, "law": 0, "war": 0.5}, positive_weights=positive_weights
    )
    assert all(math.isfinite(bias) for bias in config.label_bias)
    assert all(weight > 0 for weight in config.label_positive_weights)
    if positive_weights != "balanced":
        assert config.label_bias[1] < config.label_bias[2] < config.label_bias[0]


# Shapes


def test_a_pooling_is_a_list_of_one():
    assert RnnMultilabelConfig(pooling="max").poolings == ["max"]
    assert RnnMultilabelConfig(pooling=["max", "last"]).poolings == ["max", "last"]


def test_an_output_has_hidden_size_features_per_direction():
    assert RnnMultilabelConfig(hidden_size=7, bidirectional=True).output_size == 14
    assert RnnMultilabelConfig(hidden_size=7, bidirectional=False).output_size == 7


# Files

EVERYTHING = {
    "vocab_size": 31,
    "embedding_size": 7,
    "hidden_size": 9,
    "num_hidden_layers": 3,
    "cell_type": "gru",
    "bidirectional": False,
    "pooling": ["last", "label_attention"],
    "embedding_dropout": 0,
    "word_dropout": 0.11,
    "hidden_dropout": 0.12,
    "recurrent_dropout": 0.13,
    "classifier_dropout": 0.14,
    "objective": "asymmetric",
    "objective_parameters": {"gamma_negative": 2, "margin": 0.1},
    "label_smoothing": 0.15,
    "positive_weights": {"law": 2},
    "positive_weight_cap": 20,
    "label_frequencies": FREQUENCIES,
    "num_bigram_buckets": 0,
    "thresholds": {"law": 0.3},
    "initializer_range": 1,
    "tie_word_embeddings": False,
    "pad_token_id": 3,
    "bos_token_id": 4,
    "eos_token_id": 5,
    "id2label": NAMES,
}


def test_every_field_returns_from_its_file(tmp_path):
    config = RnnMultilabelConfig(**EVERYTHING)
    config.save_pretrained(tmp_path)
    for loaded in [RnnMultilabelConfig.from_pretrained(tmp_path), AutoConfig.from_pretrained(tmp_path)]:
        assert type(loaded) is RnnMultilabelConfig
        assert {name: getattr(loaded, name) for name in EVERYTHING} == EVERYTHING
        assert loaded.to_json_string() == config.to_json_string()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda config: pickle.loads(pickle.dumps(config))])
def test_a_copy_is_the_same_configuration(copied):
    config = RnnMultilabelConfig(**EVERYTHING)
    assert copied(config).to_dict() == config.to_dict()


AUTO_MAP = {
    "AutoConfig": "configuration_rnn_multilabel.RnnMultilabelConfig",
    "AutoModel": "modeling_rnn_multilabel.RnnMultilabelModel",
    "AutoModelForMaskedLM": "modeling_rnn_multilabel.RnnMultilabelForMaskedLM",
    "AutoModelForSequenceClassification": "modeling_rnn_multilabel.RnnMultilabelForSequenceClassification",
}


@pytest.mark.parametrize("saved", ["configuration", "base", "masked_lm", "tagger"])
def test_pain_04_every_save_maps_all_auto_classes(tmp_path, build_config, build_tagger, saved):
    config = build_config(hidden_size=2)
    makers = {
        "configuration": lambda: config,
        "base": lambda: RnnMultilabelModel(config),
        "masked_lm": lambda: RnnMultilabelForMaskedLM(config),
        "tagger": build_tagger,
    }
    makers[saved]().save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["auto_map"] == AUTO_MAP
    assert written["model_type"] == "rnn_multilabel"
    if saved != "configuration":
        travelling = Path(hf_rnn_multilabel.model.__file__).parent
        assert {file.name for file in tmp_path.glob("*.py")} == {file.name for file in travelling.glob("[!_]*.py")}


# Refusals


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"vocab_size": 0}, ["`vocab_size` is 0"]),
        ({"embedding_size": -1}, ["`embedding_size` is -1"]),
        ({"hidden_size": 0}, ["`hidden_size` is 0"]),
        ({"hidden_size": "64"}, ["'hidden_size'", "'64'"]),
        ({"num_hidden_layers": 0}, ["`num_hidden_layers` is 0"]),
        ({"label_correlation_size": -1}, ["`label_correlation_size` is -1; it must be at least 0"]),
        ({"num_bigram_buckets": -1}, ["`num_bigram_buckets` is -1; it must be at least 0"]),
        ({"cell_type": "transformer"}, ["'cell_type'", "transformer", "'lstm'"]),
        ({"bidirectional": "yes"}, ["'bidirectional'", "'yes'"]),
        ({"pooling": "first"}, ["`pooling` is 'first'", "'label_attention'"]),
        ({"pooling": ["last", "first"]}, ["`pooling` is ['last', 'first']"]),
        ({"pooling": []}, ["`pooling` is []"]),
        ({"pooling": ["last", "last"]}, ["`pooling` is ['last', 'last']"]),
        ({"pooling": 3}, ["'pooling'", "3"]),
        ({"embedding_dropout": 1}, ["`embedding_dropout` is 1"]),
        ({"word_dropout": 1.0}, ["`word_dropout` is 1.0"]),
        ({"hidden_dropout": -0.1}, ["`hidden_dropout` is -0.1"]),
        ({"recurrent_dropout": 1.5}, ["`recurrent_dropout` is 1.5"]),
        ({"classifier_dropout": float("nan")}, ["`classifier_dropout` is nan"]),
        ({"objective": "mse"}, ["'objective'", "mse"]),
        ({"objective_parameters": {"gamma": 2}}, ["holds 'gamma'; 'bce' takes none"]),
        (
            {"objective": "asymmetric", "objective_parameters": {"gamma": 2}},
            ["holds 'gamma'; 'asymmetric' takes ['gamma_positive', 'gamma_negative', 'margin']"],
        ),
        ({"objective": "focal", "objective_parameters": {"gamma": -1}}, ["holds 'gamma' -1; it must be in [0, 100]"]),
        ({"objective": "focal", "objective_parameters": {"gamma": math.nan}}, ["holds 'gamma' nan"]),
        ({"objective": "focal", "objective_parameters": {"gamma": "2"}}, ["'objective_parameters'", "'2'"]),
        ({"objective": "asymmetric", "objective_parameters": {"margin": 1.1}}, ["holds 'margin' 1.1"]),
        ({"objective": "expected_f1", "objective_parameters": {"samples": 2.5}}, ["'samples' 2.5", "whole number"]),
        ({"objective": "expected_f1", "objective_parameters": {"cross_entropy": 2}}, ["holds 'cross_entropy' 2"]),
        ({"objective": "distribution_balanced"}, ["'distribution_balanced'", "`label_frequencies` must"]),
        ({"label_smoothing": 1}, ["`label_smoothing` is 1; it must be in [0, 1)"]),
        ({"label_smoothing": -0.1}, ["`label_smoothing` is -0.1"]),
        ({"objective": "expected_f1", "label_smoothing": 0.1}, ["`label_smoothing` is 0.1", "'expected_f1'"]),
        (
            {
                "objective": "distribution_balanced",
                "label_smoothing": 0.1,
                "label_frequencies": FREQUENCIES,
                "id2label": NAMES,
            },
            ["`label_smoothing` is 0.1", "'distribution_balanced'"],
        ),
        ({"objective": "zlpr", "positive_weights": 2}, ["`positive_weights` is 2; 'zlpr' has no such weights"]),
        (
            {
                "objective": "distribution_balanced",
                "positive_weights": "balanced",
                "label_frequencies": FREQUENCIES,
                "id2label": NAMES,
            },
            ["`positive_weights` is 'balanced'; 'distribution_balanced' has no such weights"],
        ),
        ({"objective": "expected_f1", "positive_weights": {"LABEL_1": 2}}, ["'expected_f1' has no such weights"]),
        ({"thresholds": 1.01}, ["`thresholds` holds 1.01"]),
        ({"thresholds": {"art": 0.5, "law": -0.2}}, ["`thresholds` holds -0.2"]),
        ({"thresholds": float("nan")}, ["`thresholds` holds nan"]),
        ({"thresholds": [0.5, 0.7]}, ["'thresholds'", "[0.5, 0.7]"]),
        ({"thresholds": True}, ["'thresholds'", "True"]),
        ({"positive_weights": -2.0}, ["`positive_weights` holds -2.0"]),
        ({"positive_weights": {"art": 0}}, ["`positive_weights` holds 0"]),
        ({"positive_weights": math.inf}, ["`positive_weights` holds inf"]),
        ({"positive_weights": "heavy"}, ["'positive_weights'", "heavy"]),
        ({"positive_weights": "balanced"}, ["`positive_weights` is 'balanced'", "`label_frequencies`"]),
        ({"positive_weight_cap": -3.0}, ["`positive_weight_cap` holds -3.0"]),
        ({"label_frequencies": {"art": 17}}, ["`label_frequencies` holds 17"]),
        ({"id2label": {0: "art", 1: "art"}}, ["`id2label` names [art] twice"]),
        ({"id2label": {1: "art", 2: "law"}}, ["`id2label` has the indices [1, 2]"]),
        ({"problem_type": "single_label_classification"}, ["'problem_type'", "single_label_classification"]),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_by_field_and_value(given, named):
    with pytest.raises((StrictDataclassError, ValueError)) as error:
        RnnMultilabelConfig(**given)
    for part in named:
        assert part in str(error.value)


def test_a_wrong_value_that_is_set_later_is_not_saved(tmp_path):
    config = RnnMultilabelConfig(id2label=NAMES)
    config.thresholds = {"law": 7.0}
    with pytest.raises(StrictDataclassError, match=r"`thresholds` holds 7\.0"):
        config.save_pretrained(tmp_path)
    assert not (tmp_path / "config.json").exists()


@pytest.mark.parametrize(
    "labels",
    [[], ["art"], {}, {0: None}, {"": "art"}, {None: "art"}, {1: "art"}, {0: "art", "0": "law"}, {0.5: "art"}, "art"],
    ids=repr,
)
def test_fault_19_what_is_no_map_from_indices_to_names_is_refused_whenever_it_is_set(labels):
    config = RnnMultilabelConfig(id2label=NAMES, thresholds={"law": 0.3})
    with pytest.raises((StrictDataclassError, ValueError), match="id2label"):
        config.id2label = labels
    assert config.label_thresholds == [0.5, 0.3, 0.5]
    with pytest.raises((StrictDataclassError, ValueError), match="id2label"):
        RnnMultilabelConfig(id2label=labels)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_labels", 0),
        ("num_labels", {}),
        ("num_labels", 1.5),
        ("label2id", ["art"]),
        ("label2id", {"a": []}),
        ("label2id", {"a": 0, "b": 0}),
        ("pad_token_id", -1),
    ],
)
def test_a_wrong_number_of_labels_and_a_wrong_map_of_names_are_refused(field, value):
    with pytest.raises((StrictDataclassError, ValueError), match=field):
        RnnMultilabelConfig(**{field: value})


@pytest.mark.parametrize("value", [-0.1, math.inf, math.nan])
def test_weights_are_not_initialised_with_a_deviation_that_is_none(value):
    with pytest.raises(StrictDataclassError, match="`initializer_range` is"):
        RnnMultilabelConfig(initializer_range=value)

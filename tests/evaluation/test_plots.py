import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image
from sklearn.metrics import average_precision_score, precision_recall_curve

from hf_rnn_multilabel.evaluation import (
    apply_thresholds,
    decision_metrics,
    expected_calibration_error,
    plot_all,
    plots,
)


PLOTS = {"plots/precision_recall.png", "plots/f1.png", "plots/calibration.png", "plots/cooccurrence.png"}
NEEDS_NO_POSITIVE = {"plots/calibration.png"}
AWKWARD = [
    "$x_1$ and $y$",
    "_hidden",
    "back\\slash \\frac{1}{2}",
    "快乐 的标签",
    "😀 👩‍👩‍👧",
    "two\n\nlines\tlong",
    "unbroken" * 60,
    "",
]


def make_rows(rows=60, num_labels=5, seed=0, ignored=0.1, dtype=np.float32):
    """Scores that rank well, some of them equal, and labels of which a part is ignored."""
    generator = np.random.default_rng(seed)
    labels = (generator.random((rows, num_labels)) < 0.3).astype(float)
    scores = np.round(np.clip(labels * 0.3 + generator.random(labels.shape) * 0.7, 0, 1), 2).astype(dtype)
    labels[generator.random(labels.shape) < ignored] = -100
    return scores, labels


def make_split(scores, labels, thresholds=0.5, names=None):
    return plots.make_split(scores, labels, names or names_of(scores), thresholds)


def names_of(scores):
    return [f"label {column}" for column in range(scores.shape[1])]


def plot(folder, scores, labels, thresholds=0.5):
    return plot_all(scores, labels, names_of(scores), thresholds, folder)


def texts_of(figure):
    """The texts of a figure that are seen, laid out."""
    figure.draw_without_rendering()
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def test_an_ignored_entry_counts_nowhere(tmp_path):
    scores, labels = make_rows()
    moved = np.where(labels == -100, 1 - scores, scores)
    assert (moved != scores).any()
    assert expected_calibration_error(moved, labels) == expected_calibration_error(scores, labels)
    for folder, values in (("a", scores), ("b", moved)):
        assert set(plot(tmp_path / folder, values, labels)) == PLOTS
    for name in PLOTS:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("seed", range(5))
def test_curves_and_average_precision_are_those_of_scikit_learn(seed):
    split = make_split(*make_rows(seed=seed, ignored=0))
    scores, present = split.scores.ravel(), split.present.ravel()
    precision, recall, average = plots.precision_recall_curve(scores, present)
    assert average == pytest.approx(average_precision_score(present, scores))
    precision_of_sklearn, recall_of_sklearn, _ = precision_recall_curve(present, scores)
    expected = set(zip(recall_of_sklearn.round(9).tolist(), precision_of_sklearn.round(9).tolist(), strict=True))
    drawn = list(zip(recall.round(9).tolist(), precision.round(9).tolist(), strict=True))[1:]
    assert len(drawn) > 20 and set(drawn) <= expected
    assert recall[-1] == 1 and (np.diff(recall) > 0).all()


def test_the_dots_of_the_curves_are_precision_and_recall_of_the_models_tags():
    scores, labels = make_rows(ignored=0)
    thresholds = [0.3, 0.4, 0.5, 0.6, 0.7]
    split = make_split(scores, labels, thresholds)
    figure, _ = plots._precision_recall(split)
    dots = [line.get_xydata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    metrics = decision_metrics(split.predicted, labels)
    assert dots[0] == pytest.approx([metrics["recall_micro"], metrics["precision_micro"]])
    columns = [decision_metrics(split.predicted[:, [i]], labels[:, [i]]) for i in split.most_frequent(10)]
    expected = [(column["recall_micro"], column["precision_micro"]) for column in columns]
    np.testing.assert_allclose(dots[1:], expected)


def test_the_curves_of_f1_and_the_models_lines_are_the_metrics_own():
    scores, labels = make_rows()
    thresholds = np.array([0.3, 0.4, 0.5, 0.6, 0.7])
    figure, _ = plots._f1(make_split(scores, labels, thresholds))
    micro, own_micro, macro, own_macro = figure.axes[0].lines
    for place in (0, 31, 50, 77, 100):
        # A score in single precision is equal to the threshold that prints as it does.
        metrics = decision_metrics(apply_thresholds(scores, float(micro.get_xdata()[place])), labels)
        assert micro.get_ydata()[place] == pytest.approx(metrics["f1_micro"])
        assert macro.get_ydata()[place] == pytest.approx(metrics["f1_macro"])
    metrics = decision_metrics(apply_thresholds(scores, thresholds), labels)
    assert own_micro.get_ydata() == pytest.approx([metrics["f1_micro"]] * 2)
    assert own_macro.get_ydata() == pytest.approx([metrics["f1_macro"]] * 2)
    assert f"{metrics['f1_macro']:.3f}" in " ".join(text.get_text() for text in texts_of(figure))


def test_the_matrix_holds_the_fraction_of_the_rows_texts_with_the_columns_label():
    labels = np.array([[1, 1, 0], [1, 0, 0], [1, 1, -100], [0, 0, 1]])
    split = make_split(np.where(labels == 1, 0.9, 0.1), labels)
    figure, _ = plots._cooccurrence(split)
    for axes in figure.axes[:2]:
        (image,) = axes.get_images()
        fractions = image.get_array().filled(np.nan)
        # Of the three texts with the first label, two have the second; the third label is observed in two of them.
        np.testing.assert_allclose(fractions, [[np.nan, 2 / 3, 0], [1, np.nan, 0], [0, 0, np.nan]])
        assert [label.get_text() for label in axes.get_xticklabels()] == ["label 0", "label 1", "label 2"]


def test_every_plot_is_a_picture_as_wide_as_a_page_with_a_caption(tmp_path):
    captions = plot(tmp_path, *make_rows())
    assert set(captions) == PLOTS == {f"plots/{path.name}" for path in (tmp_path / "plots").iterdir()}
    for name, caption in captions.items():
        with Image.open(tmp_path / name) as image:
            assert image.format == "PNG" and 900 <= image.width <= 1000 and 400 <= image.height <= 800
            assert len(set(image.convert("L").tobytes())) > 10
        title, rest = caption.split(". ", 1)
        assert 10 < len(title) < 60 and rest.endswith(".")


def test_the_same_split_gives_the_same_bytes(tmp_path):
    first, second = (plot(tmp_path / name, *make_rows()) for name in "ab")
    assert first == second
    for name in PLOTS:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([[1, 0], [0, 1], [1, 1]], PLOTS),
        ([[1, 0], [1, 0]], PLOTS - {"plots/cooccurrence.png"}),
        ([[0, 0], [0, 0]], NEEDS_NO_POSITIVE),
        ([[-100, -100]], set()),
        ([[1]], PLOTS - {"plots/cooccurrence.png"}),
        ([[0]], NEEDS_NO_POSITIVE),
        ([[1, -100], [-100, 1]], PLOTS),
        (np.ones((3, 4)), PLOTS),
        (np.zeros((0, 3)), set()),
        (np.zeros((3, 0)), set()),
    ],
)
@pytest.mark.parametrize("score", [0.0, 0.4, 0.5, 1.0])
def test_a_split_that_gives_nothing_to_draw_leaves_the_plot_out(tmp_path, labels, expected, score):
    labels = np.array(labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(plot(tmp_path, np.full(labels.shape, score), labels)) == expected
    assert {f"plots/{path.name}" for path in tmp_path.glob("plots/*")} == expected


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, int])
def test_scores_of_any_precision_are_drawn(tmp_path, dtype):
    scores, labels = make_rows(dtype=dtype)
    assert set(plot(tmp_path, scores, labels.astype(np.float32))) == PLOTS


def test_label_names_are_shown_as_they_are_and_never_as_mathematics(tmp_path):
    scores, labels = make_rows(num_labels=len(AWKWARD))
    before = dict(matplotlib.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(plot_all(scores, labels, AWKWARD, 0.5, tmp_path)) == PLOTS
    assert dict(matplotlib.rcParams) == before
    split = make_split(scores, labels, names=AWKWARD)
    for figure, _ in (plots._precision_recall(split), plots._cooccurrence(split)):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="(?s)Glyph")
            texts = {text.get_text().rsplit("  ", 1)[0]: text for text in texts_of(figure)}
        for name in ("$x_1$ and $y$", "_hidden", "快乐 的标签", "two lines long"):
            assert not texts[name].get_parse_math()
        assert any(text.startswith("back\\slash \\frac") for text in texts)
        assert any(text.startswith("unbrokenunbroken") and text.endswith("…") for text in texts)
        assert all(len(text) < 60 for text in texts)


@pytest.mark.parametrize("labels", [1, 3, 12, 30])
def test_no_text_is_cut_off_and_no_legend_lies_over_the_axes(labels):
    names = [("wide " * 20)[: 3 + 5 * i] for i in range(labels)]
    split = make_split(*make_rows(rows=200, num_labels=labels), names=names)
    for draw in (plots._precision_recall, plots._f1, plots._calibration, plots._cooccurrence):
        drawn = draw(split)
        if drawn is None:
            assert labels == 1 and draw is plots._cooccurrence
            continue
        figure, _ = drawn
        figure.draw_without_rendering()
        box = figure.get_tightbbox()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.get_figwidth() and box.y1 <= figure.get_figheight()
        assert not any(
            legend.get_window_extent().overlaps(axes.get_window_extent())
            for legend in figure.legends
            for axes in figure.axes
        )


def test_of_many_labels_only_the_most_frequent_are_drawn():
    scores, labels = make_rows(rows=300, num_labels=40, ignored=0)
    labels[:, 7] = 1
    split = make_split(scores, labels)
    expected = sorted(range(40), key=lambda column: -labels[:, column].sum())
    assert expected[0] == 7 and split.most_frequent(40) == expected
    figure, caption = plots._precision_recall(split)
    legend = [text.get_text().split("  ")[0] for text in figure.legends[0].get_texts()]
    shown = [f"label {column}" for column in expected[:10]]
    assert legend == ["micro average", *shown, "at the model's threshold"]
    assert "all 40 together" in caption
    figure, caption = plots._cooccurrence(split)
    assert len(figure.axes[0].get_yticklabels()) == 20 and "20 most frequent" in caption


@pytest.mark.parametrize("count", [0, 7, 999, 1000, 12345, 999_999, 24_374_314])
def test_a_count_is_written_short_and_near(count):
    shown = plots._brief(count)
    factor = {"k": 1e3, "M": 1e6}.get(shown[-1], 1)
    assert len(shown) <= 5
    assert float(shown.rstrip("kM")) * factor == pytest.approx(count, rel=6e-3)


@pytest.mark.parametrize(
    ("scores", "labels", "error"),
    [
        ([[0.5, 1.2]], [[0, 1]], "sigmoid"),
        ([[0.5, -0.1]], [[0, 1]], "sigmoid"),
        ([[0.5, float("nan")]], [[0, 1]], "sigmoid"),
        ([[0.5, 0.5]], [[0, 2]], "is 2"),
        ([[0.5, 0.5]], [[0, -1]], "is -1"),
        ([[0.5, 0.5]], [[0, 1], [0, 1]], r"\(1, 2\).*\(2, 2\)"),
        ([0.5], [1], "rows, labels"),
    ],
)
def test_what_is_no_score_or_no_label_is_an_error_in_words(tmp_path, scores, labels, error):
    with pytest.raises(ValueError, match=error):
        expected_calibration_error(np.array(scores), np.array(labels))
    with pytest.raises(ValueError, match=error):
        plot_all(np.array(scores), np.array(labels), ["a", "b"], 0.5, tmp_path)
    assert not list(tmp_path.iterdir())


def test_names_and_thresholds_must_be_one_for_each_label(tmp_path):
    scores, labels = make_rows()
    with pytest.raises(ValueError, match="2 names for 5 labels"):
        plot_all(scores, labels, ["a", "b"], 0.5, tmp_path)
    with pytest.raises(ValueError, match="thresholds"):
        plot_all(scores, labels, list("abcde"), [0.5, 0.5], tmp_path)


@pytest.fixture
def caplog_of_fonts(caplog):
    caplog.set_level("WARNING", logger="hf_rnn_multilabel.evaluation.fonts")
    return caplog


def test_fault_17_label_names_that_no_font_has_are_said_in_one_line(tmp_path, monkeypatch, caplog_of_fonts):
    monkeypatch.setattr("hf_rnn_multilabel.evaluation.fonts._characters", lambda font: set("abc …"))
    scores, labels = make_rows()
    plot_all(scores, labels, ["a", "b", "c", "快乐", "悲伤"], 0.5, tmp_path)
    (record,) = caplog_of_fonts.records
    assert "4 characters" in record.message and "快" in record.message and "\n" not in record.message


def test_fault_17_no_line_about_the_names_of_labels_that_are_not_plotted(tmp_path, caplog_of_fonts):
    scores, labels = make_rows()
    labels[:, 4] = 0
    plot_all(scores, labels, ["a", "b", "c", "d", "\U00050000"], 0.5, tmp_path)
    assert not caplog_of_fonts.records

"""The plots of a run, and the numbers that they draw."""

import math
import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image
from sklearn.metrics import average_precision_score, precision_recall_curve

from hf_rnn_multilabel.evaluation import plots as report
from hf_rnn_multilabel.evaluation.metrics.multilabel.multilabel import apply_thresholds, decision_metrics
from hf_rnn_multilabel.evaluation.plots import expected_calibration_error, plot_all


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


def make_split(rows=60, labels=5, seed=0, unknown=0.1, dtype=np.float32):
    """Scores that rank well, some of them equal, and truth of which a part is unknown."""
    chance = np.random.default_rng(seed)
    truth = (chance.random((rows, labels)) < 0.3).astype(float)
    scores = np.round(np.clip(truth * 0.3 + chance.random((rows, labels)) * 0.7, 0, 1), 2).astype(dtype)
    truth[chance.random((rows, labels)) < unknown] = -100
    return scores, truth


def make_run(scores, truth, thresholds=0.5, names=None):
    scores, present, known = report._checked(scores, truth)
    names = names or [f"label {i}" for i in range(scores.shape[1])]
    return report.Run(scores, present, known, apply_thresholds(scores, thresholds) & known, names)


def plot(folder, scores, truth, thresholds=0.5):
    return plot_all(scores, truth, [f"label {i}" for i in range(scores.shape[1])], thresholds, folder)


def texts_of(figure):
    """The texts of a figure that are seen, laid out."""
    figure.draw_without_rendering()
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def test_the_calibration_error_is_the_one_that_paper_and_pencil_give():
    scores = np.array([[0.1, 0.3], [0.35, 0.9], [0.95, 0.2]])
    truth = np.array([[0, 1], [0, 1], [1, -100]])
    # Bins (0, .25], (.25, .5], (.75, 1]: |.1 - 0|, |.65 - 1| and |1.85 - 2|, over the five known entries.
    assert expected_calibration_error(scores, truth, bins=4) == pytest.approx((0.1 + 0.35 + 0.15) / 5)
    assert expected_calibration_error(scores, truth, bins=1) == pytest.approx(abs(2.6 - 3) / 5)


def test_a_score_on_an_edge_belongs_to_the_bin_below_and_zero_to_the_lowest():
    run = make_run(np.array([[0.0, 0.25, 0.5, 1.0]]), np.ones((1, 4)))
    count, score, positives = report._binned(run.scores, run.present, run.known, 4)
    assert count.tolist() == positives.tolist() == [2, 1, 0, 1]
    assert score.tolist() == [0.25, 0.5, 0, 1]


def test_scores_that_say_how_often_they_are_right_have_no_calibration_error():
    truth = np.repeat(np.eye(4)[:1], 3, axis=0).T  # (labels, rows), one positive in four
    assert expected_calibration_error(np.full((4, 3), 0.25), truth) == 0
    assert expected_calibration_error(np.full((4, 3), 0.75), truth) == 0.5


def test_the_calibration_error_of_nothing_known_is_not_a_number():
    assert math.isnan(expected_calibration_error(np.full((2, 2), 0.5), np.full((2, 2), -100)))


def test_an_unknown_entry_counts_nowhere(tmp_path):
    scores, truth = make_split()
    moved = np.where(truth == -100, 1 - scores, scores)
    assert (moved != scores).any()
    assert expected_calibration_error(moved, truth) == expected_calibration_error(scores, truth)
    for folder, values in (("a", scores), ("b", moved)):
        assert set(plot(tmp_path / folder, values, truth)) == PLOTS
    for name in PLOTS:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_blocks_of_rows_give_the_same_bins(monkeypatch):
    run = make_run(*make_split())
    whole = report._binned(run.scores, run.present, run.known, 15)
    monkeypatch.setattr(report, "BLOCK", 12)
    np.testing.assert_allclose(report._binned(run.scores, run.present, run.known, 15), whole)


@pytest.mark.parametrize("seed", range(5))
def test_curves_and_average_precision_are_those_of_scikit_learn(seed):
    run = make_run(*make_split(seed=seed, unknown=0))
    scores, present = run.scores.ravel(), run.present.ravel()
    precision, recall, average = report._curve(scores, present)
    assert average == pytest.approx(average_precision_score(present, scores))
    known_precision, known_recall, _ = precision_recall_curve(present, scores)
    known = set(zip(known_recall.round(9).tolist(), known_precision.round(9).tolist(), strict=True))
    drawn = list(zip(recall.round(9).tolist(), precision.round(9).tolist(), strict=True))[1:]
    assert len(drawn) > 20 and set(drawn) <= known
    assert recall[-1] == 1 and (np.diff(recall) > 0).all()


def test_the_dots_of_the_curves_are_precision_and_recall_of_the_models_tags():
    scores, truth = make_split(unknown=0)
    thresholds = [0.3, 0.4, 0.5, 0.6, 0.7]
    run = make_run(scores, truth, thresholds)
    figure, _ = report._precision_recall(run)
    dots = [line.get_xydata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    metrics = decision_metrics(run.tags, truth)
    assert dots[0] == pytest.approx([metrics["recall_micro"], metrics["precision_micro"]])
    columns = [decision_metrics(run.tags[:, [i]], truth[:, [i]]) for i in run.most_frequent(10)]
    expected = [(column["recall_micro"], column["precision_micro"]) for column in columns]
    np.testing.assert_allclose(dots[1:], expected)


def test_the_curves_of_f1_and_the_models_lines_are_the_metrics_own():
    scores, truth = make_split()
    thresholds = np.array([0.3, 0.4, 0.5, 0.6, 0.7])
    figure, _ = report._f1(make_run(scores, truth, thresholds))
    micro, own_micro, macro, own_macro = figure.axes[0].lines
    for place in (0, 31, 50, 77, 100):
        # A score in single precision is equal to the threshold that prints as it does.
        metrics = decision_metrics(apply_thresholds(scores, float(micro.get_xdata()[place])), truth)
        assert micro.get_ydata()[place] == pytest.approx(metrics["f1_micro"])
        assert macro.get_ydata()[place] == pytest.approx(metrics["f1_macro"])
    metrics = decision_metrics(apply_thresholds(scores, thresholds), truth)
    assert own_micro.get_ydata() == pytest.approx([metrics["f1_micro"]] * 2)
    assert own_macro.get_ydata() == pytest.approx([metrics["f1_macro"]] * 2)
    assert f"{metrics['f1_macro']:.3f}" in " ".join(text.get_text() for text in texts_of(figure))


def test_the_matrix_holds_the_share_of_the_rows_texts_that_carry_the_columns_label():
    truth = np.array([[1, 1, 0], [1, 0, 0], [1, 1, -100], [0, 0, 1]])
    run = make_run(np.where(truth == 1, 0.9, 0.1), truth)
    figure, _ = report._cooccurrence(run)
    for axes in figure.axes[:2]:
        (image,) = axes.get_images()
        shares = image.get_array().filled(np.nan)
        # Of the three texts with the first label, two have the second; the third label is known of two of them.
        np.testing.assert_allclose(shares, [[np.nan, 2 / 3, 0], [1, np.nan, 0], [0, 0, np.nan]])
        assert [label.get_text() for label in axes.get_xticklabels()] == ["label 0", "label 1", "label 2"]


def test_the_interval_of_a_share_is_wilsons():
    low, high = report._wilson(np.array([0.0, 5.0, 10.0]), np.array([10.0, 10.0, 10.0]))
    assert low == pytest.approx([0, 0.2366, 0.7225], abs=1e-4)
    assert high == pytest.approx([0.2775, 0.7634, 1], abs=1e-4)


def test_every_plot_is_a_picture_as_wide_as_a_page_with_a_caption(tmp_path):
    captions = plot(tmp_path, *make_split())
    assert set(captions) == PLOTS == {f"plots/{path.name}" for path in (tmp_path / "plots").iterdir()}
    for name, caption in captions.items():
        with Image.open(tmp_path / name) as image:
            assert image.format == "PNG" and 900 <= image.width <= 1000 and 400 <= image.height <= 800
            assert len(set(image.convert("L").tobytes())) > 10
        title, rest = caption.split(". ", 1)
        assert 10 < len(title) < 60 and rest.endswith(".")


def test_the_same_split_gives_the_same_bytes(tmp_path):
    first, second = (plot(tmp_path / name, *make_split()) for name in "ab")
    assert first == second
    for name in PLOTS:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    ("truth", "expected"),
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
def test_a_split_that_gives_nothing_to_draw_leaves_the_plot_out(tmp_path, truth, expected, score):
    truth = np.array(truth)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(plot(tmp_path, np.full(truth.shape, score), truth)) == expected
    assert {f"plots/{path.name}" for path in tmp_path.glob("plots/*")} == expected


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, int])
def test_scores_of_any_precision_are_drawn(tmp_path, dtype):
    scores, truth = make_split(dtype=dtype)
    assert set(plot(tmp_path, scores, truth.astype(np.float32))) == PLOTS


@pytest.mark.filterwarnings("ignore:Glyph")
def test_label_names_are_shown_as_they_are_and_never_as_mathematics(tmp_path):
    scores, truth = make_split(labels=len(AWKWARD))
    before = dict(matplotlib.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(plot_all(scores, truth, AWKWARD, 0.5, tmp_path)) == PLOTS
    assert dict(matplotlib.rcParams) == before
    run = make_run(scores, truth, names=AWKWARD)
    for drawn in (report._precision_recall(run), report._cooccurrence(run)):
        texts = {text.get_text().rsplit("  ", 1)[0]: text for text in texts_of(drawn[0])}
        for name in ("$x_1$ and $y$", "_hidden", "快乐 的标签", "two lines long"):
            assert not texts[name].get_parse_math()
        assert any(text.startswith("back\\slash \\frac") for text in texts)
        assert any(text.startswith("unbrokenunbroken") and text.endswith("…") for text in texts)
        assert all(len(text) < 60 for text in texts)


@pytest.mark.parametrize("labels", [1, 3, 12, 30])
def test_no_text_is_cut_off_and_no_legend_lies_over_the_axes(labels):
    names = [("wide " * 20)[: 3 + 5 * i] for i in range(labels)]
    run = make_run(*make_split(rows=200, labels=labels), names=names)
    for draw in (report._precision_recall, report._f1, report._calibration, report._cooccurrence):
        drawn = draw(run)
        if drawn is None:
            assert labels == 1 and draw is report._cooccurrence
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
    scores, truth = make_split(rows=300, labels=40, unknown=0)
    truth[:, 7] = 1
    run = make_run(scores, truth)
    expected = sorted(range(40), key=lambda column: -truth[:, column].sum())
    assert expected[0] == 7 and run.most_frequent(40) == expected
    figure, caption = report._precision_recall(run)
    legend = [text.get_text().split("  ")[0] for text in figure.legends[0].get_texts()]
    shown = [f"label {column}" for column in expected[:10]]
    assert legend == ["micro average", *shown, "at the model's threshold"]
    assert "all 40 together" in caption
    figure, caption = report._cooccurrence(run)
    assert len(figure.axes[0].get_yticklabels()) == 20 and "20 most frequent" in caption


@pytest.mark.parametrize("count", [0, 7, 999, 1000, 12345, 999_999, 24_374_314])
def test_a_count_is_written_short_and_near(count):
    shown = report._brief(count)
    factor = {"k": 1e3, "M": 1e6}.get(shown[-1], 1)
    assert len(shown) <= 5
    assert float(shown.rstrip("kM")) * factor == pytest.approx(count, rel=6e-3)


@pytest.mark.parametrize(
    ("scores", "truth", "error"),
    [
        ([[0.5, 1.2]], [[0, 1]], "sigmoid"),
        ([[0.5, -0.1]], [[0, 1]], "sigmoid"),
        ([[0.5, float("nan")]], [[0, 1]], "sigmoid"),
        ([[0.5, 0.5]], [[0, 2]], "holds 2"),
        ([[0.5, 0.5]], [[0, -1]], "holds -1"),
        ([[0.5, 0.5]], [[0, 1], [0, 1]], r"\(1, 2\).*\(2, 2\)"),
        ([0.5], [1], "rows, labels"),
    ],
)
def test_what_is_no_score_or_no_truth_is_an_error_in_words(tmp_path, scores, truth, error):
    with pytest.raises(ValueError, match=error):
        expected_calibration_error(np.array(scores), np.array(truth))
    with pytest.raises(ValueError, match=error):
        plot_all(np.array(scores), np.array(truth), ["a", "b"], 0.5, tmp_path)
    assert not list(tmp_path.iterdir())


def test_names_and_thresholds_must_be_one_for_each_label(tmp_path):
    scores, truth = make_split()
    with pytest.raises(ValueError, match="2 names for 5 labels"):
        plot_all(scores, truth, ["a", "b"], 0.5, tmp_path)
    with pytest.raises(ValueError, match="thresholds"):
        plot_all(scores, truth, list("abcde"), [0.5, 0.5], tmp_path)

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle, StepPatch
from scipy.stats import binomtest, kendalltau

from jaxcascade.cascade import Rule
from jaxcascade.reports import figures
from jaxcascade.reports.assembly import figures as drawn_figures
from jaxcascade.reports.gallery import makers
from jaxcascade.reports.material import Material, cell_edges
from jaxcascade.reports.model_figures import empirical, rank_correlation
from jaxcascade.reports.placing import label_points
from jaxcascade.reports.style import COLOURS, MARKERS, _plain_dollars, drawing, marks, panels, sheet
from jaxcascade.reports.tables import Gains, model_rows


@pytest.fixture
def material(frontier, records) -> Material:
    confidence = np.asarray(frontier.calibrate(records))
    return Material(frontier, records, confidence, model_rows(frontier, records), None, None)


def test_importing_the_room_does_not_load_matplotlib():
    code = "import sys, jaxcascade.reports; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_model_of_a_large_pool_has_its_own_mark():
    looks = marks([f"m{j}" for j in range(14)])
    assert len({mark.colour for mark in looks}) == len(COLOURS) == 14
    assert len({mark.marker for mark in looks}) == len(MARKERS) == 14


def test_the_user_settings_are_left_alone(material):
    import matplotlib

    before = matplotlib.rcParams.copy()
    drawn_figures(makers(material))
    assert dict(matplotlib.rcParams) == dict(before)
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )


@pytest.mark.parametrize(
    ("amount", "text"), [(0.5, "$0.5"), (2e-4, "$0.0002"), (1e-8, "$10⁻⁸"), (5e-7, "$5·10⁻⁷")]
)
def test_ticks_of_small_prices_stay_short(amount, text):
    assert _plain_dollars(amount) == text


def test_policy_map_paints_the_interval_below_the_threshold():
    with drawing():
        _, ax = sheet(2.0)
        rule = Rule((0.5,), ("next", "accept"))
        figures.policy_map(
            ax, np.array([1.0, 10.0, 100.0, 1000.0]), [rule, rule, None], {"next": "red"}
        )
        first, second, third = (patch for patch in ax.patches if isinstance(patch, Rectangle))
    assert first.get_extents().transformed(ax.transData.inverted()).extents == pytest.approx(
        [1, 0, 100, 0.5]
    )
    assert first.get_facecolor()[:3] == to_rgb("red")
    assert second.get_y() == 0.5
    assert (third.get_x(), third.get_hatch()) == (100, figures.NOT_ASKED["hatch"])


def test_answer_shares_fill_the_whole():
    with drawing():
        _, ax = sheet(2.0)
        shares = np.array([[0.7, 0.2], [0.0, 0.8]])
        figures.answer_shares(
            ax, np.array([1.0, 2.0, 3.0]), shares, 1 - shares.sum(axis=1), marks(("a", "b"))
        )
    tops = [patch.get_data()[0] for patch in ax.patches if isinstance(patch, StepPatch)]
    assert tops[-1] == pytest.approx(np.ones(2))
    assert len(tops) == 3


def test_saving_band_has_two_standard_errors():
    gains = Gains(np.array([1.0, 3.0]), np.array([0.5, 1.0]), np.array([10.0, 10.0]))
    with drawing():
        _, ax = sheet(2.0)
        figures.saving(ax, np.array([1.0, 2.0]), gains, None)
        corners = np.asarray(ax.collections[0].get_paths()[0].vertices)
    assert corners[:, 1].min() == pytest.approx(0.1 - 1.96 * 0.05)
    assert corners[:, 1].max() == pytest.approx(0.3 + 1.96 * 0.1)


@pytest.mark.parametrize(("right", "count"), [(0, 7), (3, 10), (40, 40)])
def test_wilson_interval_against_scipy(right, count):
    low, high = figures.wilson_interval(np.array([right / count]), np.array([float(count)]))
    oracle = binomtest(right, count).proportion_ci(method="wilson")
    assert (low[0], high[0]) == pytest.approx((oracle.low, oracle.high), abs=1e-5)


def test_rank_correlation_with_certainly_wrong_answers(material):
    log_confidence = material.records.log_confidence
    log_confidence = np.where(log_confidence < np.log(0.3), -np.inf, log_confidence)
    records = material.records.__class__(
        **{**vars(material.records), "log_confidence": log_confidence}
    )
    tau = rank_correlation(material._replace(records=records))
    assert tau[0, 1] == pytest.approx(kendalltau(*log_confidence[:, :2].T)[0])


def test_empirical_probabilities_jump_at_ties():
    left, right = empirical(np.array([0.5, 0.1, 0.5, np.nan]))
    assert left[:3] == pytest.approx([1 / 3, 0, 1 / 3])
    assert right[:3] == pytest.approx([1, 1 / 3, 1])


def test_one_price_has_a_range_too():
    low, high = cell_edges(np.array([2.0]))
    assert low < 2.0 < high


def test_labels_of_near_points_do_not_cover_each_other():
    with drawing():
        _, ax = sheet(4.0)
        x, y = np.array([1.0, 1.0, 1.02, 0.98]), np.array([1.0, 1.01, 1.0, np.nan])
        ax.plot(x, y, "o")
        ax.set(xlim=(0, 2), ylim=(0, 2))
        label_points(ax, x, y, marks(["first", "second", "third", "unknown"]))
        boxes = [text.get_window_extent() for text in ax.texts]
    assert [text.get_text() for text in ax.texts] == ["first", "second", "third"]
    assert not any(boxes[i].overlaps(boxes[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


@pytest.mark.parametrize(("count", "places"), [(1, 3), (5, 5), (9, 10), (14, 15)])
def test_panels_come_in_even_rows(count, places):
    with drawing():
        figure, axes = panels(count, 2.0)
        grid = axes[0].get_gridspec()
    assert len(axes) == len(figure.axes) == count
    assert grid is not None
    assert grid.nrows * grid.ncols == places


def test_costs_that_do_not_differ_need_no_logarithm():
    with drawing():
        _, ax = sheet(2.0)
        same = np.ones(3)
        curve = figures.Curve("training", same, same / 2)
        figures.error_cost(ax, [curve], (np.ones(1), np.ones(1)), marks(("one",)))
    assert ax.get_xscale() == "linear"

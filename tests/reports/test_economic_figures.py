"""Economic figures against the numbers that they show."""

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgb

from jaxcascade.cascade import Outcome
from jaxcascade.economics import RECOMMENDED, DeferralCurve, FrontierMap, price_map
from jaxcascade.errors import InvalidInputError
from jaxcascade.posterior import Band
from jaxcascade.reports import economic_figures as figures
from jaxcascade.reports.style import COLOURS, drawing

NAMES = ("cheap", "middle", "dear")


@pytest.fixture
def draws() -> Outcome:
    """Break-even prices of 2 and 10 dollars on average."""
    wobble = 1 + np.array([-0.1, 0.0, 0.1])[:, None]
    error = wobble * np.array([0.4, 0.2, 0.1])
    cost = np.array([0.1, 0.5, 1.5]) * np.ones((3, 1))
    latency = np.array([1.0, 2.0, 30.0]) * np.ones((3, 1))
    return Outcome(error, 0 * error, cost, latency, np.ones((3, 3, 1)))


def test_a_map_is_painted_by_system_and_certainty(draws):
    found = price_map(draws, np.geomspace(0.1, 100, 7), np.array([0.0, 0.05, 10.0]))
    with drawing():
        figure = figures.best_system_map(found, NAMES).figure
        figure.draw_without_rendering()
        (ax,) = figure.axes
        (mesh,) = (part for part in ax.collections if isinstance(part, QuadMesh))
        painted = np.asarray(mesh.get_facecolor())[:, :3].reshape(3, 7, 3)
    for e in range(7):
        for second in range(3):
            best = int(found.choice.best[e, second])
            strength = found.choice.probability[e, second, best]
            expected = 1 - strength * (1 - np.array(to_rgb(COLOURS[best])))
            np.testing.assert_allclose(painted[second, e], expected, atol=0.01)
    legend = ax.get_legend()
    assert legend is not None
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown == [NAMES[s] for s in np.unique(found.choice.best)]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["$0", "$0.0500", "$10.0"]


def test_a_map_of_savings_against_the_big_model(draws):
    names = ("cheap", "dear", RECOMMENDED)
    found = price_map(draws, np.geomspace(0.1, 100, 7), np.array([0.0, 0.05, 10.0]))
    losses = np.array(found.choice.expected_loss)[..., [0, 2, 1]]
    losses[0, :, 2] = np.nan  # one model is recommended
    several = FrontierMap(names, found._replace(choice=found.choice._replace(expected_loss=losses)))
    with drawing():
        drawn = figures.cascade_map(several)
        drawn.figure.draw_without_rendering()
    (mesh,) = (p for p in drawn.figure.axes[0].collections if isinstance(p, QuadMesh))
    shown = np.ma.masked_invalid(np.ma.asarray(mesh.get_array()))
    saved = 1 - losses[..., 2] / losses[..., 1]
    assert shown.mask[:, 0].all()
    assert not shown.mask[:, 1:].any()
    np.testing.assert_allclose(shown[:, 1:], saved[1:].T)
    # Blue is what saves, red what costs.
    for (second, e), value in np.ndenumerate(saved[1:].T):
        red, _, blue, _ = mesh.get_facecolor().reshape(3, 7, 4)[second, e + 1]
        if abs(value) > 0.1:
            assert (blue > red) == (value > 0)
    assert saved[1:].max() > 0.1
    assert saved[1:].min() < -0.1
    assert drawn.title == "Cascades against dear alone"
    assert figures.cascade_map(several, "cheap").title == "Cascades against cheap alone"
    with pytest.raises(InvalidInputError, match=r"`big` must be one of cheap, dear"):
        figures.cascade_map(several, "middle")


@pytest.mark.parametrize("seconds", [True, False])
def test_bars_are_means_and_lines_intervals(draws, seconds):
    if not seconds:
        draws = draws._replace(latency_s=np.full((3, 3), np.nan))
    with drawing():
        figure = figures.system_bars(draws, NAMES).figure
        figure.draw_without_rendering()
    error, cost, latency = figure.axes
    np.testing.assert_allclose([bar.get_width() for bar in error.patches], [0.4, 0.2, 0.1])
    np.testing.assert_allclose([bar.get_width() for bar in cost.patches], [100, 500, 1500])
    expected = [1, 2, 30] if seconds else []
    np.testing.assert_allclose([bar.get_width() for bar in latency.patches], expected)
    assert ("not recorded" in [text.get_text() for text in latency.texts]) != seconds
    # Quantiles of three values, a tenth apart.
    ends = [line.get_segments()[0][:, 0] for line in error.collections]
    np.testing.assert_allclose(ends, np.outer([0.4, 0.2, 0.1], [0.91, 1.09]))
    assert [label.get_text() for label in error.get_yticklabels()] == list(NAMES)
    assert error.get_ylim()[0] > error.get_ylim()[1], "the first on top"


def test_losses_cross_at_the_break_even_prices(draws):
    with drawing():
        figure = figures.loss_by_price(draws, NAMES, np.geomspace(0.5, 50, 9)).figure
        figure.draw_without_rendering()
    paths = [line.get_xydata() for line in figure.axes[0].get_lines()]
    dots = [path[0] for path in paths if len(path) == 1]
    np.testing.assert_allclose(dots, [(2.0, 0.9), (10.0, 2.5)])
    with drawing():
        figure = figures.loss_by_price(draws, NAMES, np.geomspace(3, 50, 9), 0.1).figure
    lines = [line.get_xydata() for line in figure.axes[0].get_lines() if len(line.get_xydata()) > 1]
    np.testing.assert_allclose(lines[2][:, 1], 1.5 + 3.0 + 0.1 * lines[2][:, 0])


@pytest.mark.parametrize("seconds", [True, False])
def test_passing_on_shows_medians_and_intervals(seconds):
    rates = np.array([0.0, 0.5, 1.0])
    band = Band(rates - 0.1, rates, rates + 0.1)
    unknown = Band(*(np.full(3, np.nan) for _ in range(3)))
    curve = DeferralCurve("a", "b", rates, band, band, band, band if seconds else unknown)
    with drawing():
        drawn = figures.passing_on(curve)
        drawn.figure.draw_without_rendering()
    assert drawn.title == "From a to b"
    heights = [ax.get_lines()[0].get_ydata() for ax in drawn.figure.axes if ax.get_lines()]
    assert len(heights) == 2 + seconds
    np.testing.assert_allclose(heights[0], rates)
    np.testing.assert_allclose(heights[1], 1000 * rates)
    assert ("not recorded" in [text.get_text() for text in drawn.figure.axes[2].texts]) != seconds


def test_the_pareto_line_leaves_out_what_no_price_prefers(draws):
    draws.error[:, 1] = 0.35  # above the line from the cheap system to the dear one
    with drawing():
        (ax,) = figures.pareto(draws, NAMES).figure.axes
    np.testing.assert_allclose(ax.get_lines()[0].get_xydata(), [[100, 0.4], [1500, 0.1]])
    assert [text.get_text() for text in ax.texts] == list(NAMES)


def test_every_system_needs_its_name(draws):
    found = price_map(draws, np.ones(1), np.zeros(1))
    for draw in (
        lambda: figures.best_system_map(found, NAMES[:2]),
        lambda: figures.loss_by_price(draws, NAMES[:2], np.ones(2)),
        lambda: figures.pareto(draws, [*NAMES, "more"]),
        lambda: figures.system_bars(draws, NAMES[:2]),
    ):
        with pytest.raises(InvalidInputError, match="name each of the 3 systems"):
            draw()

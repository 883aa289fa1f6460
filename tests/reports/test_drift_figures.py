"""Figures of drift and segments, against the numbers that they show."""

import numpy as np
import pytest

from jaxcascade.cascade import Outcome, Prices
from jaxcascade.economics import (
    LossFromSharing,
    Monitoring,
    SegmentChoice,
    SegmentFrontier,
    SegmentPoint,
    Segments,
    Watch,
)
from jaxcascade.reports import drift_figures
from jaxcascade.reports.style import drawing


@pytest.fixture
def found() -> Monitoring:
    path = np.cumsum(np.full(100, 0.1))
    log_e = np.stack([path, -path])
    calm = Watch(0 * log_e, np.array([100, 100]), 0.05)
    return Monitoring(("one", "_two$"), np.arange(100), Watch(log_e, calm.count, 0.05), calm, 0.05)


def test_lines_show_the_evidence_and_a_dot_the_first_alarm(found):
    with drawing():
        drawn = drift_figures.drift_evidence(found)
        drawn.figure.draw_without_rendering()
    left, right = drawn.figure.axes
    curves = [line.get_ydata() for line in left.get_lines() if len(line.get_ydata()) == 100]
    np.testing.assert_allclose(curves[0], np.exp(found.drift.log_e[0]))
    np.testing.assert_allclose(curves[1], np.maximum(np.exp(found.drift.log_e[1]), 1e-3))
    dots = [line.get_xydata() for line in left.get_lines() if len(line.get_ydata()) == 1]
    assert found.drift.first_alarm.tolist() == [37, -1]
    np.testing.assert_allclose(dots, [[[37, np.exp(3.7)]]])
    threshold = [line.get_ydata()[0] for line in left.get_lines() if line.get_linestyle() == "--"]
    assert threshold == pytest.approx([40.0])
    assert not [line for line in right.get_lines() if len(line.get_ydata()) == 1]
    assert "5 percentage points" in right.get_title(loc="left")
    assert len(right.get_legend().get_texts()) == 2


def test_without_labels_there_is_one_plot(found):
    with drawing():
        figure = drift_figures.drift_evidence(found._replace(calibration=None)).figure
    assert len(figure.axes) == 1


def test_a_row_shows_both_losses_of_a_group():
    found = LossFromSharing(
        ("law", "tax"),
        np.array([30, 1]),
        np.array([0.004, 0.002]),
        np.array([0.003, 0.002]),
        np.array([0.0002, np.nan]),
        0.001,
        0.0005,
    )
    with drawing():
        drawn = drift_figures.sharing(found)
        drawn.figure.draw_without_rendering()
    (ax,) = drawn.figure.axes
    shared, own = (line.get_xdata() for line in ax.get_lines())
    np.testing.assert_allclose(shared, [4.0, 2.0])
    np.testing.assert_allclose(own, [3.0, 2.0])
    ends = [segment[:, 0] for segment in ax.collections[0].get_segments()]
    np.testing.assert_allclose(ends, [[3 - 0.392, 3 + 0.392], [2, 2]])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["law (30)", "tax (1)"]
    assert "save $1 per 1,000 queries" in drawn.caption


def test_a_line_shows_the_share_that_own_policies_save():
    held_out = LossFromSharing(
        ("law", "tax"), np.array([30, 10]), np.array([0.4, 0.8]), np.array([0.3, 0.8]),
        np.array([0.02, 0.01]), 0.075, 0.02,
    )  # fmt: skip
    choice = SegmentChoice(("law", "tax"), ("a", "b"), 0, np.array([1, 0]), *np.zeros((2, 2, 2)))
    points = tuple(SegmentPoint(Prices(p), 0, choice, held_out) for p in (1.0, 2.0))
    outcome = Outcome(*(np.zeros((2, 2)) for _ in range(4)), np.zeros((2, 2, 1)))
    by_group = Segments(("law", "tax"), np.array([30, 10]), outcome)
    with drawing():
        drawn = drift_figures.sharing_by_price(SegmentFrontier(("a", "b"), by_group, points))
    (ax,) = drawn.figure.axes
    share = 0.075 / 0.5  # of three quarters of 0.4 and a quarter of 0.8
    np.testing.assert_allclose(ax.get_lines()[0].get_xydata(), [[1.0, share], [2.0, share]])
    low, high = np.percentile(ax.collections[0].get_paths()[0].vertices[:, 1], [0, 100])
    np.testing.assert_allclose([low, high], [share - 1.96 * 0.04, share + 1.96 * 0.04])

"""What the pages on drift and on groups say, for findings made by hand."""

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
from jaxcascade.reports.drift_page import drift_columns, drift_note, drift_verdict
from jaxcascade.reports.segment_page import group_columns, price_columns, segment_verdict


def watch(rises):
    """Two models, ten queries; evidence of the first rises to e^5, where an alarm takes 40."""
    path = np.linspace(0.5, 5.0, 10)
    return Watch(np.stack([rises * path, -path]), np.array([10, 9]), 0.05)


@pytest.mark.parametrize("labels", [False, True])
def test_drift_is_said_of_the_models_that_drift(labels):
    found = Monitoring(("a", "b"), np.arange(10), watch(1), watch(0) if labels else None, 0.05)
    lines = drift_verdict(found)
    assert lines[0] == "Drift: the confidence of a is not as in training."
    assert lines[1:] == (["Calibration may still hold within 5 percentage points."] * labels)
    cells = {column.head: list(column.cells) for column in drift_columns(found)[:4]}
    assert cells == {
        "model": ["a", "b"],
        "queries": ["10", "9"],
        "evidence of drift": ["148", "0.607"],
        "alarm after": ["8", ""],
    }
    assert "an alarm takes 40" in drift_note(found, in_order=False)
    assert "in the order of the file" in drift_note(found, in_order=True)


def test_failing_calibration_is_said_of_the_models_that_fail():
    found = Monitoring(("a", "b"), np.arange(10), watch(0), watch(1), 0.02)
    assert drift_verdict(found) == [
        "No drift found: confidence may still be as in training.",
        "Calibration fails: a right more or less often than announced, by over 2 percentage "
        "points.",
    ]


def by_price(*gains):
    """Groups of 30 and 10 queries; gains of the first, with a standard error of .02 dollars."""
    error, cost_usd = np.array([[0.25, 0.5], [0.125, 0.5]]), np.full((2, 2), 0.004)
    outcome = Outcome(error, 0 * error, cost_usd, 0 * error, np.zeros((2, 2, 2)))
    own = np.array([1, 0])
    points = tuple(
        SegmentPoint(
            Prices(10.0**p),
            0,
            SegmentChoice(("law", "tax"), ("s", "t"), 0, own, *np.zeros((2, 2, 2))),
            LossFromSharing(
                ("law", "tax"), np.array([30, 10]), np.array([0.4, 0.8]),
                np.array([0.4 - gain, 0.8]), np.array([0.02, np.nan]), 0.75 * gain, 0.02,
            ),
        )
        for p, gain in enumerate(gains)
    )  # fmt: skip
    return SegmentFrontier(
        ("s", "t"), Segments(("law", "tax"), np.array([30, 10]), outcome), points
    )


def test_a_row_per_group_is_of_the_policy_and_of_what_its_own_saves():
    found = by_price(-0.1)
    cells = [list(column.cells) for column in group_columns(found, found.points[0])]
    assert cells == [
        ["law", "tax"],
        ["30", "10"],
        ["25.0%", "12.5%"],
        ["$4.00", "$4.00"],
        ["$254", "$129"],  # 0.25 and 0.125 dollars for errors, and 0.004 for calls
        ["t", "s"],
        ["-$100.0", "$0"],
        ["$20.0", ""],
    ]


def test_a_row_per_price_is_of_all_groups():
    cells = [list(column.cells) for column in price_columns(by_price(0.1, 0.0))]
    assert cells[:4] == [["$1.00", "$10.0"], ["s", "s"], ["1 of 2", "1 of 2"], ["$75.0", "$0"]]
    assert cells[5] == ["15.0%", "0.0%"]  # of a shared loss of 0.5 dollars


def test_own_policies_pay_where_they_save_more_than_luck_does():
    assert segment_verdict(by_price(0.1)) == (
        "A policy per group pays: on held-out queries it saves $75.0 per 1,000 against one for all "
        "(standard error $20.0)."
    )
    assert "does not clearly pay: on held-out queries it loses $7.50" in segment_verdict(
        by_price(-0.01)
    )
    assert "at 2 of 4 prices, from $10.0 to $100" in segment_verdict(by_price(0.0, 0.1, 0.1, 0.05))
    assert segment_verdict(by_price(0.0, 0.05)).startswith("At none of 2 prices")

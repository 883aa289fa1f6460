"""Figures of people behind models, against the numbers that they show."""

import jax
import numpy as np
import pytest

from jaxcascade.economics import (
    LoopCurves,
    fail_fast_policy,
    latency_drag,
    local_linear,
    loop_curves,
    simulated_records,
)
from jaxcascade.errors import RecordsError
from jaxcascade.reports import human_figures
from jaxcascade.reports.style import drawing


@pytest.fixture(scope="module")
def records():
    return simulated_records(jax.random.key(1), 400)


@pytest.fixture(scope="module")
def curves(records) -> LoopCurves:
    half = np.arange(200)
    return loop_curves(
        records.take(half),
        records.take(200 + half),
        utilisations=(0.0, 0.5),
        rejections=(0.0, 0.1, 0.2),
    )


def test_tokens_are_medians_in_twentieths(records):
    with drawing():
        figure = human_figures.tokens_by_difficulty(records).figure
        figure.draw_without_rendering()
    (ax,) = figure.axes
    for j, line in enumerate(ax.get_lines()):
        order = np.argsort(records.extra["difficulty"][:, j])
        expected = np.median(records.extra["output_tokens"][order, j].reshape(20, 20), axis=1)
        np.testing.assert_allclose(line.get_ydata(), expected)
        assert line.get_label() == records.models[j]


def test_correctness_is_smoothed_on_the_logarithm_of_tokens(records):
    with drawing():
        figure = human_figures.correctness_by_tokens(records).figure
        figure.draw_without_rendering()
    (ax,) = figure.axes
    for j, line in enumerate(ax.get_lines()):
        tokens = records.extra["output_tokens"][:, j]
        x = line.get_xdata()
        np.testing.assert_allclose(x[[0, -1]], np.exp(np.quantile(np.log(tokens), [0.01, 0.99])))
        found = local_linear(np.log(tokens), records.correct[:, j], np.log(x))
        np.testing.assert_allclose(line.get_ydata(), np.clip(found.value, 0, 1))
        # Two edges of the band in one outline.
        heights = ax.collections[j].get_paths()[0].vertices[:, 1]
        for end in (found.value - found.standard_error, found.value + found.standard_error):
            assert np.abs(heights[:, None] - np.clip(end, 0, 1)).min(axis=0).max() < 1e-9
    assert len(ax.get_lines()) == 2
    assert ax.get_xscale() == "log"


def test_the_shaded_area_is_the_drag(records):
    """Bins end where zones end here; what lies below the mean counts against what lies above."""
    rule = fail_fast_policy(records, records.confidence, utilisation=0.5, rejection=0.2)
    with drawing():
        figure = human_figures.drag_by_confidence(records, records.confidence, rule).figure
        figure.draw_without_rendering()
    (ax,) = figure.axes
    drag = latency_drag(records, records.confidence, rule)
    x, y = ax.collections[0].get_paths()[0].vertices.T
    area = 0.5 * abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
    assert area == pytest.approx(abs(drag.total), rel=0.03)
    words = [text.get_text() for text in ax.texts]
    assert f"drag {drag.total:+.1f} s per query" in words
    assert {"to a person", "passed on", "answered"} <= set(words)
    verticals = [line.get_xdata()[0] for line in ax.get_lines() if len(set(line.get_xdata())) == 1]
    np.testing.assert_allclose(verticals, [0.1, 0.6])


def test_rejection_curves_show_accuracy_and_error(curves):
    with drawing():
        figure = human_figures.rejection_curves(curves, None).figure
        figure.draw_without_rendering()
    left, right = figure.axes
    for i in range(2):
        x, y = left.get_lines()[i].get_data()
        np.testing.assert_allclose(x, curves.human_share[i])
        np.testing.assert_allclose(y, curves.conditional_accuracy[i])
        np.testing.assert_allclose(
            right.get_lines()[i].get_ydata(), 1 - curves.conditional_accuracy[i]
        )
    assert right.get_yscale() == "log"
    labels = [text.get_text() for text in left.get_legend().get_texts()]
    assert labels == ["Ask", "Fail fast or ask, 50% spared"]


def test_difficulty_and_tokens_must_be_known(records):
    plain = records.take(np.arange(5))
    del plain.extra["output_tokens"]
    with pytest.raises(RecordsError, match="needs the column `output_tokens`"):
        human_figures.correctness_by_tokens(plain)
    plain = records.take(np.arange(5))
    del plain.extra["difficulty"]
    with pytest.raises(RecordsError, match="needs the column `difficulty`"):
        human_figures.tokens_by_difficulty(plain)

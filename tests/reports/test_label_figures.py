"""The figure of what labels are worth, against the numbers that it shows."""

import numpy as np
import pytest

from jaxcascade.cascade import Prices
from jaxcascade.posterior.labels import LabelValue, labels_worth
from jaxcascade.reports import label_figures
from jaxcascade.reports.style import drawing

NUM_PRICES = 9


@pytest.fixture
def value() -> LabelValue:
    more = np.array([50, 100, 400])
    resolved = more / (more + 100.0)
    perfect = np.geomspace(1e-5, 1e-3, NUM_PRICES)
    gain = resolved[:, None] * perfect
    error = np.geomspace(1e-4, 1e-1, NUM_PRICES)
    prices = Prices(error, 0 * error, np.full(NUM_PRICES, np.inf))
    return LabelValue(
        prices, more, resolved, gain, 0.1 * gain, perfect, 0.1 * perfect, 10 * perfect, 2e-4
    )


def test_lines_show_the_gains_from_zero_on_and_dots_the_best_numbers(value):
    with drawing():
        drawn = label_figures.label_value(value, 0.05, 100_000, shown=[0, 8])
        drawn.figure.draw_without_rendering()
    left, right = drawn.figure.axes
    worth = labels_worth(value, 0.05, 100_000)
    curves = [line.get_xydata() for line in left.get_lines() if len(line.get_xydata()) == 4]
    for curve, p in zip(curves, (0, 8), strict=True):
        np.testing.assert_allclose(curve[:, 0], [0, 50, 100, 400])
        np.testing.assert_allclose(curve[1:, 1], 1000 * value.gain[:, p])
        assert curve[0, 1] == 0
    dots = [line.get_xydata()[0] for line in right.get_lines() if len(line.get_xydata()) == 1]
    np.testing.assert_allclose(dots, [(worth.more[p], worth.net_usd[p]) for p in (0, 8)])
    assert worth.more[0] == 0 < worth.more[8]
    assert "$0.0502 for each labelled query" in drawn.caption
    assert "100,000 future queries" in drawn.caption


@pytest.mark.parametrize(("num_prices", "expected"), [(9, 4), (2, 2), (1, 1)])
def test_a_few_prices_are_shown_unless_told(value, num_prices, expected):
    cut = value._replace(
        prices=Prices(*(np.asarray(part)[:num_prices] for part in value.prices)),
        gain=value.gain[:, :num_prices],
        standard_error=value.standard_error[:, :num_prices],
        perfect=value.perfect[:num_prices],
    )
    with drawing():
        figure = label_figures.label_value(cut, 0.05, 1000).figure
    legend = figure.axes[0].get_legend()
    assert legend is not None
    texts = [text.get_text() for text in legend.get_texts()]
    assert len(texts) == len(set(texts)) == expected
    assert all(text.endswith(" per error") for text in texts)

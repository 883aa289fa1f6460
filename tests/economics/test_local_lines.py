"""Local lines against weighted least squares, place by place."""

import numpy as np
import pytest

from jaxcascade.economics import local_linear
from jaxcascade.errors import InvalidInputError


def brute_force(x, y, place, width):
    """Intercept of the weighted line through (x - place, y), by the normal equations."""
    root = np.exp(-0.25 * ((x - place) / width) ** 2)
    design = np.stack([root, root * (x - place)], axis=1)
    return np.linalg.lstsq(design, root * y, rcond=None)[0][0]


@pytest.mark.parametrize("width", [0.15, 0.6, None])
def test_values_are_those_of_weighted_least_squares(width):
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    y = (rng.uniform(size=300) < 1 / (1 + np.exp(-2 * x))).astype(float)
    at = np.linspace(-1.5, 1.5, 11)
    found = local_linear(x, y, at, width)
    used = 1.06 * np.std(x, ddof=1) * 300**-0.2 if width is None else width
    assert found.bandwidth == pytest.approx(used)
    expected = [brute_force(x, y, place, used) for place in at]
    np.testing.assert_allclose(found.value, expected, rtol=1e-9)


def test_the_standard_error_is_the_spread_over_repetitions():
    rng = np.random.default_rng(1)
    x, at = np.linspace(0, 1, 400), np.linspace(0.0, 1.0, 5)
    chance = 0.2 + 0.6 * x
    found = [local_linear(x, rng.uniform(size=400) < chance, at, 0.1) for _ in range(400)]
    spread = np.std([one.value for one in found], axis=0)
    told = np.mean([one.standard_error for one in found], axis=0)
    np.testing.assert_allclose(told, spread, rtol=0.1)
    middle = np.mean([one.value for one in found], axis=0)
    np.testing.assert_allclose(middle, 0.2 + 0.6 * at, atol=0.015)


def test_memory_in_blocks_changes_nothing(monkeypatch):
    rng = np.random.default_rng(2)
    x, y, at = rng.normal(size=50), rng.normal(size=50), np.linspace(-1, 1, 7)
    whole = local_linear(x, y, at)
    monkeypatch.setattr("jaxcascade.economics.local_lines._BLOCK", 100)
    parts = local_linear(x, y, at)
    np.testing.assert_allclose(parts.value, whole.value, rtol=1e-12)
    np.testing.assert_allclose(parts.standard_error, whole.standard_error, rtol=1e-12)


def test_far_from_all_the_value_is_that_of_the_nearest():
    x, y = np.array([0.0, 1.0]), np.array([0.25, 0.75])
    found = local_linear(x, y, np.array([0.0, 1.0]), 1e-3)
    np.testing.assert_allclose(found.value, y)


@pytest.mark.parametrize(
    ("x", "y", "at", "width", "message"),
    [
        ([0.0, 1.0], [0.0], [0.5], None, "rows of one length"),
        ([1.0, 1.0], [0.0, 1.0], [0.5], None, "at least two values"),
        ([0.0, np.inf], [0.0, 1.0], [0.5], None, "must be finite"),
        ([0.0, 1.0], [0.0, 1.0], [0.5, 0.5], None, "increasing places"),
        ([0.0, 1.0], [0.0, 1.0], [0.5], 0.0, "`bandwidth` must be above 0"),
    ],
)
def test_bad_input(x, y, at, width, message):
    with pytest.raises(InvalidInputError, match=message):
        local_linear(np.array(x), np.array(y), np.array(at), width)

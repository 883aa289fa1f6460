"""MAP logistic calibration against SciPy's constrained optimiser on the same objective."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from jaxcascade.calibration import (
    LogisticCalibration,
    TemperatureCalibration,
    beta_calibration,
    two_sided,
)

N = 120  # one length for all, so that each method compiles once


def data(kind):
    rng = np.random.default_rng(11)
    p = np.clip(rng.beta(4, 1.2, N), 1e-4, 1 - 1e-9)
    if kind == "constant":
        p = np.full(N, 0.8)
    if kind == "certain":
        p[::3] = 1.0
        p[1::10] = 1e-4
    if kind == "impossible":
        p[::4] = 0.0
    rate = np.minimum(p, 0.97) ** 1.5
    if kind == "reversed":
        rate = 1 - rate
    correct = (rng.random(N) < rate).astype(float)
    if kind in ("right", "wrong"):
        correct = np.full(N, float(kind == "right"))
    if kind == "separable":
        correct = (p > np.median(p)).astype(float)
    weight = np.ones(N)
    if kind == "weighted":
        weight = rng.exponential(size=N) * (rng.random(N) < 0.8)
    if kind == "few":
        weight = (np.arange(N) < 6).astype(float)
    with np.errstate(divide="ignore"):
        return np.log(p), correct, weight


KINDS = [
    "plain", "constant", "certain", "impossible", "reversed",
    "right", "wrong", "separable", "weighted", "few",
]  # fmt: skip


def signal(name, log_p):
    with np.errstate(divide="ignore"):
        upper = -np.log(-np.expm1(log_p))
    if name == "one-sided":
        return upper[:, None]
    if name == "two-sided":
        return np.where(log_p >= np.log(0.5), upper - np.log(2), log_p + np.log(2))[:, None]
    if name == "temperature":
        return (log_p + upper)[:, None]
    return np.stack([log_p, upper], axis=1)


METHODS = {
    "one-sided": LogisticCalibration(),
    "two-sided": LogisticCalibration(two_sided, slope_mean=0.7, slope_scale=1.5),
    "temperature": TemperatureCalibration(),
    "beta": beta_calibration(),
}


def reference(name, log_p, correct, weight):
    """Probability of being right at each training row, by SciPy."""
    method = METHODS[name]
    raw = signal(name, log_p)
    for column in raw.T:
        seen = column[(weight > 0) & np.isfinite(column)]
        low, high = (seen.min(), seen.max()) if seen.size else (0.0, 0.0)
        column[:] = np.clip(column, low, high)
    if name == "temperature":
        design, mean, scale = raw, np.ones(1), np.full(1, method.slope_scale)
        bounds = [(0, None)]
    else:
        share = weight / weight.sum()
        center = share @ raw
        spread = np.sqrt(share @ (raw - center) ** 2)
        spread = np.where(spread > 1e-9, spread, 1.0)
        design = np.column_stack([np.ones(N), (raw - center) / spread])
        p = raw.shape[1]
        mean = np.array([0.0] + [method.slope_mean] * p)
        scale = np.array([method.intercept_scale] + [method.slope_scale] * p)
        bounds = [(None, None)] + [(0, None)] * p

    def objective(x):
        eta = design @ x
        value = weight @ (np.logaddexp(0, eta) - correct * eta)
        value += 0.5 * np.sum(((x - mean) / scale) ** 2)
        slope = design.T @ (weight * (1 / (1 + np.exp(-eta)) - correct)) + (x - mean) / scale**2
        return value, slope

    starts = [mean, np.full(mean.size, 0.3)]
    options = {"ftol": 1e-16, "gtol": 1e-11, "maxiter": 5000}
    fits = [minimize(objective, s, jac=True, bounds=bounds, options=options) for s in starts]
    best = min(fits, key=lambda fit: fit.fun)
    return 1 / (1 + np.exp(-design @ best.x))


@eqx.filter_jit
def fit(method, log_p, correct, weight):
    return method.fit(log_p, correct, weight)


def fitted(name, arrays):
    return fit(METHODS[name], *map(jnp.asarray, arrays))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", METHODS)
def test_matches_scipy(name, kind):
    arrays = data(kind)
    calibrator = fitted(name, arrays)
    assert np.all(np.asarray(calibrator.coefficients) >= 0)
    found = calibrator(jnp.asarray(arrays[0]))
    np.testing.assert_allclose(found, reference(name, *arrays), atol=2e-6)


@pytest.mark.parametrize("name", METHODS)
def test_rows_of_weight_zero_do_not_count(name):
    log_p, correct, weight = data("weighted")
    one = fitted(name, (log_p, correct, weight))
    unused = weight == 0
    assert unused.any()
    other = fitted(
        name, (np.where(unused, 0.0, log_p), np.where(unused, 1 - correct, correct), weight)
    )
    np.testing.assert_array_equal(one(jnp.asarray(log_p)), other(jnp.asarray(log_p)))


def test_a_reversed_signal_is_called_uninformative():
    assert not fitted("one-sided", data("reversed")).informative
    assert fitted("one-sided", data("plain")).informative


def test_a_constant_confidence_is_called_uninformative():
    assert not fitted("one-sided", data("constant")).informative


def test_one_label_and_no_finite_signal_stay_finite():
    weight = (np.arange(N) == 0).astype(float)
    for log_p in (np.zeros(N), np.full(N, -np.inf), np.full(N, -0.5)):
        for name in METHODS:
            values = fitted(name, (log_p, np.ones(N), weight))(jnp.asarray(log_p))
            assert np.all(np.isfinite(values)), (name, log_p[0])


def test_a_new_certainty_gets_the_largest_signal_seen():
    arrays = data("plain")
    calibrator = fitted("one-sided", arrays)
    highest = calibrator(jnp.asarray(arrays[0])).max()
    np.testing.assert_array_equal(calibrator(jnp.zeros(1)), [highest])

"""Every calibrator, marginal and copula, built once with an id; a new class joins with one line."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcascade.calibration import (
    IsotonicCalibrator,
    LogisticCalibrator,
    log_odds,
    log_pair,
    one_sided,
    two_sided,
)
from jaxcascade.cascade import CascadeModel
from jaxcascade.copulas import (
    Clayton,
    Frank,
    Gaussian,
    Gumbel,
    Independence,
    Joe,
    StudentT,
    SurvivalGumbel,
    rotated,
)
from jaxcascade.marginals import BetaMixture, HistogramLaw, Marginal, Recalibrated


def _logistic(transform, intercept, coefficients, lowest, highest):
    parts = (jnp.array(part, float) for part in (intercept, coefficients, lowest, highest))
    return LogisticCalibrator(*parts, transform)


def _marginal(low, high, atom_low, atom_high, interior):
    return Marginal(
        *(jnp.array(part, float) for part in (low, high, atom_low, atom_high)), interior
    )


def _betas(weights, concentration1, concentration0):
    return BetaMixture(*(jnp.array(p, float) for p in (weights, concentration1, concentration0)))


def _histogram():
    knots = jnp.sin(0.5 * jnp.pi * jnp.linspace(0.0, 1.0, 9)) ** 2
    return HistogramLaw(knots, jnp.array([0.0, 0.1, 0.12, 0.3, 0.35, 0.6, 0.61, 0.9, 1.0]))


CALIBRATORS = {
    "one-sided": _logistic(one_sided, -0.5, [0.8], [0.29], [12.0]),
    "two-sided": _logistic(two_sided, 0.2, [1.1], [-3.0], [9.0]),
    "temperature": _logistic(log_odds, 0.0, [0.4], [-2.0], [20.0]),
    "beta": _logistic(log_pair, 0.3, [0.5, 0.7], [-1.4, 0.29], [-1e-6, 14.0]),
    "uninformative": _logistic(one_sided, 0.4, [0.0], [0.29], [12.0]),
    "isotonic": IsotonicCalibrator(
        jnp.array([0.3, 0.5, 0.5, 0.8, 1.0]), jnp.array([0.2, 0.4, 0.4, 0.7, 0.95])
    ),
}


def _recalibrated(base, low, high, intercept, slope):
    ends = jax.nn.sigmoid(intercept + slope * jax.scipy.special.logit(jnp.array([low, high])))
    law = Recalibrated(base, *(jnp.array(part) for part in (low, high, intercept, slope)))
    return Marginal(*ends, jnp.array(0.1), jnp.array(0.2), law)


SMOOTH = _betas([0.4, 0.6], [2.0, 6.0], [5.0, 1.5])
MARGINALS = {
    "two-atoms": _marginal(0.2, 0.95, 0.1, 0.25, SMOOTH),
    "no-atoms": _marginal(0.0, 1.0, 0.0, 0.0, SMOOTH),
    "u-shaped": _marginal(0.1, 0.9, 0.05, 0.0, _betas([0.5, 0.5], [0.5, 3.0], [2.0, 0.7])),
    "narrow-in-broad": _marginal(0.25, 1.0, 0.0, 0.3, _betas([0.7, 0.3], [1.0, 210], [1.3, 90])),
    "extreme": _marginal(0.0, 1.0, 0.2, 0.1, _betas([0.2, 0.8], [0.05, 1000], [1.0, 900])),
    "recalibrated": _recalibrated(SMOOTH, 0.2, 0.95, 0.3, 1.4),
    "recalibrated-flat": _recalibrated(_betas([0.5, 0.5], [2, 40], [3, 9]), 0.3, 0.99, -0.5, 0.2),
    "nearly-one-component": _marginal(
        0.4, 0.6, 0.5, 0.1, _betas([0.999, 0.001], [2.0, 1.0], [2.0, 1.5])
    ),
    "histogram": _marginal(0.3, 0.99, 0.1, 0.2, _histogram()),
    "all-atoms": _marginal(0.3, 0.9, 0.4, 0.6, _betas([0.5, 0.5], [1.0, 1.0], [1.0, 1.0])),
    "one-point": _marginal(0.7, 0.7, 0.0, 1.0, _betas([0.5, 0.5], [1.0, 1.0], [1.0, 1.0])),
}
WITH_INTERIOR = [name for name, law in MARGINALS.items() if float(law.interior_mass) > 1e-9]

COPULAS = {
    "independence": Independence(jnp.zeros(())),
    "gumbel-1": Gumbel(jnp.array(1.0)),
    "gumbel-1.5": Gumbel(jnp.array(1.5)),
    "gumbel-3": Gumbel(jnp.array(3.0)),
    "gumbel-20": Gumbel(jnp.array(20.0)),
    "gumbel-100": Gumbel(jnp.array(100.0)),
    "clayton-0": Clayton(jnp.array(0.0)),
    "clayton-1": Clayton(jnp.array(1.0)),
    "clayton-30": Clayton(jnp.array(30.0)),
    "joe-1": Joe(jnp.array(1.0)),
    "joe-2": Joe(jnp.array(2.0)),
    "joe-40": Joe(jnp.array(40.0)),
    "frank-0": Frank(jnp.array(0.0)),
    "frank-5": Frank(jnp.array(5.0)),
    "frank-minus-5": Frank(jnp.array(-5.0)),
    "frank-100": Frank(jnp.array(100.0)),
    "frank-minus-100": Frank(jnp.array(-100.0)),
    "gaussian-0": Gaussian(jnp.array(0.0)),
    "gaussian-0.6": Gaussian(jnp.array(0.6)),
    "gaussian-minus-0.8": Gaussian(jnp.array(-0.8)),
    "gaussian-0.99": Gaussian(jnp.array(0.99)),
    "t-0": StudentT(jnp.array(0.0), jnp.array(4.0)),
    "t-0.6": StudentT(jnp.array(0.6), jnp.array(2.5)),
    "t-minus-0.9": StudentT(jnp.array(-0.9), jnp.array(9.0)),
    "survival-gumbel": SurvivalGumbel(Gumbel(jnp.array(2.5))),
    "survival-clayton": rotated(Clayton, 180)(Clayton(jnp.array(2.0))),
    "survival-joe": rotated(Joe, 180)(Joe(jnp.array(3.0))),
    "gumbel-90": rotated(Gumbel, 90)(Gumbel(jnp.array(1.7))),
    "gumbel-270": rotated(Gumbel, 270)(Gumbel(jnp.array(4.0))),
    "clayton-90": rotated(Clayton, 90)(Clayton(jnp.array(1.5))),
    "clayton-270": rotated(Clayton, 270)(Clayton(jnp.array(6.0))),
    "joe-90": rotated(Joe, 90)(Joe(jnp.array(2.0))),
    "joe-270": rotated(Joe, 270)(Joe(jnp.array(5.0))),
}


@eqx.filter_jit
def call(law, method, *args):
    """A method's value, compiled once for all laws of a structure, not one operation at a time."""
    return getattr(law, method)(*args)


def over(cases: dict, names: list[str] | None = None, argument: str = "case"):
    """Parametrises a test over cases, ids included."""
    names = list(cases) if names is None else names
    return pytest.mark.parametrize(argument, [cases[name] for name in names], ids=names)


def stacked(trees: list):
    """Joins like objects along a new leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def toy_model() -> CascadeModel:
    """Four models with atoms, of unlike shapes and dependence."""
    laws = [
        _marginal(0.2, 0.95, 0.1, 0.15, SMOOTH),
        _marginal(0.25, 0.97, 0.05, 0.2, _betas([0.5, 0.5], [1.5, 8.0], [3.0, 1.2])),
        _marginal(0.3, 0.99, 0.0, 0.3, _betas([0.3, 0.7], [2.0, 5.0], [2.0, 1.1])),
        _marginal(0.35, 1.0, 0.08, 0.0, _betas([0.2, 0.8], [3.0, 9.0], [2.5, 1.4])),
    ]
    tau = np.array(
        [[0, 0.5, 0.35, 0.2], [0.5, 0, 0.6, 0.3], [0.35, 0.6, 0, 0.45], [0.2, 0.3, 0.45, 0]]
    )
    return CascadeModel(
        ("a", "b", "c", "d"),
        jnp.array([1.0, 3.0, 9.0, 25.0]) * 1e-3,
        jnp.array([0.1, 0.2, 0.5, 0.8]),
        stacked([CALIBRATORS["one-sided"]] * 4),
        stacked(laws),
        Gumbel.from_tau(jnp.asarray(tau)),
    )

"""What every marginal promises, against SciPy and quadrature of our own."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy import stats
from scipy.special import betaln, expit, logit

from jaxcascade.marginals import BetaMixture, HistogramLaw, Marginal, Recalibrated
from tests.cases import MARGINALS, WITH_INTERIOR, call, over, stacked

POINTS = np.array([0.003, 0.04, 0.2, 0.45, 0.52, 0.69, 0.71, 0.9, 0.985])


def inside(law):
    """Values strictly between the ends."""
    return jnp.asarray(law.low + (law.high - law.low) * POINTS)


@eqx.filter_jit
def derivative(law, method, x):
    """Derivative of a method in its argument, elementwise."""
    return jax.jvp(getattr(law, method), (x,), (jnp.ones_like(x),))[1]


@eqx.filter_jit
def jacobian(law, method, *args):
    """Derivatives of a method in every parameter, in reverse mode."""
    return jax.jacrev(lambda law: getattr(law, method)(*args))(law)


@eqx.filter_jit
def sample(law, key, count):
    return law.sample(key, (count,))


def interior_density(interior, z, one_minus_z):
    """Density of the interior law by SciPy or by hand, for z and 1 - z given apart."""
    if isinstance(interior, BetaMixture):
        parts = (np.asarray(x) for x in jax.tree.leaves(interior))
        total = 0.0
        for w, a, b in zip(*parts, strict=True):
            log_density = (a - 1) * np.log(z) + (b - 1) * np.log(one_minus_z)
            total = total + w * np.exp(log_density - betaln(a, b))
        return total
    if isinstance(interior, Recalibrated):
        return recalibrated_density(interior, z)
    knots, levels = np.asarray(interior.knots), np.asarray(interior.levels)
    cell = np.clip(np.searchsorted(knots, z, side="right") - 1, 0, knots.size - 2)
    return (np.diff(levels) / np.diff(knots))[cell]


def recalibrated_density(interior, z):
    """Change of variables by hand: the density of the base law times dx/dy."""
    low, high, intercept, slope = (
        float(part) for part in (interior.low, interior.high, interior.intercept, interior.slope)
    )
    start, stop = expit(intercept + slope * logit(np.array([low, high])))
    # The cases have no mass to speak of beside their ends, where x - low cannot be told.
    inside = np.clip(z, 1e-9, 1 - 1e-9)
    y = start + (stop - start) * inside
    x = expit((logit(y) - intercept) / slope)
    place = (x - low) / (high - low)
    steep = x * (1 - x) / (slope * y * (1 - y)) * (stop - start) / (high - low)
    found = interior_density(interior.base, place, 1 - place) * steep
    return np.where((z > 1e-9) & (z < 1 - 1e-9), found, 0.0)


def integral(law, function, above=-np.inf):
    """Integral of function(x) dF(x) over (above, high]: atoms by hand, the rest in logits.

    The trapezoidal rule in the logit converges beyond every power for beta densities; a
    histogram is piecewise constant and taken cell by cell.
    """
    low, high = float(law.low), float(law.high)
    total = float(law.atom_low) * function(low) * (above < low) if low < high else 0.0
    total += float(law.atom_high) * function(high) * (above < high)
    mass = 1 - float(law.atom_low) - float(law.atom_high)
    if mass < 1e-9:
        return total
    cut = np.clip((above - low) / (high - low), 0, 1)
    if isinstance(law.interior, HistogramLaw):
        knots = np.unique(np.concatenate([np.asarray(law.interior.knots), [cut]]))
        for left, right in itertools.pairwise(knots):
            if left >= cut:
                z = np.array([0.5 * (left + right)])
                weight = (right - left) * interior_density(law.interior, z, 1 - z)[0]
                total += mass * weight * function(low + (high - low) * z[0])
        return total
    if cut == 1:
        return total
    start = np.log(cut) - np.log1p(-cut) if cut > 0 else -500.0
    s, step = np.linspace(start, max(500.0, start + 1), 400_001, retstep=True)
    z, rest = 1 / (1 + np.exp(-s)), 1 / (1 + np.exp(s))
    values = interior_density(law.interior, z, rest) * z * rest * function(low + (high - low) * z)
    return total + mass * step * (values.sum() - 0.5 * (values[0] + values[-1]))


@over(MARGINALS)
def test_total_probability_is_one(case):
    assert integral(case, np.ones_like) == pytest.approx(1.0, abs=1e-6)
    assert float(call(case, "cdf", case.high)) == 1.0
    assert float(call(case, "cdf_left", case.low)) == 0.0


@over(MARGINALS)
def test_log_prob_is_the_oracles(case):
    x = inside(case)
    if case.high > case.low and float(case.interior_mass) > 1e-9:
        scale = float(case.interior_mass / (case.high - case.low))
        z = np.asarray((x - case.low) / (case.high - case.low))
        expected = np.log(scale * interior_density(case.interior, z, 1 - z))
        np.testing.assert_allclose(call(case, "log_prob", x), expected, rtol=1e-9, atol=1e-9)
    ends = np.asarray(call(case, "log_prob", jnp.stack([case.low, case.high])))
    atoms = [case.atom_low if case.low < case.high else case.atom_high, case.atom_high]
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(ends, np.log(np.array(atoms)))
    outside = call(case, "log_prob", jnp.stack([case.low - 0.01, case.high + 0.01]))
    np.testing.assert_array_equal(outside, -np.inf)


@over(MARGINALS)
def test_icdf_is_the_smallest_value_with_enough_below(case):
    p = jnp.asarray(np.linspace(0, 1, 21) ** 2)
    x = call(case, "icdf", p)
    assert np.all((x >= case.low) & (x <= case.high))
    assert np.all(np.diff(x) >= 0)
    # A density as steep as z^-0.95 cannot be inverted in probability, only in place.
    assert np.all(call(case, "cdf", x + 1e-12) >= p - 1e-12)
    assert np.all(call(case, "cdf_left", x - 1e-12) <= p + 1e-12)


@over(MARGINALS, [n for n in WITH_INTERIOR if n != "extreme"])
def test_cdf_inverts_icdf_off_the_atoms(case):
    span = float(case.interior_mass)
    p = float(case.atom_low) + span * jnp.asarray(POINTS)
    np.testing.assert_allclose(call(case, "cdf", call(case, "icdf", p)), p, rtol=1e-11, atol=1e-13)


@over(MARGINALS, WITH_INTERIOR)
def test_density_is_the_derivative_of_the_cdf(case):
    x, h = inside(case), 1e-5 * float(case.high - case.low)
    slope = (call(case, "cdf", x + h) - call(case, "cdf", x - h)) / (2 * h)
    density = np.exp(call(case, "log_prob", x))
    # Curvature over a step of 1e-5 is 2e-5 of the density at a concentration of 1900.
    np.testing.assert_allclose(slope, density, rtol=1e-4, atol=1e-8)


@over(MARGINALS)
def test_cdf_jumps_by_the_atoms_and_nowhere_else(case):
    ends = jnp.stack([case.low, case.high])
    jumps = np.asarray(call(case, "cdf", ends) - call(case, "cdf_left", ends))
    lower = case.atom_low if case.low < case.high else case.atom_high
    np.testing.assert_allclose(jumps, [lower, case.atom_high], atol=1e-15)
    if case.low < case.high:
        x = inside(case)
        np.testing.assert_array_equal(call(case, "cdf", x), call(case, "cdf_left", x))


@over(MARGINALS)
def test_partial_mean_matches_quadrature_atoms_included(case):
    width = float(case.high - case.low)
    low, high = float(case.low), float(case.high)
    points = [-np.inf, low - 0.1, low, low + 0.3 * width, low + 0.7 * width, high, high + 0.1]
    expected = [integral(case, lambda x: x, above=t) for t in points]
    found = call(case, "partial_mean", jnp.array(points))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(call(case, "mean"), expected[0], atol=1e-6)


@eqx.filter_jit
def everything(law, x):
    share = jnp.asarray(POINTS[2:8])
    p = law.atom_low + law.interior_mass * share
    values = [law.cdf(x), law.log_prob(x), law.icdf(p), law.partial_mean(x), law.cdf_left(x)]
    values += [law.partial_mean(jnp.array([-0.5, 2.0])), law.cdf(jnp.array([-1.0, 2.0]))]
    return jnp.concatenate(values)


@eqx.filter_jit
def slopes_of_everything(law, x):
    """Derivatives in every parameter, a row per parameter, and in x, of which each has its own."""
    flat, unravel = ravel_pytree(law)
    jacobian = jax.jacfwd(lambda parameters: everything(unravel(parameters), x))(flat)
    tangent = jax.jvp(lambda x: everything(law, x), (x,), (jnp.ones_like(x),))[1]
    return jacobian.T, tangent


@over(MARGINALS, [n for n in WITH_INTERIOR if n not in ("histogram", "extreme")])
def test_gradients_in_every_parameter_match_finite_differences(case):
    flat, unravel = ravel_pytree(case)
    x = inside(case)[1:8]
    jacobian, _ = slopes_of_everything(case, x)
    h = 1e-6 * np.maximum(np.abs(flat), 0.1)
    differences = [
        everything(unravel(flat.at[i].add(h[i])), x) - everything(unravel(flat.at[i].add(-h[i])), x)
        for i in range(flat.size)
    ]
    assert np.all(np.isfinite(jacobian))
    differences = np.array(differences) / (2 * h[:, None])
    np.testing.assert_allclose(jacobian, differences, rtol=2e-5, atol=2e-6)


@over(MARGINALS, [n for n in WITH_INTERIOR if n not in ("histogram", "extreme")])
def test_gradients_in_the_argument_match_finite_differences(case):
    x, h = inside(case)[1:8], 1e-6
    _, tangent = slopes_of_everything(case, x)
    difference = (everything(case, x + h) - everything(case, x - h)) / (2 * h)
    np.testing.assert_allclose(tangent, difference, rtol=2e-4, atol=2e-6)


@over(MARGINALS, [n for n in WITH_INTERIOR if n not in ("histogram", "extreme")])
def test_gradient_of_the_mean_matches_finite_differences(case):
    flat, unravel = ravel_pytree(case)
    steps = 1e-6 * jnp.eye(flat.size)
    expected = [
        (call(unravel(flat + step), "mean") - call(unravel(flat - step), "mean")) / 2e-6
        for step in steps
    ]
    found, _ = ravel_pytree(jacobian(case, "mean"))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


@over(MARGINALS, [n for n in WITH_INTERIOR if n not in ("histogram", "extreme")])
def test_gradient_of_the_icdf_in_the_probability_matches_finite_differences(case):
    p, h = case.atom_low + case.interior_mass * jnp.asarray(POINTS[1:8]), 1e-6
    slope = derivative(case, "icdf", p)
    difference = (call(case, "icdf", p + h) - call(case, "icdf", p - h)) / (2 * h)
    np.testing.assert_allclose(slope, difference, rtol=1e-5)
    np.testing.assert_allclose(slope * np.exp(call(case, "log_prob", call(case, "icdf", p))), 1.0)


@over(MARGINALS, ["two-atoms", "u-shaped", "narrow-in-broad"])
def test_samples_are_differentiable_in_every_parameter(case):
    flat, unravel = ravel_pytree(case)

    def total(flat):
        return sample(unravel(flat), jax.random.key(2), 50).sum()

    h = 1e-6 * np.maximum(np.abs(flat), 0.1)
    expected = [
        (total(flat.at[i].add(d)) - total(flat.at[i].add(-d))) / (2 * d) for i, d in enumerate(h)
    ]
    # The sum has kinks where a draw crosses into an atom: none of these fifty is that close.
    np.testing.assert_allclose(jax.grad(total)(flat), expected, rtol=1e-4, atol=1e-5)


@over(MARGINALS)
def test_icdf_at_extreme_probabilities(case):
    """In and next to the atoms, and nearer to 0 and 1 than any draw."""
    low, high = float(case.atom_low), 1.0 - float(case.atom_high)
    tails = [0.0, 1e-300, 1e-16, 0.5 * low, low, low + 1e-15, low + 1e-9, 0.5 * (low + high)]
    tails += [high - 1e-9, high - 1e-15, high, 0.5 * (1 + high), 1.0 - 1e-16, 1.0]
    p = jnp.sort(jnp.array(tails))
    x = np.asarray(call(case, "icdf", p))
    assert np.all(np.diff(x) >= 0)
    assert np.all((x >= case.low) & (x <= case.high))
    np.testing.assert_array_equal(x[p <= low], float(case.low))
    np.testing.assert_array_equal(x[p > high], float(case.high))
    for leaf in jax.tree.leaves(jacobian(case, "icdf", p)):
        assert np.all(np.isfinite(leaf))
    assert np.all(np.isfinite(derivative(case, "icdf", p)))
    assert np.all(derivative(case, "icdf", p) >= 0)


def single(law):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), law)


def double(law):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float64), law)


@eqx.filter_jit
def all_values(law, x, p):
    values = {
        name: getattr(law, name)(x) for name in ("cdf", "cdf_left", "log_prob", "partial_mean")
    }
    return {**values, "icdf": law.icdf(p), "mean": law.mean(), "mass": law.interior_mass}


@over(MARGINALS)
def test_single_precision_stays_single_and_is_nearly_as_good(case):
    law = single(case)
    x, p = inside(case).astype(jnp.float32), jnp.asarray(POINTS, jnp.float32)
    found = all_values(law, x, p)
    exact = all_values(double(law), x.astype(float), p.astype(float))
    assert {str(value.dtype) for value in found.values()} == {"float32"}
    assert sample(law, jax.random.key(0), 3).dtype == jnp.float32
    for name in ("cdf", "cdf_left", "partial_mean", "mean"):
        np.testing.assert_allclose(found[name], exact[name], atol=1e-6)
    # Rounding z costs a log density of concentration c about c times the precision, and behind a
    # line of slope s in the log-odds c / s times.
    largest = max(float(jnp.max(leaf)) for leaf in jax.tree.leaves(case.interior))
    largest /= float(getattr(case.interior, "slope", 1.0))
    finite = np.isfinite(exact["log_prob"])
    np.testing.assert_array_equal(np.isfinite(found["log_prob"]), finite)
    error = np.abs(found["log_prob"] - exact["log_prob"])[finite]
    assert np.all(error < 1e-6 * max(largest, 5.0))
    # An error of rounding in p, and one of x, which the density makes one of p.
    back = double(law)
    reached = (
        call(back, "cdf", found["icdf"].astype(float) + 2e-7),
        call(back, "cdf_left", found["icdf"].astype(float) - 2e-7),
    )
    assert np.all(reached[0] > p - 1e-6)
    assert np.all(reached[1] < p + 1e-6)


@over(MARGINALS, ["no-atoms", "narrow-in-broad", "two-atoms"])
def test_gradients_in_single_precision_without_an_atom_below(case):
    """Next to `low` the cdf underflows in single precision where no atom holds it up."""
    law = single(case)
    near = law.low + (law.high - law.low) * jnp.array([1e-30, 1e-12, 1e-4, 0.3, 1.0], jnp.float32)
    for method in ("cdf", "partial_mean"):
        found = jacobian(law, method, near)
        exact = jacobian(double(law), method, near.astype(float))
        for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True):
            assert ours.dtype == jnp.float32
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-6)


@over(MARGINALS)
def test_infinite_arguments_have_finite_gradients(case):
    """A policy's outer edges are infinite: what lies beyond them must not spoil a gradient."""
    for method in ("cdf", "cdf_left", "partial_mean"):
        for slopes in jax.tree.leaves(jacobian(case, method, jnp.array([-jnp.inf, jnp.inf]))):
            assert np.all(np.isfinite(slopes)), (method, slopes)


@over(MARGINALS)
def test_sample_follows_the_cdf(case):
    n = 4000
    draws = np.sort(sample(case, jax.random.key(5), n))
    up_to = np.searchsorted(draws, draws, side="right") / n
    below = np.searchsorted(draws, draws, side="left") / n
    gap = np.abs(up_to - np.asarray(call(case, "cdf", jnp.asarray(draws)))).max()
    gap_left = np.abs(below - np.asarray(call(case, "cdf_left", jnp.asarray(draws)))).max()
    # Dvoretzky, Kiefer, Wolfowitz: fails for one seed in a million.
    assert max(gap, gap_left) < np.sqrt(np.log(2e6) / (2 * n))


@eqx.filter_jit
def partial_means(laws, x):
    return jax.vmap(lambda law: law.partial_mean(x))(laws)


@over(MARGINALS)
def test_survives_jit_vmap_and_a_pytree_round_trip(case):
    leaves, structure = jax.tree.flatten(case)
    again = jax.tree.unflatten(structure, leaves)
    x = jnp.linspace(0.0, 1.0, 7)
    np.testing.assert_array_equal(call(again, "cdf", x), call(case, "cdf", x))
    both = partial_means(stacked([case, case]), x)
    np.testing.assert_allclose(both, np.stack([call(case, "partial_mean", x)] * 2), rtol=1e-12)


@over(MARGINALS, ["two-atoms", "u-shaped", "narrow-in-broad", "extreme"])
def test_interior_cdf_is_scipys(case):
    z = np.array([1e-12, 1e-3, 0.1, 0.5, 0.7, 0.999, 1 - 1e-12])
    parts = zip(*(np.asarray(leaf) for leaf in jax.tree.leaves(case.interior)), strict=True)
    expected = sum(w * stats.beta.cdf(z, a, b) for w, a, b in parts)
    np.testing.assert_allclose(call(case.interior, "cdf", jnp.asarray(z)), expected, atol=1e-11)


def test_one_component_is_a_scaled_beta():
    """Mixtures that are fitted have two, one of which may be without weight; others may not."""
    interior = BetaMixture(jnp.ones(1), jnp.array([2.0]), jnp.array([3.0]))
    law = Marginal(jnp.array(0.4), jnp.array(0.6), jnp.array(0.5), jnp.array(0.1), interior)
    oracle = stats.beta(2.0, 3.0, 0.4, 0.2)
    x = jnp.array([0.41, 0.45, 0.5, 0.59])
    np.testing.assert_allclose(call(law, "cdf", x), 0.5 + 0.4 * oracle.cdf(x), rtol=1e-12)
    np.testing.assert_allclose(call(law, "log_prob", x), np.log(0.4) + oracle.logpdf(x), rtol=1e-9)
    np.testing.assert_allclose(call(law, "icdf", call(law, "cdf", x)), x, rtol=1e-11)

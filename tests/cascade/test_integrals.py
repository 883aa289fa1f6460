"""Integrals of a confidence against a slow rule, over the whole box of shapes."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxcascade.cascade import (
    ACCEPT,
    CERTIFIED,
    CHEAP,
    CascadeModel,
    Policy,
    PolicyArrays,
    Quadrature,
    expected_outcome,
    expected_outcomes,
    grid_edges,
    markov_chain,
    tabled_outcomes,
    threshold_tables,
)
from jaxcascade.cascade.integrals import mesh
from jaxcascade.copulas import Clayton, Frank, Gaussian, Gumbel, Joe, StudentT, SurvivalGumbel
from jaxcascade.marginals import Marginal
from tests.cascade.pairs import gumbel_given, level_at, random_pairs, reference
from tests.cases import CALIBRATORS, MARGINALS, call, over, stacked, toy_model

PAIRS = random_pairs(400)
FEW = PAIRS.take(slice(40))


@eqx.filter_jit
def wrong_above(laws, copulas, levels, thresholds, quadrature):
    def one(law, copula, level, threshold):
        edges = jnp.stack([-jnp.inf, threshold, jnp.inf])
        below = mesh(law, edges, quadrature).below(lambda v: copula.lower_conditional(level, v))
        return below.wrong[-1] - below.wrong[1]

    return jax.vmap(one)(laws, copulas, levels, thresholds)


def errors(pairs, quadrature, family=Gumbel):
    copulas = family.from_tau(jnp.asarray(pairs.tau))
    given = None
    if family is not Gumbel:
        given = jax.jit(jax.vmap(lambda one, u, v: one.lower_conditional(u, v)))
        expected = reference(pairs, lambda u, v: np.asarray(given(copulas, u, v)))
    else:
        expected = reference(pairs)
    found = wrong_above(pairs.laws(), copulas, pairs.level, pairs.threshold, quadrature)
    return np.abs(np.asarray(found) - expected)


def test_reference_agrees_with_itself_and_with_many_digits():
    few = PAIRS.take(slice(40))
    np.testing.assert_allclose(reference(few, num_panels=900), reference(few), atol=1e-15)
    at = np.flatnonzero(few.threshold > few.low)[1]
    pair = few.take(slice(at, at + 1))
    with mpmath.workdps(25):
        np.testing.assert_allclose(reference(pair)[0], float(many_digits(pair)), atol=1e-15)


def many_digits(pair):
    """The defining integral of one pair by parts, in the logit, with mpmath."""
    a, b, weights, atoms, low, high, level, theta, threshold = (
        [mpmath.mpf(float(x)) for x in np.ravel(part)] for part in pair
    )
    low, high, level, theta, threshold = (x[0] for x in (low, high, level, theta, threshold))

    def given(z):
        parts = zip(weights, a, b, strict=True)
        inner = sum(w * mpmath.betainc(p, q, 0, z, regularized=True) for w, p, q in parts)
        x, y = -mpmath.log(level), -mpmath.log(atoms[0] + (1 - sum(atoms)) * inner)
        return mpmath.exp(x - (x**theta + y**theta) ** (1 / theta))

    def integrand(y):
        z = 1 / (1 + mpmath.exp(-y))
        return given(z) * z * (1 - z)

    start = (threshold - low) / (high - low)
    first = mpmath.log(start / (1 - start))
    cuts = [first + i * (45 - first) / 80 for i in range(81)]
    integral = (high - low) * mpmath.quad(integrand, cuts, method="gauss-legendre", maxdegree=3)
    return (1 - high) - (1 - threshold) * given(start) + integral


def test_certified_rule_keeps_its_promise_over_the_box():
    assert errors(PAIRS, CERTIFIED).max() < 1e-8 / 10


def test_cheap_rule_is_exact_for_most_and_wrong_in_the_worst_case():
    found = errors(PAIRS, CHEAP)
    assert np.median(found) < 1e-14
    assert 1e-8 < found.max() < 1e-4


# Dependence in the lower tail puts a kink where the next model's level is that at which the last
# passes; deep in a steep tail of its law, no break is near.
@pytest.mark.parametrize(
    ("family", "typical", "worst"),
    [
        (Frank, 1e-11, 1e-8),
        (Joe, 1e-11, 1e-8),
        pytest.param(Gaussian, 1e-11, 1e-8, marks=pytest.mark.slow),
        pytest.param(StudentT, 1e-11, 1e-5, marks=pytest.mark.slow),
        pytest.param(SurvivalGumbel, 1e-6, 5e-5, marks=pytest.mark.slow),
        (Clayton, 1e-5, 1e-4),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_certified_rule_under_other_families(family, typical, worst):
    found = errors(FEW, CERTIFIED, family)
    assert np.quantile(found, 0.95) < typical
    assert found.max() < worst


def test_more_nodes_sharpen_the_rule():
    error = [errors(FEW, Quadrature(n, at_breaks=True), SurvivalGumbel).max() for n in (8, 16, 32)]
    assert error[0] > 5 * error[1] > 25 * error[2]
    assert error[2] < 1e-7


def random_model(seed, k=3):
    """Some laws of the box, under random dependence."""
    pairs = random_pairs(k, seed)
    tau = 1 - 1 / np.random.default_rng(seed).uniform(1, 10, (k, k))
    return CascadeModel(
        tuple("abc"),
        jnp.array([1.0, 3.0, 9.0]) * 1e-3,
        jnp.full(k, 0.1),
        stacked([CALIBRATORS["one-sided"]] * k),
        pairs.laws(),
        Gumbel.from_tau(jnp.asarray(tau)),
    ), pairs


@pytest.mark.parametrize("seed", range(3))
def test_tables_are_the_integrals_of_every_pair(seed):
    model, pairs = random_model(seed)
    edges = grid_edges(model, 32)
    tables = threshold_tables(model, edges)
    given, alone = (np.asarray(part) for part in (tables.wrong_given, tables.wrong))
    levels = np.asarray(tables.levels)
    for j, following in ((0, 1), (0, 2), (1, 2)):
        g, h = (grid.reshape(-1) for grid in np.meshgrid([1, 6, 15, 31, 32], [1, 9, 17, 31]))
        law = pairs.take(np.full(g.size, following))
        pair = law._replace(
            level=levels[j, g],
            theta=np.full(g.size, float(model.copula.theta[j, following])),
            threshold=np.clip(edges[following, h], law.low, law.high),
        )
        error = given[j, following, g, h] - reference(pair)
        # What an error does to a loss: it is weighted by how often the first model passes.
        assert np.abs(error * levels[j, g]).max() < 1e-8
        assert np.abs(error[levels[j, g] >= 1e-4]).max() < 1e-8
        # Nothing is known of a model that follows one which passes everything on.
        np.testing.assert_allclose(given[j, following, -1], alone[following], atol=1e-9)


def test_tables_count_right_answers_of_a_model_alone():
    model = toy_model()
    tables = threshold_tables(model, grid_edges(model, 16))
    for j in range(4):
        law = jax.tree.map(lambda leaf, j=j: leaf[j], model.marginal)
        right = 1 - tables.levels[j] - tables.wrong[j]
        np.testing.assert_allclose(right, law.partial_mean(tables.edges[j]), atol=1e-13)


def test_tables_hold_the_copula_at_their_edges():
    model = toy_model()
    chain = markov_chain(model, 16)
    tables = threshold_tables(model, chain.edges)
    upper = np.triu_indices(4, 1)
    found = np.asarray(tables.levels_given)[upper]
    np.testing.assert_allclose(found, np.asarray(chain.lower_conditional)[upper], atol=1e-15)


def test_looked_up_policies_equal_their_expectation():
    """Random chains at random edges, models that accept or pass everything on among them."""
    model, rng = toy_model(), np.random.default_rng(4)
    tables = threshold_tables(model, grid_edges(model, 16), CERTIFIED)
    edges, k, policies = np.asarray(tables.edges), 4, []
    for _ in range(30):
        chain = np.sort(rng.choice(k, rng.integers(1, k + 1), replace=False))
        breakpoints, actions = np.full((k, 1), np.inf), np.full((k, 2), ACCEPT)
        for at, following in itertools.pairwise(chain):
            breakpoints[at, 0] = edges[at, rng.integers(1, edges.shape[1])]
            actions[at, 0] = following
        policies.append(PolicyArrays(chain[0], breakpoints, actions))
    stacked_policies = PolicyArrays(*map(np.stack, zip(*policies, strict=True)))
    found = tabled_outcomes(model, tables, stacked_policies)
    for at, policy in enumerate(policies):
        expected = expected_outcomes(model, policy)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one[at], other, atol=1e-9)


@jax.jit
def everything_below(law, edges):
    return mesh(law, edges, CERTIFIED).below(lambda v: v)


@over(MARGINALS)
def test_wrong_answers_below_any_point_of_any_law(case):
    """Against the law's own partial mean, edges outside and at the ends among them."""
    inner = case.low + (case.high - case.low) * jnp.array([0.0, 0.01, 0.3, 0.3, 0.8, 1.0])
    edges = jnp.concatenate([jnp.array([-jnp.inf, case.low - 0.1]), inner, jnp.array([2.0])])
    below = everything_below(case, edges)
    mass = call(case, "cdf", edges)
    expected = mass - (call(case, "mean") - call(case, "partial_mean", edges))
    np.testing.assert_allclose(below.mass, mass, atol=1e-15)
    np.testing.assert_allclose(below.wrong, expected, atol=1e-9)


# --- Derivatives -------------------------------------------------------------------------------


@jax.jit
def slopes(pairs):
    """Derivatives of the integrals in threshold and level."""

    def one(law, theta, level, threshold):
        def integral(level, threshold):
            edges = jnp.stack([-jnp.inf, threshold, jnp.inf])
            given = lambda v: Gumbel(theta).lower_conditional(level, v)  # noqa: E731
            below = mesh(law, edges, CERTIFIED).below(given)
            return below.wrong[-1] - below.wrong[1]

        return jax.grad(integral, (0, 1))(level, threshold)

    return jax.vmap(one)(pairs.laws(), pairs.theta, pairs.level, pairs.threshold)


def test_derivatives_match_leibniz():
    pairs = PAIRS.take(PAIRS.threshold > PAIRS.low)
    in_level, in_threshold = slopes(pairs)
    fraction = (pairs.threshold - pairs.low) / (pairs.high - pairs.low)
    u, v, theta = pairs.level, level_at(pairs, fraction[:, None])[:, 0], pairs.theta
    # The density of the conditional law at the threshold; P(U <= u | V = v) = C_v(u, v).
    density = np.exp(jax.vmap(lambda law, t: law.log_prob(t))(pairs.laws(), pairs.threshold))
    density = density * jax.vmap(lambda t, *x: Gumbel(t).h_function(*x))(theta, v, u) / u
    expected = -(1 - pairs.threshold) * density
    scale = np.maximum(np.abs(expected), 1.0)
    np.testing.assert_array_less(np.abs(in_threshold - expected) / scale, 1e-7)

    def slope_given(u, v):
        with np.errstate(divide="ignore"):
            x, y = -np.log(u), -np.log(v)
        joint = (x ** theta[:, None] + y ** theta[:, None]) ** (1 / theta[:, None])
        ratio = (x / joint) ** (theta[:, None] - 1)
        return gumbel_given(u, v, theta[:, None]) * (ratio - 1)

    # In the logarithm of the level, its natural scale.
    expected = reference(pairs, slope_given) - (1 - pairs.high)
    np.testing.assert_allclose(in_level * u, expected, atol=1e-7)


class Cascade(eqx.Module):
    """All that the loss of a cascade of two depends on."""

    threshold: jax.Array
    marginal: Marginal
    copula: Gumbel

    def loss(self):
        model = eqx.tree_at(
            lambda m: (m.marginal, m.copula),
            toy_model().select(["a", "b"]),
            (self.marginal, Gumbel(jnp.full((2, 2), self.copula.theta))),
        )
        arrays = Policy.threshold_cascade(["a", "b"], [0.5]).to_arrays(("a", "b"))
        breakpoints = jnp.array([[1.0], [jnp.inf]]).at[0, 0].set(self.threshold)
        outcome = expected_outcomes(model, arrays._replace(breakpoints=breakpoints))
        return outcome.error + 0.05 * outcome.answered_by[1]

    def scales(self):
        """How far each parameter can go before the law is another: shapes by a factor."""
        fixed = jax.tree.map(lambda leaf: jnp.full_like(leaf, 0.1), self)
        shapes = lambda c: (  # noqa: E731
            c.marginal.interior.concentration1,
            c.marginal.interior.concentration0,
            c.copula.theta,
        )
        return eqx.tree_at(shapes, fixed, shapes(self))


def test_gradient_in_every_parameter_matches_finite_differences():
    count = 25
    pairs = random_pairs(2 * count, 5)
    # At an atom of mass zero there is a derivative on one side only.
    pairs = pairs._replace(atoms=np.maximum(pairs.atoms, 0.02))
    laws = jax.tree.map(lambda leaf: leaf.reshape(count, 2, *leaf.shape[1:]), pairs.laws())
    share = np.random.default_rng(0).uniform(0.05, 0.95, count)
    thresholds = laws.low[:, 0] + share * (laws.high - laws.low)[:, 0]
    cascades = Cascade(thresholds, laws, Gumbel(jnp.asarray(pairs.theta[:count])))

    @jax.jit
    @jax.vmap
    def compare(cascade):
        flat, unravel = ravel_pytree(cascade)
        scales, _ = ravel_pytree(cascade.scales())
        loss = lambda x: unravel(x).loss()  # noqa: E731
        steps = jnp.array([-2.0, -1.0, 1.0, 2.0])[:, None, None] * 3e-4 * jnp.diag(scales)
        far_below, below, above, far_above = jax.vmap(jax.vmap(loss))(flat + steps)
        # The error of this difference is of the order of the fourth power of the step.
        difference = (8 * (above - below) - (far_above - far_below)) / (12 * 3e-4)
        return jax.grad(loss)(flat) * scales, difference

    gradient, difference = compare(cascades)
    assert np.all(np.abs(gradient).max(axis=0) > 1e-4), "a parameter does not matter"
    np.testing.assert_allclose(gradient, difference, atol=1e-7)


@pytest.mark.parametrize("at", ["low", "high"])
def test_threshold_at_an_end_moves_with_the_end(at):
    """There, and only there, the distribution function jumps: no derivative in the threshold."""
    law = MARGINALS["two-atoms"]
    pick = lambda law: getattr(law, at)  # noqa: E731

    @jax.jit
    def wrong(end, threshold):
        moved = eqx.tree_at(pick, law, end)
        edges = jnp.stack([-jnp.inf, threshold, jnp.inf])
        return mesh(moved, edges, CERTIFIED).below(lambda v: v).wrong[1]

    end = pick(law)
    in_end, in_threshold = jax.grad(wrong, (0, 1))(end, end)
    step = 1e-5
    together = (wrong(end + step, end + step) - wrong(end - step, end - step)) / (2 * step)
    np.testing.assert_allclose(in_end, together, rtol=1e-7)
    assert in_threshold == 0


def test_choice_of_the_rule():
    model = toy_model()
    policy = Policy.threshold_cascade(["a", "c"], [0.7])
    certified, cheap, fine = (
        float(expected_outcome(model, policy, rule).error)
        for rule in (CERTIFIED, CHEAP, Quadrature(40, at_breaks=True))
    )
    assert float(expected_outcome(model, policy).error) == certified
    assert cheap != certified
    np.testing.assert_allclose(certified, fine, rtol=1e-12)
    np.testing.assert_allclose(cheap, fine, rtol=1e-6)

"""How often an answer is wrong: integrals of a law of confidence, by parts.

With H the distribution function of a calibrated confidence, whatever it is conditioned on,

    P(confidence <= x and wrong) = integral of (1 - s) dH(s) over [low, x]
                                 = (1 - x) H(x) + integral of H(s) ds from low to x.

No density is needed and the atoms are inside. One pass over the nodes serves all x.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcascade.cascade.model import CascadeModel
from jaxcascade.cascade.outcome import Outcome
from jaxcascade.cascade.policy import PolicyArrays
from jaxcascade.copulas import Copula
from jaxcascade.marginals import Marginal
from jaxcascade.numerics import PanelRule, panel_rule


class Quadrature(eqx.Module):
    """How integrals over a confidence are taken.

    `CERTIFIED` has an absolute error below 1e-8 for mixtures of betas with shapes in [0.2, 200],
    levels of the last model from 1e-4 and Gumbel, Frank, Joe or Gaussian dependence with a tau up
    to 0.9; its largest in 400 random cases was 4e-10. Where dependence is strong in the lower
    tail, it can be 1e-4 (Clayton), 2e-5 (survival Gumbel) or 2e-6 (Student t), in one case of
    fifty above 1e-8; more nodes help. `CHEAP` has a median error of 1e-15 and reaches 1e-4. It
    has fewer nodes where a model has one threshold, and more where it has several.

    Attributes:
        num_nodes: Gauss-Legendre nodes in the arcsine angle, per panel.
        at_breaks: Whether panels also end at the breaks that a law names, and not only where
            an integral is asked for.
    """

    num_nodes: int = eqx.field(static=True)
    at_breaks: bool = eqx.field(static=True)


CERTIFIED = Quadrature(12, at_breaks=True)
CHEAP = Quadrature(64, at_breaks=False)


class Below(NamedTuple):
    """Probabilities of a confidence at or below each point.

    Attributes:
        mass: Whatever the answer.
        wrong: And a wrong answer.
    """

    mass: Float[Array, "*batch e"]
    wrong: Float[Array, "*batch e"]


class Mesh(eqx.Module):
    """One model's confidence, cut at points of interest, with the nodes of a rule between them.

    Attributes:
        points: In increasing order, cut to the support.
        levels: Distribution function at the points, then at the nodes.
        rule: Integrates from the lowest point up to each.
    """

    points: Float[Array, "*batch e"]
    levels: Float[Array, "*batch q"]
    rule: PanelRule

    @property
    def point_levels(self) -> Float[Array, "*batch e"]:
        """Distribution function at the points."""
        return self.levels[..., : self.points.shape[-1]]

    def below(self, given: Callable[[Float[Array, " q"]], Float[Array, " q"]]) -> Below:
        """Integrates under another law of the same confidence.

        Args:
            given: From the model's own distribution function to that of the other law, of
                which a copula knows no more.
        """
        # One call for points and nodes: each call site of a special function takes its own time
        # to compile.
        cdf = given(self.levels)
        mass, inner = cdf[: self.points.size], cdf[self.points.size :]
        integral = self.rule.integrals(inner.reshape(self.rule.nodes.shape), mass)
        return Below(mass, (1.0 - self.points) * mass + integral)


def mesh(law: Marginal, edges: Float[Array, " e"], quadrature: Quadrature) -> Mesh:
    """Cuts a confidence at edges.

    Args:
        law: One law.
        edges: Increasing; the first at or below the support, such as minus infinity.
        quadrature: See `CERTIFIED`.
    """
    points = _cut(edges, law.low, law.high)
    # A law at one point has no interval to integrate over; any support will do.
    high = jnp.where(law.high > law.low, law.high, law.low + 1.0)
    breaks = law.low + (high - law.low) * law.interior.breaks()
    if not quadrature.at_breaks:
        breaks = breaks[:0]
    rule = panel_rule(points, breaks, quadrature.num_nodes, law.low, high)
    return Mesh(points, law.cdf(jnp.concatenate([edges, rule.nodes.reshape(-1)])), rule)


def _cut(edges: Array, low: Array, high: Array) -> Array:
    """Cuts to [low, high]; an edge at an end moves with the end, and has no derivative itself."""
    inside = (edges > low) & (edges < high)
    return jnp.where(inside, edges, jnp.where(edges >= high, high, low))


class ThresholdTables(NamedTuple):
    """What a chain of thresholds on a grid brings, pair by pair.

    Attributes:
        edges: Thresholds; the first accepts every answer.
        levels: P(model j at most edge g) at [j, g].
        wrong: P(model j above edge g and wrong) at [j, g].
        levels_given: P(model l at most edge h | model j at most edge g) at [j, l, g, h].
        wrong_given: P(model l above edge h and wrong | model j at most edge g) there, for j < l.
    """

    edges: Float[Array, "k e"]
    levels: Float[Array, "k e"]
    wrong: Float[Array, "k e"]
    levels_given: Float[Array, "k k e e"]
    wrong_given: Float[Array, "k k e e"]


@eqx.filter_jit
def threshold_tables(
    model: CascadeModel, edges: Float[Array, "k e"], quadrature: Quadrature = CERTIFIED
) -> ThresholdTables:
    """Integrates every pair of models over a grid of thresholds, in one pass per pair.

    Args:
        model: Fitted joint model over `k` models.
        edges: Increasing thresholds of each model, from minus to plus infinity.
        quadrature: Rule for the cells between them.

    """
    k = len(model.models)
    meshes = _meshes(model, edges, quadrature)
    below = _given_below(model, meshes.point_levels, meshes)
    first, second = np.triu_indices(k, 1)
    blank = jnp.zeros((k, k, *below.mass.shape[1:]))
    alone = jax.vmap(lambda one: one.below(lambda v: v))(meshes)
    return ThresholdTables(
        edges,
        alone.mass,
        _above(alone),
        blank.at[first, second].set(below.mass),
        blank.at[first, second].set(_above(below)),
    )


@eqx.filter_jit
def tabled_outcomes(
    model: CascadeModel, tables: ThresholdTables, policies: PolicyArrays
) -> Outcome:
    """Predicts threshold cascades whose thresholds are edges of the tables, by looking them up.

    The same as `expected_outcomes`, for thousands of policies at once.

    Args:
        model: Models in the order of the tables.
        tables: See `threshold_tables`.
        policies: With one leading axis and one breakpoint per model; a model passes on from its
            lower interval to a later model, or accepts.
    """
    k = len(model.models)
    breakpoints, following = (jnp.asarray(part)[..., 0] for part in policies[1:])
    places = jax.vmap(jnp.searchsorted, (0, 1), 1)(tables.edges, breakpoints)
    # What passes nothing on accepts at every confidence: above the first edge.
    places = jnp.where(following >= 0, places, 0)

    def one(start: Array, edge: Int[Array, " k"], following: Int[Array, " k"]) -> Outcome:
        def step(state: tuple, _: None) -> tuple[tuple, tuple]:
            at, reach, passed, wrong = state
            going = following[at] >= 0
            further = jnp.where(going, following[at], at)
            given = at, further, edge[at], edge[further]
            told = jnp.where(reach > 0, at, k), reach, reach * (1.0 - passed), reach * wrong
            reach = jnp.where(going, reach * passed, 0.0)
            return (further, reach, tables.levels_given[given], tables.wrong_given[given]), told

        here = start, edge[start]
        first = (start, jnp.ones(()), tables.levels[here], tables.wrong[here])
        _, (at, asked, accepted, wrong) = jax.lax.scan(step, first, None, length=k)
        asked, accepted = (jnp.zeros(k).at[at].add(x, mode="drop") for x in (asked, accepted))
        return Outcome(
            error=wrong.sum(),
            abstention=jnp.zeros(()),
            cost_usd=asked @ model.cost_usd,
            latency_s=jnp.sum(jnp.where(asked > 0, asked * model.latency_s, 0.0)),
            answered_by=accepted,
        )

    return jax.vmap(one)(jnp.asarray(policies.start), places, following)


def _meshes(model: CascadeModel, edges: Array, quadrature: Quadrature) -> Mesh:
    return jax.vmap(lambda law, x: mesh(law, x, quadrature))(model.marginal, edges)


def _given_below(model: CascadeModel, levels: Float[Array, "k g"], meshes: Mesh) -> Below:
    """Law of the later model of every pair, given the earlier one at or below each level."""
    first, second = np.triu_indices(len(model.models), 1)

    def pair(at: tuple[Array, Array]) -> Below:
        j, following = at
        copula: Copula = jax.tree.map(lambda leaf: leaf[at], model.copula)
        cut: Mesh = jax.tree.map(lambda leaf: leaf[following], meshes)
        return jax.vmap(lambda u: cut.below(lambda v: copula.lower_conditional(u, v)))(levels[j])

    # Pair by pair: the nodes of one pair fit the cache, those of all do not.
    return jax.lax.map(pair, (jnp.asarray(first), jnp.asarray(second)))


def _above(below: Below) -> Float[Array, "*batch e"]:
    return below.wrong[..., -1:] - below.wrong

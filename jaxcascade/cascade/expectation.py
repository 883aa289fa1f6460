"""What a policy brings under the joint model, by the threshold-Markov approximation, in O(k)."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcascade.cascade.model import CascadeModel
from jaxcascade.cascade.outcome import Outcome
from jaxcascade.cascade.policy import ABSTAIN, ACCEPT, Policy, PolicyArrays
from jaxcascade.marginals import Marginal
from jaxcascade.numerics import arcsine_rule

_NUM_NODES = 64


def expected_outcome(model: CascadeModel, policy: Policy) -> Outcome:
    """Predicts error, abstention, cost and latency of a policy, in O(k).

    The law of a model's confidence given the whole path is taken to be its law given the
    interval that the last model's confidence fell in; for a threshold cascade this is
    proposition 2 of the paper, for two models it is exact.

    Args:
        model: Fitted joint model over `k` models.
        policy: Breakpoints on calibrated confidence in [0, 1].

    Returns:
        Expectations per query; `answered_by` follows the order of `model.models`.

    Raises:
        UnknownModelError: The policy names a model that the joint model lacks.

    References:
        Zellinger and Thomson (2025), arXiv:2501.09345, eq. 5 and 6, proposition 2.
    """
    order = policy.order()
    outcome = expected_outcomes(model.select(order), policy.to_arrays(order))
    answered_by = (
        jnp.zeros(len(model.models))
        .at[np.array([model.index(name) for name in order])]
        .set(outcome.answered_by)
    )
    return outcome._replace(answered_by=answered_by)


@eqx.filter_jit
def expected_outcomes(model: CascadeModel, policy: PolicyArrays) -> Outcome:
    """The same on arrays; `vmap` over policies or models, differentiable in all of both.

    Args:
        model: Models in the order of the policy's positions.
        policy: One policy.
    """
    nodes = _intervals(model.marginal, jnp.asarray(policy.breakpoints))
    accept, abstain = policy.actions == ACCEPT, policy.actions == ABSTAIN
    successor = jnp.clip(policy.actions, 0)
    arrivals = jax.vmap(jax.vmap(_arrivals, in_axes=(None, None, 0, 0, 0)), (None, None, 0, 0, 0))(
        model,
        nodes,
        jnp.broadcast_to(jnp.arange(len(model.models))[:, None], successor.shape),
        jnp.broadcast_to(jnp.arange(successor.shape[1]), successor.shape),
        successor,
    )
    passes = policy.actions >= 0

    def visit(mass_so_far: Array, at: Array) -> tuple[Array, None]:
        """Hands the mass in each interval of model `at` on to the models it passes to."""
        leaving = jnp.where(passes[at], mass_so_far[at], 0.0)
        arriving = leaving[:, None] * arrivals.mass[at]
        return mass_so_far.at[successor[at]].add(arriving), None

    first = jnp.zeros_like(nodes.mass).at[policy.start].set(nodes.mass[policy.start])
    mass, _ = jax.lax.scan(visit, first, jnp.arange(len(model.models)))
    leaving = jnp.where(passes, mass, 0.0)
    # Right answers, by the interval that an accepted confidence falls in.
    right = jnp.zeros_like(mass).at[policy.start].set(nodes.right[policy.start])
    right = right.at[successor].add(leaving[..., None] * arrivals.right)
    asked = mass.sum(axis=1)
    answered_by = jnp.sum(jnp.where(accept, mass, 0.0), axis=1)
    return Outcome(
        error=answered_by.sum() - jnp.sum(jnp.where(accept, right, 0.0)),
        abstention=jnp.sum(jnp.where(abstain, mass, 0.0)),
        cost_usd=asked @ model.cost_usd,
        latency_s=jnp.sum(jnp.where(asked > 0, asked * model.latency_s, 0.0)),
        answered_by=answered_by,
    )


class _Intervals(eqx.Module):
    """The intervals of every model's rule, and a quadrature mesh in each."""

    lower: Float[Array, "k s"]
    upper: Float[Array, "k s"]
    cdf_lower: Float[Array, "k s"]
    cdf_upper: Float[Array, "k s"]
    nodes_cdf: Float[Array, "k s q"]
    nodes_weight: Float[Array, "k s q"]
    mass: Float[Array, "k s"]
    right: Float[Array, "k s"]


class _Arrivals(eqx.Module):
    """Mass and right answers per interval of the next model, given one interval of the last."""

    mass: Float[Array, "*batch s"]
    right: Float[Array, "*batch s"]


def _intervals(marginal: Marginal, breakpoints: Float[Array, "k b"]) -> _Intervals:
    return jax.vmap(_model_intervals)(marginal, breakpoints)


def _model_intervals(law: Marginal, breakpoints: Float[Array, " b"]) -> _Intervals:
    edges = jnp.concatenate([jnp.array([-jnp.inf]), breakpoints, jnp.array([jnp.inf])])
    inside = jnp.clip(edges, law.low, law.high)
    # A law at one point has no interval to integrate over; any support will do.
    high = jnp.where(law.high > law.low, law.high, law.low + 1.0)
    points, weights = arcsine_rule(inside[:-1], inside[1:], _NUM_NODES, law.low, high)
    # One call of the distribution function serves edges and nodes.
    flat = jnp.concatenate([edges, points.reshape(-1)])
    cdf = law.cdf(flat)
    edge_cdf, nodes_cdf = cdf[: edges.size], cdf[edges.size :].reshape(points.shape)
    lower, upper = edge_cdf[:-1], edge_cdf[1:]
    right = _partial_correctness(inside[:-1], inside[1:], lower, upper, nodes_cdf, weights)
    return _Intervals(
        inside[:-1], inside[1:], lower, upper, nodes_cdf, weights, upper - lower, right
    )


def _partial_correctness(
    lower: Array, upper: Array, cdf_lower: Array, cdf_upper: Array, nodes_cdf: Array, weight: Array
) -> Array:
    """Integral of phi dH over (lower, upper] by parts, which keeps the atoms (design, eq. 14)."""
    return upper * cdf_upper - lower * cdf_lower - jnp.sum(weight * nodes_cdf, axis=-1)


def _arrivals(
    model: CascadeModel, nodes: _Intervals, at: Array, interval: Array, following: Array
) -> _Arrivals:
    """Law of the next confidence given that the last one fell in a certain interval.

    P(next <= x | a < last <= b) = (C(b, x) - C(a, x)) / (b - a) in the uniform scale. The first
    interval starts at a = 0, where C(b, x) / b needs no difference.
    """
    copula = jax.tree.map(lambda leaf: leaf[at, following], model.copula)
    a, b = nodes.cdf_lower[at, interval], nodes.cdf_upper[at, interval]
    mass = b - a
    reached = mass > 0
    safe_b, safe_mass = jnp.where(reached, b, 1.0), jnp.where(reached, mass, 1.0)

    def given(v: Array) -> Array:
        whole = copula.lower_conditional(safe_b, v)
        part = (safe_b * whole - copula.cdf(a, v)) / safe_mass
        return jnp.where(a > 0, part, whole)

    lower, upper = given(nodes.cdf_lower[following]), given(nodes.cdf_upper[following])
    right = _partial_correctness(
        nodes.lower[following],
        nodes.upper[following],
        lower,
        upper,
        given(nodes.nodes_cdf[following]),
        nodes.nodes_weight[following],
    )
    return _Arrivals(upper - lower, right)

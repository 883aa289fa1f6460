"""What a policy brings under the joint model, by the threshold-Markov approximation, in O(k)."""

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxcascade.cascade.integrals import CERTIFIED, Below, Mesh, Quadrature, mesh
from jaxcascade.cascade.model import CascadeModel
from jaxcascade.cascade.outcome import Outcome
from jaxcascade.cascade.policy import ABSTAIN, ACCEPT, Policy, PolicyArrays

Tree = TypeVar("Tree")


def expected_outcome(
    model: CascadeModel, policy: Policy, quadrature: Quadrature = CERTIFIED
) -> Outcome:
    """Predicts error, abstention, cost and latency of a policy, in O(k).

    The law of a model's confidence given the whole path is taken to be its law given the
    interval that the last model's confidence fell in; for a threshold cascade this is
    proposition 2 of the paper, for two models it is exact.

    Args:
        model: Fitted joint model over `k` models.
        policy: Breakpoints on calibrated confidence in [0, 1].
        quadrature: How integrals over a confidence are taken.

    Returns:
        Expectations per query; `answered_by` follows the order of `model.models`.

    Raises:
        UnknownModelError: The policy names a model that the joint model lacks.

    References:
        Zellinger and Thomson (2025), arXiv:2501.09345, eq. 5 and 6, proposition 2.
    """
    order = policy.order()
    outcome = expected_outcomes(model.select(order), policy.to_arrays(order), quadrature)
    answered_by = (
        jnp.zeros(len(model.models))
        .at[np.array([model.index(name) for name in order])]
        .set(outcome.answered_by)
    )
    return outcome._replace(answered_by=answered_by)


@eqx.filter_jit
def expected_outcomes(
    model: CascadeModel, policy: PolicyArrays, quadrature: Quadrature = CERTIFIED
) -> Outcome:
    """The same on arrays; `vmap` over policies or models, differentiable in all of both.

    Args:
        model: Models in the order of the policy's positions.
        policy: One policy.
        quadrature: How integrals over a confidence are taken.
    """
    breakpoints = jnp.asarray(policy.breakpoints)
    ends = jnp.full((breakpoints.shape[0], 1), jnp.inf)
    edges = jnp.concatenate([-ends, breakpoints, ends], axis=1)
    meshes = jax.vmap(lambda law, x: mesh(law, x, quadrature))(model.marginal, edges)
    accept, abstain = policy.actions == ACCEPT, policy.actions == ABSTAIN
    successor = jnp.clip(policy.actions, 0)
    arrivals = jax.vmap(jax.vmap(_arrivals, in_axes=(None, None, 0, 0, 0)), (None, None, 0, 0, 0))(
        model,
        meshes,
        jnp.broadcast_to(jnp.arange(len(model.models))[:, None], successor.shape),
        jnp.broadcast_to(jnp.arange(successor.shape[1]), successor.shape),
        successor,
    )
    passes = policy.actions >= 0
    start = _intervals(_at(meshes, policy.start), lambda v: v)

    def visit(mass_so_far: Array, at: Array) -> tuple[Array, None]:
        """Hands the mass in each interval of model `at` on to the models it passes to."""
        leaving = jnp.where(passes[at], mass_so_far[at], 0.0)
        arriving = leaving[:, None] * arrivals.mass[at]
        return mass_so_far.at[successor[at]].add(arriving), None

    blank = jnp.zeros(successor.shape)
    first = blank.at[policy.start].set(start.mass)
    mass, _ = jax.lax.scan(visit, first, jnp.arange(len(model.models)))
    leaving = jnp.where(passes, mass, 0.0)
    # Wrong answers, by the interval that an accepted confidence falls in.
    wrong = blank.at[policy.start].set(start.wrong)
    wrong = wrong.at[successor].add(leaving[..., None] * arrivals.wrong)
    asked = mass.sum(axis=1)
    return Outcome(
        error=jnp.sum(jnp.where(accept, wrong, 0.0)),
        abstention=jnp.sum(jnp.where(abstain, mass, 0.0)),
        cost_usd=asked @ model.cost_usd,
        latency_s=jnp.sum(jnp.where(asked > 0, asked * model.latency_s, 0.0)),
        answered_by=jnp.sum(jnp.where(accept, mass, 0.0), axis=1),
    )


def _at(tree: Tree, index: ArrayLike | tuple[Array, Array]) -> Tree:
    return jax.tree.map(lambda leaf: leaf[index], tree)


def _intervals(cut: Mesh, given: Callable[[Array], Array]) -> Below:
    """Mass and wrong answers in each interval between the edges of a mesh."""
    return jax.tree.map(jnp.diff, cut.below(given))


def _arrivals(
    model: CascadeModel, meshes: Mesh, at: Array, interval: Array, following: Array
) -> Below:
    """Law of the next confidence, by interval, given that the last one fell in a certain one.

    P(next <= x | a < last <= b) = (C(b, x) - C(a, x)) / (b - a) in the uniform scale. The first
    interval starts at a = 0, where C(b, x) / b needs no difference.
    """
    copula = _at(model.copula, (at, following))
    a, b = (meshes.point_levels[at, interval + i] for i in (0, 1))
    mass = b - a
    reached = mass > 0
    safe_b, safe_mass = jnp.where(reached, b, 1.0), jnp.where(reached, mass, 1.0)

    def given(v: Array) -> Array:
        whole = copula.lower_conditional(safe_b, v)
        part = (safe_b * whole - copula.cdf(a, v)) / safe_mass
        return jnp.where(a > 0, part, whole)

    return _intervals(_at(meshes, following), given)

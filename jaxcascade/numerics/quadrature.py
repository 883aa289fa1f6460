"""Quadrature rules as nodes and weights, so that `weights @ f(nodes)` is the integral."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

__all__ = ["PanelRule", "QuadratureRule", "arcsine_rule", "gauss_legendre", "panel_rule"]


class QuadratureRule(NamedTuple):
    """Nodes and weights of a rule; the last axis counts the nodes."""

    nodes: Float[Array, "... n"]
    weights: Float[Array, "... n"]


class PanelRule(NamedTuple):
    """A composite rule that knows the integral up to each of some points.

    Attributes:
        nodes: Nodes, panel by panel in increasing order.
        weights: Their weights; a panel that is cut away has weights of zero.
        panels_below: Number of panels below each point.
        fractions: Points as fractions of the support.
        width: Length of the support.
    """

    nodes: Float[Array, "p n"]
    weights: Float[Array, "p n"]
    panels_below: Int[Array, " e"]
    fractions: Float[Array, " e"]
    width: Float[Array, ""]

    def integrals(
        self, values: Float[Array, "*batch p n"], at_points: Float[Array, "*batch e"]
    ) -> Float[Array, "*batch e"]:
        """Integrals from the smallest point up to each point.

        First derivatives are exact. Of a second one, in a point and in a parameter of the
        integrand, take the one in the point first: in the other order its boundary term is lost.

        Args:
            values: The integrand at the nodes.
            at_points: The integrand at the points: by Leibniz' rule, the derivative in them.
        """
        panels = jnp.sum(values * self.weights, axis=-1)
        running = jnp.cumsum(panels, axis=-1)
        running = jnp.concatenate([jnp.zeros_like(running[..., :1]), running], axis=-1)
        return _up_to(running[..., self.panels_below], self.width * at_points, self.fractions)


@jax.custom_jvp
def _up_to(integral: Array, slope: Array, limit: Array) -> Array:
    """The integral, with its derivative in the limit."""
    return integral


@_up_to.defjvp
def _(operands: tuple, tangents: tuple) -> tuple[Array, Array]:
    return _up_to(*operands), tangents[0] + operands[1] * tangents[2]


def gauss_legendre(lower: ArrayLike, upper: ArrayLike, num_nodes: int) -> QuadratureRule:
    """Gauss-Legendre rule for ∫ f(s) ds from `lower` to `upper`; exact to degree 2n − 1.

    Args:
        lower: Lower limits, any shape.
        upper: Upper limits; broadcasts against `lower`.
        num_nodes: Number of nodes n, fixed at trace time.

    Returns:
        Nodes and weights, of the broadcast shape with one axis of length n appended, in the
        type of the limits.

    Example:
        >>> rule = gauss_legendre(0.0, 2.0, 4)
        >>> print(f"{rule.weights @ rule.nodes**7:.12f}")
        32.000000000000
    """
    lower, upper = _limits(lower, upper)
    unit_nodes, unit_weights = _unit_rule(num_nodes, lower.dtype)
    half = (upper - lower)[..., None] / 2
    middle = (upper + lower)[..., None] / 2
    return QuadratureRule(middle + half * unit_nodes, half * unit_weights)


def arcsine_rule(
    lower: ArrayLike,
    upper: ArrayLike,
    num_nodes: int,
    support_lower: ArrayLike = 0.0,
    support_upper: ArrayLike = 1.0,
) -> QuadratureRule:
    """Gauss-Legendre rule in the arcsine angle of a support that encloses the limits.

    With `s = s_min + (s_max − s_min) sin² θ`, a power of the distance from an end of the support,
    as in the distribution function of a beta variable, turns into about twice that power of an
    angle, and nodes crowd where confidences do. For distribution functions of mixtures of two
    betas with shapes in [0.2, 200], 64 nodes leave an error below 2e-7 in 99 cases of 100 and
    4e-5 in the worst, a narrow component inside a broad one; 256 leave 2e-10.

    Args:
        lower: Lower limits, any shape; cut to the support.
        upper: Upper limits; broadcasts against `lower`.
        num_nodes: Number of nodes n, fixed at trace time.
        support_lower: Lower end of the support.
        support_upper: Upper end of the support, above `support_lower`.

    Returns:
        Nodes and weights, of the broadcast shape with one axis of length n appended. Nodes never
        leave the support. Where a limit lies on an end of the support, an angle has infinite
        slope in it; the derivative of the rule in that limit is then given as 0. Differentiate
        the integral there by Leibniz' rule.

    Example:
        >>> import jax.numpy as jnp
        >>> rule = arcsine_rule(0.0, 1.0, 20)
        >>> print(f"{rule.weights @ jnp.sqrt(rule.nodes * (1 - rule.nodes)):.12f}")
        0.392699081699
    """
    lower, upper, start, stop = _limits(lower, upper, support_lower, support_upper)
    width = stop - start
    first, last = (_angle((t - start) / width, (stop - t) / width) for t in (lower, upper))
    angles = gauss_legendre(first, last, num_nodes)
    start, stop, width = start[..., None], stop[..., None], width[..., None]
    nodes = jnp.clip(start + width * jnp.sin(angles.nodes) ** 2, start, stop)
    return QuadratureRule(nodes, angles.weights * width * jnp.sin(2 * angles.nodes))


def panel_rule(
    points: Float[Array, " e"],
    breaks: Float[Array, " b"],
    num_nodes: int,
    support_lower: ArrayLike = 0.0,
    support_upper: ArrayLike = 1.0,
) -> PanelRule:
    """Arcsine rule on every panel between points and breaks: one pass for many integrals.

    A break is where the integrand changes its pace: a few beside every mode make up for what no
    smooth map of the whole support can know. With the breaks that `BetaMixture` names and 12
    nodes per panel, 204 for a whole support, the distribution function of a mixture of two betas
    with shapes in [0.2, 200], given what a Gumbel-dependent model said, is integrated to 4e-10.

    Args:
        points: Where integrals are wanted, inside the support, in any order.
        breaks: Other ends of panels, in any order; cut to the range of the points. An integral
            has no derivative in them.
        num_nodes: Number of nodes n per panel, fixed at trace time.
        support_lower: Lower end of the support.
        support_upper: Upper end of the support, above `support_lower`.

    Returns:
        A rule of e + b - 1 panels, some of them empty. Nodes move with the support alone: the
        rule has no derivative in the points but that of `PanelRule.integrals`, which holds at
        the ends of the support too.

    Example:
        >>> import jax.numpy as jnp
        >>> rule = panel_rule(jnp.array([0.0, 0.5, 1.0]), jnp.array([0.1]), 8)
        >>> print(rule.integrals(3 * rule.nodes**2, jnp.array([0.0, 0.75, 3.0])).round(12))
        [0.    0.125 1.   ]
    """
    # Ends given as numbers of Python take the precision of the points.
    dtype = jnp.result_type(points, support_lower, support_upper)
    start, stop = jnp.asarray(support_lower, dtype), jnp.asarray(support_upper, dtype)
    width = stop - start
    fractions = (points - start) / width
    inside = jnp.clip((breaks - start) / width, fractions.min(), fractions.max())
    # Neither sorting nor the angle is differentiated: see `PanelRule.integrals`.
    ends = jax.lax.stop_gradient(jnp.concatenate([fractions, inside]))
    order = jnp.argsort(ends)
    rule = arcsine_rule(ends[order][:-1], ends[order][1:], num_nodes)
    panels_below = jnp.argsort(order)[: points.size]
    return PanelRule(
        start + width * rule.nodes, width * rule.weights, panels_below, fractions, width
    )


def _limits(*limits: ArrayLike) -> list[Array]:
    dtype = jnp.result_type(*limits)
    if not jnp.issubdtype(dtype, jnp.floating):
        dtype = jnp.result_type(float)
    return jnp.broadcast_arrays(*(jnp.asarray(limit, dtype) for limit in limits))


def _unit_rule(num_nodes: int, dtype: jnp.dtype) -> tuple[Array, Array]:
    # Found by NumPy in double precision while tracing. The cast matters: double constants would
    # promote a single-precision computation without a word.
    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)
    return jnp.asarray(nodes, dtype), jnp.asarray(weights, dtype)


def _angle(fraction: Array, remainder: Array) -> Array:
    """θ in [0, π/2] with sin² θ = fraction = 1 − remainder, with zero slope at both ends."""
    inside = (fraction > 0) & (remainder > 0)
    sine = jnp.sqrt(jnp.where(inside, fraction, 0.5))
    cosine = jnp.sqrt(jnp.where(inside, remainder, 0.5))
    return jnp.where(inside, jnp.arctan2(sine, cosine), jnp.where(fraction > 0, jnp.pi / 2, 0.0))

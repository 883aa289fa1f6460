"""From the best thresholds of a grid to the best thresholds, and how they move.

The grid's optimum is the global one up to about the square of a cell. Around it, the tables are
smooth: polynomials through six edges of each threshold give the loss of a chain with an error far
below that square, for a few dozen multiplications, and Newton's method finds its minimum. What
comes out is judged by exact integrals, so that it is never worse than the grid's answer.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxcascade.cascade import (
    CERTIFIED,
    CascadeModel,
    PolicyArrays,
    Quadrature,
    ThresholdTables,
    grid_edges,
    threshold_tables,
)
from jaxcascade.cascade.integrals import mesh
from jaxcascade.errors import InvalidInputError
from jaxcascade.tuning.chains import Chains
from jaxcascade.tuning.thresholds import ThresholdSolution, best_thresholds

_STENCIL = 6
_NEWTON_STEPS = 8
_SPREAD = 0.5


@eqx.filter_jit
def optimal_thresholds(
    model: CascadeModel,
    asking_usd: Float[Array, " k"],
    error: Float[Array, " p"],
    allowed: Chains | None = None,
    num_cells: int = 128,
) -> ThresholdSolution:
    """Finds the best threshold cascade for every price: tables, grid search and polish in one.

    The default searches all 2^k - 1 subcascades. On a pool of five, 600 prices in all, the loss
    was within 1e-12 of the price of an error of that on 512 cells; with 64 cells, within 1e-10.
    The polish stays in the valley that the grid found: another one, better by less than the
    grid's own error (1e-5 of the price of an error on 128 cells), could be missed.

    Args:
        model: Fitted joint model over `k` models; `vmap` over draws of it.
        asking_usd: Dollars per call, latency priced in.
        error: Prices of an error.
        allowed: The chains to choose from; all subcascades by default.
        num_cells: Cells of the grid of thresholds.
    """
    if allowed is None:
        allowed = Chains.all_subcascades(len(model.models))
    # With quantiles alone, a threshold far down a model's tail, where the queries that others
    # passed on crowd, was missed by up to 2.5e-5 of the price of an error, polish and all.
    tables = threshold_tables(model, grid_edges(model, num_cells, _SPREAD))
    found = best_thresholds(tables, asking_usd, error, allowed)
    return polished_thresholds(model, tables, asking_usd, error, found)


class Path(NamedTuple):
    """A threshold cascade as the models that it asks, one after the other.

    Attributes:
        models: Positions in the order asked; those after the last one asked mean nothing.
        thresholds: What is passed on at each; -inf at the last one asked and after it.
    """

    models: Int[Array, " k"]
    thresholds: Float[Array, " k"]


@eqx.filter_jit
def polished_thresholds(
    model: CascadeModel,
    tables: ThresholdTables,
    asking_usd: Float[Array, " k"],
    error: Float[Array, " p"],
    solution: ThresholdSolution,
) -> ThresholdSolution:
    """Moves the best thresholds of a grid to the nearest minimum, for every price at once.

    Args:
        model: Fitted joint model over `k` models.
        tables: Its tables, on eight edges or more.
        asking_usd: Dollars per call, latency priced in.
        error: Prices of an error.
        solution: What `best_thresholds` found on these tables, or `thresholds_of_each`.

    Returns:
        The same chains, with the same leading axes. The loss is that of exact integrals, to 1e-8
        of the price of an error, and never above that of the grid's thresholds.
    """
    if tables.edges.shape[1] < _STENCIL + 2:
        raise InvalidInputError(
            f"`tables` must have at least {_STENCIL + 2} edges, 7 cells, to interpolate between; "
            f"they have {tables.edges.shape[1]}."
        )

    def polish(price: Array, policy: PolicyArrays) -> ThresholdSolution:
        path = _path(policy)
        moved = _newton(tables, asking_usd, price, path)
        both = jnp.stack([path.thresholds, jnp.where(jnp.isnan(moved), -jnp.inf, moved)])
        losses = jax.vmap(lambda t: threshold_loss(model, asking_usd, price, Path(path.models, t)))(
            both
        )
        best = jnp.argmin(losses)
        return ThresholdSolution(_with(policy, Path(path.models, both[best])), losses[best])

    def polish_all(policies: PolicyArrays) -> ThresholdSolution:
        if policies.start.ndim > 1:
            # In turns: a thousand chains at once would take gigabytes.
            return jax.lax.map(polish_all, policies)
        return jax.vmap(polish)(error, policies)

    return polish_all(solution.policies)


@eqx.filter_jit
def threshold_loss(
    model: CascadeModel,
    asking_usd: Float[Array, " k"],
    error: Float[Array, ""],
    path: Path,
    quadrature: Quadrature = CERTIFIED,
) -> Float[Array, ""]:
    """Returns cost + price of error x P(wrong) of one threshold cascade, by exact integrals.

    Differentiable in the model, the prices and the thresholds (Leibniz).

    Args:
        model: Fitted joint model over `k` models.
        asking_usd: Dollars per call, latency priced in.
        error: Price of an error.
        path: The cascade.
        quadrature: How integrals over a confidence are taken.
    """
    ends = jnp.full_like(path.thresholds, jnp.inf)
    edges = jnp.stack([-ends, path.thresholds, ends], axis=1)
    laws = jax.tree.map(lambda leaf: leaf[path.models], model.marginal)
    meshes = jax.vmap(lambda law, x: mesh(law, x, quadrature))(laws, edges)
    first = jax.tree.map(lambda leaf: leaf[0], meshes).below(lambda v: v)
    copulas = jax.tree.map(lambda leaf: leaf[path.models[:-1], path.models[1:]], model.copula)
    passed = meshes.point_levels[:-1, 1]
    # Nobody is asked after a model that passes nothing on; any level will do there.
    passed = jnp.where(passed > 0, passed, 1.0)
    later = jax.vmap(lambda c, u, cut: cut.below(lambda v: c.lower_conditional(u, v)))(
        copulas, passed, jax.tree.map(lambda leaf: leaf[1:], meshes)
    )
    mass, wrong = (
        jnp.concatenate([one[None], rest]) for one, rest in zip(first, later, strict=True)
    )
    return _chain_loss(asking_usd[path.models], error, mass[:, 1], wrong[:, -1] - wrong[:, 1])


@eqx.filter_jit
def differentiable_thresholds(
    model: CascadeModel,
    asking_usd: Float[Array, " k"],
    error: Float[Array, ""],
    policy: PolicyArrays,
) -> ThresholdSolution:
    """Returns one optimal threshold cascade as a function of model and prices.

    The value is the policy after two exact Newton steps more. Its derivatives are those of the
    optimum: of the thresholds by the implicit function theorem, of the loss by the envelope
    theorem. The chain itself is held fixed; it changes at single prices only.

    Args:
        model: Fitted joint model over `k` models; differentiable in its marginals and copulas.
        asking_usd: Dollars per call, latency priced in; differentiable.
        error: Price of an error; differentiable.
        policy: One policy that is optimal, see `polished_thresholds`; a constant.

    Returns:
        Thresholds as breakpoints, and the loss. A threshold at an end of its range stays there.
    """
    path = _path(jax.lax.stop_gradient(policy))
    free = jnp.isfinite(path.thresholds)

    def at(thresholds: Array) -> Array:
        return threshold_loss(model, asking_usd, error, Path(path.models, thresholds))

    def step(thresholds: Array, _: None) -> tuple[Array, None]:
        fixed = jax.lax.stop_gradient(thresholds)
        slope = jnp.where(free, jax.grad(at)(fixed), 0.0)
        # A threshold's slope knows how it changes with whatever an integral depends on; the slope
        # in what an integral depends on does not know that the integral ends at a threshold. So
        # of each pair of second derivatives, that of the later threshold's slope is right.
        lower = jnp.tril(jax.lax.stop_gradient(jax.hessian(at)(fixed)))
        curvature = lower + jnp.tril(lower, -1).T
        curvature = jnp.where(free[:, None] & free, curvature, jnp.eye(free.size))
        # Newton's step, in which the slope alone carries derivatives.
        return fixed - jnp.where(free, jnp.linalg.solve(curvature, slope), 0.0), None

    # The first step brings the thresholds to the optimum, where the second one's derivatives are
    # those of the optimum.
    thresholds, _ = jax.lax.scan(step, path.thresholds, None, length=2)
    return ThresholdSolution(
        _with(policy, Path(path.models, thresholds)), at(jax.lax.stop_gradient(thresholds))
    )


def _path(policy: PolicyArrays) -> Path:
    """Follows the one path of a threshold cascade."""
    breakpoints, actions = jnp.asarray(policy.breakpoints), jnp.asarray(policy.actions)

    def step(state: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Path]:
        at, going = state
        going = going & (actions[at, 0] >= 0)
        following = jnp.where(going, actions[at, 0], at)
        return (following, going), Path(at, jnp.where(going, breakpoints[at, 0], -jnp.inf))

    state = jnp.asarray(policy.start), jnp.array(True)
    return jax.lax.scan(step, state, None, length=breakpoints.shape[0])[1]


def _with(policy: PolicyArrays, path: Path) -> PolicyArrays:
    """The policy with a path's thresholds."""
    asked = path.thresholds > -jnp.inf
    # The models after the last one asked repeat it: what is not asked is put out of range.
    rows = jnp.where(asked, path.models, path.models.size)
    breakpoints = jnp.asarray(policy.breakpoints)
    return policy._replace(
        breakpoints=breakpoints.at[rows, 0].set(path.thresholds, mode="drop"),
    )


def _chain_loss(asking: Array, error: Array, mass: Array, wrong: Array) -> Float[Array, ""]:
    """Sums up over the models of a chain, which the query reaches while it is passed on."""
    reach = jnp.concatenate([jnp.ones(1), jnp.cumprod(mass[:-1])])
    return jnp.sum(reach * (asking + error * wrong))


def _newton(tables: ThresholdTables, asking: Array, price: Array, path: Path) -> Float[Array, " k"]:
    """Minimises the interpolated loss by damped Newton steps of at most one cell."""
    edges = tables.edges[path.models]
    lowest, highest = edges[:, 1], edges[:, -2]
    free = (path.thresholds >= lowest) & (path.thresholds <= highest)

    def at(thresholds: Array) -> Array:
        return _interpolated_loss(tables, asking, price, path, free, thresholds)

    def step(_: int, state: tuple[Array, Array]) -> tuple[Array, Array]:
        thresholds, trust = state
        slope, curvature = jax.grad(at)(thresholds), jax.hessian(at)(thresholds)
        curvature = jnp.where(free[:, None] & free, curvature, jnp.eye(free.size))
        # Downhill along every axis, even where the loss is not convex.
        sizes, axes = jnp.linalg.eigh(curvature)
        sizes = jnp.maximum(jnp.abs(sizes), 1e-12 * jnp.max(jnp.abs(sizes)))
        move = -axes @ ((axes.T @ jnp.where(free, slope, 0.0)) / sizes)
        nodes = jax.vmap(lambda row, t: row[_stencil(row, t)])(edges, thresholds)
        cell = trust * (nodes[:, -1] - nodes[:, 0]) / (_STENCIL - 1)
        new = jnp.clip(thresholds + jnp.clip(move, -cell, cell), lowest, highest)
        new = jnp.where(free, new, thresholds)
        better = at(new) < at(thresholds)
        return jnp.where(better, new, thresholds), jnp.where(better, 1.0, 0.25) * trust

    state = path.thresholds, jnp.ones(())
    return jax.lax.fori_loop(0, _NEWTON_STEPS, step, state)[0]


def _interpolated_loss(
    tables: ThresholdTables,
    asking: Array,
    price: Array,
    path: Path,
    free: Bool[Array, " k"],
    thresholds: Float[Array, " k"],
) -> Float[Array, ""]:
    models = path.models
    edges = tables.edges[models]
    at, weights = jax.vmap(_weights)(edges, thresholds, free)
    one = models[0]
    here, there = models[:-1, None, None], models[1:, None, None]
    given = here, there, at[:-1, :, None], at[1:, None, :]

    def interpolated(first: Array, later: Array) -> Float[Array, " k"]:
        inner = jnp.einsum("kab,ka,kb->k", later[given], weights[:-1], weights[1:])
        return jnp.concatenate([(first[one, at[0]] @ weights[0])[None], inner])

    mass = interpolated(tables.levels, tables.levels_given)
    wrong = interpolated(tables.wrong, tables.wrong_given)
    return _chain_loss(asking[models], price, mass, wrong)


def _stencil(edges: Float[Array, " e"], threshold: Float[Array, ""]) -> Int[Array, " s"]:
    """Indices of finite edges around a threshold."""
    cell = jnp.searchsorted(edges, threshold)
    start = jnp.clip(cell - _STENCIL // 2, 1, edges.size - 1 - _STENCIL)
    return start + jnp.arange(_STENCIL)


def _weights(
    edges: Float[Array, " e"], threshold: Float[Array, ""], free: Bool[Array, ""]
) -> tuple[Int[Array, " s"], Float[Array, " s"]]:
    """Edges to interpolate between and Lagrange's weights for them.

    A threshold that is not free stands on one edge, taken six times: the weights sum to one.
    """
    stencil = _stencil(edges, threshold)
    nodes = jnp.where(free, edges[stencil], jnp.arange(_STENCIL, dtype=edges.dtype))
    place = jnp.where(free, threshold, nodes[0])
    other = ~jnp.eye(_STENCIL, dtype=bool)
    factors = (place - nodes) / jnp.where(other, nodes[:, None] - nodes, 1.0)
    weights = jnp.prod(jnp.where(other, factors, 1.0), axis=1)
    index = jnp.searchsorted(edges, threshold)
    return jnp.where(free, stencil, index), weights

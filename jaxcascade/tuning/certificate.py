"""How good any policy can be: bounds on the least loss of the continuous Markov chain.

A grid lumps confidences together, so its value is neither above nor below the true one. Bounds
follow from one property: where copulas are stochastically increasing, a surer model j makes every
later model surer, and the least further loss V_j falls in u, the level of the confidence. Then

1. in a cell, V_j lies between its values at the ends (bounds of first order in the cell width);
2. G_j(u), the integral of V_j up to u, is concave: it lies above its chords, and above them by
   no more than a quarter of cell width x fall of V_j;
3. what is lost by asking model l whenever model j is at most at level u, D(u) = E[V_l; U_j <= u],
   is an integral of G_l over a positive measure, since P(U_j <= u | U_l = v) falls in v: bounds
   on G_l bound D, and no factor is lost;
4. where point 1 tells which action is the best throughout a run of cells, G_j grows over the run
   by a difference of two D's. Elsewhere, near the few levels at which actions change, it grows by
   what point 1 allows.

So pointwise errors of first order enter only in cells beside a change of action, which are few,
or as the square of a width: the bounds are of second order.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcascade.cascade import CascadeModel, Prices, grid_edges, markov_chain
from jaxcascade.copulas import (
    Clayton,
    Copula,
    Frank,
    Gaussian,
    Gumbel,
    Independence,
    Joe,
    SurvivalGumbel,
    rotated,
)
from jaxcascade.errors import InvalidInputError
from jaxcascade.marginals import Marginal
from jaxcascade.tuning.stopping import StoppingSolution, call_prices, optimal_stopping

# Families whose members with tau >= 0 are stochastically increasing, in either argument: the
# Archimedean ones by the log-convexity of their generators' derivatives (Mueller and Scarsini
# 2005, Archimedean copulae and positive dependence, theorem 2.8), and a half turn keeps it. The
# t copula is not: its tails pull both ways.
_INCREASING = (
    Independence,
    Gumbel,
    SurvivalGumbel,
    Clayton,
    rotated(Clayton, 180),
    Joe,
    rotated(Joe, 180),
    Frank,
    Gaussian,
)
# Stands for an action that there is not: infinity times a mass of zero would be NaN.
_NEVER = 1e30


class LossBounds(NamedTuple):
    """Bounds on the least expected loss of any policy, in dollars per query.

    Attributes:
        lower: No policy loses less; NaN where nothing is known.
        upper: Some policy loses no more; NaN where nothing is known.
    """

    lower: Float[Array, " p"]
    upper: Float[Array, " p"]

    @property
    def gap(self) -> float:
        """Largest difference, as a share of the upper bound; NaN where nothing is known."""
        return float(np.max(1.0 - np.asarray(self.lower) / np.asarray(self.upper)))


class CertifiedStopping(NamedTuple):
    """The best policies of a grid, and bounds on what the best of all could lose.

    Attributes:
        solution: Of the grid.
        bounds: On the least loss of the continuous chain.
        num_cells: Of the last grid tried.
        gap: Largest difference of the bounds as a share of the upper one; NaN without bounds.
    """

    solution: StoppingSolution
    bounds: LossBounds
    num_cells: int
    gap: float


class Prospects(NamedTuple):
    """What policies can save at most, were the model true.

    Attributes:
        error_prices: Dollars per accepted wrong answer.
        best_single: Position of the best single model.
        single_loss: What it is expected to lose, in dollars per query.
        bounds: On the least loss of any policy; NaN where the copulas allow none.
    """

    error_prices: Float[np.ndarray, " p"]
    best_single: Int[np.ndarray, " p"]
    single_loss: Float[np.ndarray, " p"]
    bounds: LossBounds

    @property
    def most_saved(self) -> Float[np.ndarray, " p"]:
        """No policy saves more than this share of the best single model's loss."""
        return np.maximum(1.0 - np.asarray(self.bounds.lower) / self.single_loss, 0.0)


def prospects(model: CascadeModel, prices: Prices, num_cells: int = 128) -> Prospects:
    """Says what is to be gained over the best single model, were the model true.

    What the model promises is not what unseen queries hold: see `tune` for a verdict.

    Args:
        model: Fitted joint model; a model may pass on to later ones only.
        prices: One-dimensional, all of one length `p`.
        num_cells: See `stopping_bounds`.
    """
    asking, error, _ = call_prices(model.cost_usd, model.latency_s, prices)
    accuracy = jax.vmap(lambda law: law.mean())(model.marginal)
    losses = np.asarray(asking + error * (1.0 - accuracy)[:, None])
    return Prospects(
        np.asarray(error),
        np.argmin(losses, axis=0),
        np.min(losses, axis=0),
        stopping_bounds(model, prices, num_cells),
    )


def certified_stopping(
    model: CascadeModel,
    prices: Prices,
    *,
    relative_gap: float = 1e-3,
    num_cells: int = 64,
    max_cells: int = 512,
) -> CertifiedStopping:
    """Solves optimal stopping on grids of ever more cells, until its bounds are close.

    Args:
        model: Fitted joint model; a model may pass on to later ones only.
        prices: One-dimensional, all of one length `p`.
        relative_gap: The bounds may differ by this share of the upper one.
        num_cells: Cells per model of the first grid; each further one has twice as many.
        max_cells: Most cells.

    Returns:
        The last grid tried: look at `gap`, which is above `relative_gap` where `max_cells` were
        not enough, and NaN where the copulas allow no bounds, however fine the grid.
    """
    if not 4 <= num_cells <= max_cells:
        raise InvalidInputError(
            f"`num_cells` must lie between 4 and `max_cells`, {max_cells}; got {num_cells}."
        )
    while True:
        bounds = stopping_bounds(model, prices, num_cells)
        gap = bounds.gap
        if not gap > relative_gap or 2 * num_cells > max_cells:
            break
        num_cells *= 2
    chain = markov_chain(model, num_cells)
    solution = optimal_stopping(chain, model.cost_usd, model.latency_s, prices)
    return CertifiedStopping(solution, bounds, num_cells, gap)


@eqx.filter_jit
def stopping_bounds(model: CascadeModel, prices: Prices, num_cells: int = 128) -> LossBounds:
    """Bounds the least loss of any policy, if confidences are a Markov chain.

    The chain is the continuous one: given Phi_j = phi, whatever was seen before, Phi_l has the
    law of the pair's copula, averaged over the levels that an atom of model j takes up.

    Args:
        model: Fitted joint model; a model may pass on to later ones only.
        prices: One-dimensional, all of one length `p`.
        num_cells: Cells per model. The gap falls with their square, where no two actions are
            nearly equal over a wide range of confidence; where they are, with their number.

    Returns:
        Bounds that hold up to rounding, about 1e-12 of the prices. NaN where a copula's family
        is not known to be stochastically increasing (Student t, quarter turns) or its tau is
        negative. Prices of latency count as in `optimal_stopping`.
    """
    k = len(model.models)
    asking, error, abstention = call_prices(model.cost_usd, model.latency_s, prices)
    edges = grid_edges(model, num_cells)
    grid = jax.vmap(_levels)(model.marginal, edges)
    abstention = jnp.minimum(abstention, _NEVER)

    def induct(values: _Values, j: Array) -> tuple[_Values, None]:
        here: _Levels = jax.tree.map(lambda leaf: leaf[j], grid)
        stop = _Options(
            error * (1.0 - here.lowest[:, None]),
            error * (1.0 - here.highest[:, None]),
            *(error * here.wrong[:, None],) * 2,
        )
        shape = (num_cells, error.size)
        give_up = _Options(
            *(jnp.broadcast_to(abstention, shape),) * 2, *(abstention * here.level[:, None],) * 2
        )
        blank = jax.tree.map(lambda leaf: jnp.full_like(leaf, _NEVER), stop)

        def ask(_: None, l: Array) -> tuple[None, _Options]:  # noqa: E741 as in the design
            copula: Copula = jax.tree.map(lambda leaf: leaf[j, l], model.copula)
            later: _Values = jax.tree.map(lambda leaf: leaf[l], values)

            def compute() -> _Options:
                return _ask(copula, here.level, grid.level[l], later, asking[l])

            return None, jax.lax.cond(l > j, compute, lambda: blank)

        _, ahead = jax.lax.scan(ask, None, jnp.arange(k))
        options = jax.tree.map(
            lambda a, b, c: jnp.concatenate([a[None], b[None], c]), stop, give_up, ahead
        )
        best = _best(options, here.level)
        return jax.tree.map(lambda leaf, new: leaf.at[j].set(new), values, best), None

    cells, points = jnp.zeros((k, num_cells, error.size)), jnp.zeros((k, num_cells + 1, error.size))
    blank = _Values(cells, cells, points, points)
    values, _ = jax.lax.scan(induct, blank, jnp.arange(k)[::-1])
    known = _increasing(model.copula, k)
    lower = jnp.min(asking + values.integral_lower[:, -1], axis=0)
    upper = jnp.min(asking + values.integral_upper[:, -1], axis=0)
    return LossBounds(jnp.where(known, lower, jnp.nan), jnp.where(known, upper, jnp.nan))


class _Levels(NamedTuple):
    """One model's confidence cut into cells, of which the first and last are exactly the atoms.

    Attributes:
        level: Distribution function between cells, from 0 to 1.
        wrong: P(at most this level and wrong).
        lowest: Infimum of the confidence in each cell.
        highest: Supremum.
    """

    level: Float[Array, "*batch e"]
    wrong: Float[Array, "*batch e"]
    lowest: Float[Array, "*batch m"]
    highest: Float[Array, "*batch m"]


class _Values(NamedTuple):
    """Bounds on the least further loss of a model: in each cell, and its integral up to a level."""

    upper: Float[Array, "*batch m p"]
    lower: Float[Array, "*batch m p"]
    integral_upper: Float[Array, "*batch e p"]
    integral_lower: Float[Array, "*batch e p"]


# The same of one action.
_Options = _Values


def _increasing(copula: Copula, k: int) -> Array | bool:
    if not isinstance(copula, _INCREASING):
        return False
    return jnp.all(copula.tau[np.triu_indices(k, 1)] >= 0)


def _levels(law: Marginal, edges: Float[Array, " e"]) -> _Levels:
    """Cuts a law at its atoms and at the inner edges of a grid."""
    inner = edges[2:-2]
    below, above = law.atom_low, 1.0 - law.atom_high
    wrong_low = law.atom_low * (1.0 - law.low)
    wrong_all = 1.0 - law.mean()
    wrong_high = wrong_all - law.atom_high * (1.0 - law.high)
    # Clipped: a law at one point has its inner edges at its atoms.
    level = jnp.clip(law.cdf(inner), below, above)
    wrong = jnp.clip(level - law.mean() + law.partial_mean(inner), wrong_low, wrong_high)
    ends = jnp.clip(inner, law.low, law.high)
    return _Levels(
        jnp.concatenate(
            [jnp.stack([jnp.zeros(()), below]), level, jnp.stack([above, jnp.ones(())])]
        ),
        jnp.concatenate(
            [jnp.stack([jnp.zeros(()), wrong_low]), wrong, jnp.stack([wrong_high, wrong_all])]
        ),
        jnp.concatenate([law.low[None], law.low[None], ends, law.high[None]]),
        jnp.concatenate([law.low[None], ends, law.high[None], law.high[None]]),
    )


def _ask(
    copula: Copula, u: Float[Array, " e"], v: Float[Array, " e"], later: _Values, asking: Array
) -> _Options:
    """Bounds what is lost by asking a later model, given this one's confidence."""
    width = jnp.diff(v)[:, None]
    joint = jnp.diff(copula.cdf(u[:, None], v), axis=1)
    # Laws of the later model given this one at an edge, or at an atom, a single state.
    at_edge = jnp.diff(copula.h_function(u[:, None], v), axis=1)
    first, last = (_atom(joint, u, at_edge, g) for g in (0, -1))
    surest = jnp.concatenate([first, at_edge[1:-2], last])
    least_sure = jnp.concatenate([first, at_edge[2:-1], last])
    safe = jnp.where(width > 0, width, 1.0)
    mean_upper = jnp.diff(later.integral_upper, axis=0) / safe
    mean_lower = jnp.diff(later.integral_lower, axis=0) / safe
    # How far the concave integral can rise above its chord; not at all over an atom.
    rise = 0.25 * width * (later.upper - later.lower)
    rise = rise.at[0].set(0.0).at[-1].set(0.0)
    falling = -jnp.diff(copula.transpose().h_function(v, u[:, None]), axis=1)
    return _Options(
        asking + surest @ later.upper,
        asking + least_sure @ later.lower,
        asking * u[:, None] + joint @ mean_upper + falling @ rise,
        asking * u[:, None] + joint @ mean_lower,
    )


def _atom(joint: Array, u: Array, at_edge: Array, g: int) -> Float[Array, "1 m"]:
    """Law of a later model given this one in its first or last cell."""
    mass = jnp.diff(u)[g]
    law = jnp.diff(joint, axis=0)[g] / jnp.where(mass > 0, mass, 1.0)
    return jnp.where(mass > 0, law, at_edge[g])[None]


def _best(options: _Options, u: Float[Array, " e"]) -> _Values:
    """Takes the best action in each cell, and sums up over runs of cells that share one."""
    width = jnp.diff(u)[:, None]
    upper, lower = jnp.min(options.upper, axis=0), jnp.min(options.lower, axis=0)
    choice = jnp.argmin(options.upper + options.lower, axis=0)[None]

    def chosen(leaf: Array) -> Array:
        return jnp.take_along_axis(leaf, choice, axis=0)[0]

    others = jnp.where(
        jnp.arange(options.lower.shape[0])[:, None, None] == choice, jnp.inf, options.lower
    )
    certain = chosen(options.upper) <= jnp.min(others, axis=0)
    # A run begins with what is unknown of its integral so far.
    unknown = chosen((options.integral_upper - options.integral_lower)[:, :-1])
    changes = jnp.diff(choice[0], axis=0, prepend=-1) != 0
    grows = chosen(jnp.diff(options.integral_upper, axis=1)) + jnp.where(changes, unknown, 0.0)
    resumes = changes | jnp.pad(~certain, ((1, 0), (0, 0)))[:-1]
    surely = chosen(jnp.diff(options.integral_lower, axis=1)) - jnp.where(resumes, unknown, 0.0)
    surely = jnp.where(certain, surely, width * lower)
    return _Values(
        upper,
        lower,
        _summed(jnp.minimum, grows, width * upper),
        _summed(jnp.maximum, surely, width * lower),
    )


def _summed(better, runs: Array, cells: Array) -> Float[Array, "e p"]:
    return jnp.pad(better(jnp.cumsum(runs, axis=0), jnp.cumsum(cells, axis=0)), ((1, 0), (0, 0)))

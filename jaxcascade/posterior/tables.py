"""What thresholds bring under each draw, on one grid that all draws share.

The grid lies on the reference confidence, so that a threshold means the same to all draws and is
what a frontier's policies are written in. A draw changes how much lies below each edge, how often
answers there are right, and how models depend on each other. None of it needs quadrature.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcascade.cascade import CascadeModel, MarkovChain, PolicyArrays, ThresholdTables, grid_edges
from jaxcascade.copulas import Copula
from jaxcascade.marginals import Marginal
from jaxcascade.posterior.model import Sites, mixture
from jaxcascade.posterior.posterior import Posterior


class Grid(eqx.Module):
    """Edges of thresholds, and what no draw changes about the cells between them.

    Attributes:
        edges: On the reference confidence of each model, from minus to plus infinity.
        places: The same stretched to [0, 1], with the middle between any two; 1 for a model
            whose confidences are all the same.
        signals: Standardised signal at a quarter and three quarters of each cell.
        model: The joint model at the mean of the draws, its marginals on the reference confidence.
    """

    edges: Float[Array, "k e"]
    places: Float[Array, "k 2*e-1"]
    signals: Float[Array, "k m 2"]
    model: CascadeModel


def shared_grid(
    posterior: Posterior, num_cells: int = 48, policies: PolicyArrays | None = None
) -> Grid:
    """Cuts every model's reference confidence into cells of about equal probability.

    Args:
        posterior: The draws.
        num_cells: Cells per model, atoms included.
        policies: Whose breakpoints, on the reference confidence, become edges as well.
    """
    frame = posterior.frame
    model = _on_reference(posterior)
    edges = np.asarray(grid_edges(model, num_cells))
    low, high = (np.asarray(end)[:, None] for end in frame.support)
    if policies is not None:
        added = np.moveaxis(np.asarray(policies.breakpoints), -2, 0).reshape(len(edges), -1)
        inside = (added > low) & (added < high)
        edges = _with(edges, [row[used] for row, used in zip(added, inside, strict=True)])
    inner = np.clip(edges, low, high)
    middles = 0.5 * (inner[:, 1:] + inner[:, :-1])
    every = np.empty((len(edges), 2 * edges.shape[1] - 1))
    every[:, ::2], every[:, 1::2] = inner, middles
    places = np.where(high > low, every - low, 1.0) / np.where(high > low, high - low, 1.0)
    quarters = 0.5 * (every[:, 1:] + every[:, :-1])
    signals = np.asarray(frame.signal_of(jnp.asarray(quarters).T)).T
    bounds = np.asarray(frame.signal_range)
    signals = np.clip(signals, bounds[0][:, None], bounds[1][:, None])
    return Grid(
        jnp.asarray(edges),
        jnp.asarray(places),
        jnp.asarray(signals.reshape(len(edges), -1, 2)),
        model,
    )


def _with(edges: np.ndarray, added: list[np.ndarray]) -> np.ndarray:
    """Adds edges to each row; rows with fewer repeat their last finite edge."""
    rows = [np.union1d(row, extra) for row, extra in zip(edges, added, strict=True)]
    # To a multiple of 16: frontiers of about the same size share their compilations.
    longest = -(-max(map(len, rows)) // 16) * 16 + 1
    filled = [np.insert(row, -1, np.repeat(row[-2], longest - len(row))) for row in rows]
    return np.stack(filled)


@eqx.filter_jit
def _on_reference(posterior: Posterior) -> CascadeModel:
    """The joint model at the mean draw, its marginals on the reference confidence."""
    sites = jax.tree.map(lambda leaf: leaf.mean(axis=0), posterior.sites)
    low, high = posterior.frame.support
    law = mixture(*(sites[name] for name in ("weight", "low_center", "gap", "concentration")))
    marginal = Marginal(low, high, sites["atoms"][:, 0], sites["atoms"][:, 2], law)
    return eqx.tree_at(lambda model: model.marginal, posterior.mean_model(), marginal)


class Cells(eqx.Module):
    """One draw on the grid.

    Attributes:
        levels: Distribution function at the edges.
        log_odds: Of being right, by a model's own confidence, averaged over each cell.
        signals: Mean standardised signal of each cell.
    """

    levels: Float[Array, "k e"]
    log_odds: Float[Array, "k m"]
    signals: Float[Array, "k m"]

    @property
    def wrong(self) -> Float[Array, "k m"]:
        """Probability of each cell and a wrong answer."""
        return jnp.diff(self.levels, axis=1) * jax.nn.sigmoid(-self.log_odds)


def cells(grid: Grid, sites: Sites) -> Cells:
    """Puts the margins of one draw on the grid."""
    law = mixture(*(sites[name] for name in ("weight", "low_center", "gap", "concentration")))
    low, middle, _ = jnp.moveaxis(sites["atoms"], -1, 0)[..., None]
    inside = (grid.places > 0) & (grid.places < 1)
    between = jax.vmap(lambda one, z: one.cdf(z))(law, jnp.where(inside, grid.places, 0.5))
    levels = jnp.where(grid.places < 1, low, 1.0)
    levels = jnp.where(inside, low + middle * between, levels)
    levels = levels.at[:, 0].set(0.0).at[:, -1].set(1.0)
    halves = jnp.diff(levels, axis=1).reshape(grid.signals.shape)
    mass = halves.sum(axis=2)
    share = jnp.where(mass[..., None] > 0, halves, 0.5) / jnp.where(mass > 0, mass, 1.0)[..., None]
    log_odds = sites["intercept"][:, None, None] + sites["slope"][:, None, None] * grid.signals
    chance = jnp.sum(share * jax.nn.sigmoid(log_odds), axis=2)
    doubt = jnp.sum(share * jax.nn.sigmoid(-log_odds), axis=2)
    return Cells(
        levels[:, ::2],
        jnp.log(chance) - jnp.log(doubt),
        jnp.sum(share * grid.signals, axis=2),
    )


def draw_tables(
    posterior: Posterior, grid: Grid, sites: Sites, history: bool = True
) -> ThresholdTables:
    """What thresholds on the grid bring, under one draw.

    Args:
        posterior: What draws share.
        grid: See `shared_grid`.
        sites: The values of one draw.
        history: Whether an answer's chance of being right depends on what the model asked just
            before has said, besides its own confidence.

    Returns:
        Tables whose edges are reference confidences.
    """
    own = cells(grid, sites)
    k, e = grid.edges.shape
    first, second = np.triu_indices(k, 1)
    copula = posterior.family.from_tau(posterior.tau_of(sites)[first, second])
    shift, slope = posterior.history_of(sites)

    def pair(at: tuple) -> tuple[Array, Array]:
        j, after, copula, shift, slope = at
        u, v = own.levels[j], own.levels[after]
        given = copula.lower_conditional(u[:, None], v)
        joint = u[:, None] * given
        mass = jnp.maximum(jnp.diff(jnp.diff(joint, axis=0), axis=1), 0.0)
        log_odds = own.log_odds[after]
        if history:
            told = own.signals[j][:, None] - slope * own.signals[after]
            log_odds = log_odds + shift * told
        wrong = jnp.cumsum(mass * jax.nn.sigmoid(-log_odds), axis=0)
        above = jnp.cumsum(wrong[:, ::-1], axis=1)[:, ::-1]
        above = jnp.pad(above, ((1, 0), (0, 1)))
        return given, above / jnp.where(u > 0, u, 1.0)[:, None]

    pairs = (first, second, copula, shift[first, second], slope[first, second])
    given, wrong = jax.lax.map(pair, jax.tree.map(jnp.asarray, pairs))
    blank = jnp.zeros((k, k, e, e))
    alone = jnp.cumsum(own.wrong[:, ::-1], axis=1)[:, ::-1]
    return ThresholdTables(
        grid.edges,
        own.levels,
        jnp.pad(alone, ((0, 0), (0, 1))),
        blank.at[first, second].set(given),
        blank.at[first, second].set(wrong),
    )


def draw_chain(posterior: Posterior, grid: Grid, sites: Sites) -> MarkovChain:
    """One draw as a Markov chain on the grid, for optimal stopping; without history."""
    own = cells(grid, sites)
    copula = posterior.family.from_tau(posterior.tau_of(sites))

    def pair(at: tuple[Array, Array]) -> Float[Array, "m m"]:
        one: Copula = jax.tree.map(lambda leaf: leaf[at], copula)
        u, v = own.levels[at[0]], own.levels[at[1]]
        joint = u[:, None] * one.lower_conditional(u[:, None], v)
        mass = jnp.maximum(jnp.diff(jnp.diff(joint, axis=0), axis=1), 0.0)
        total = mass.sum(axis=1, keepdims=True)
        return jnp.where(total > 0, mass / jnp.where(total > 0, total, 1.0), jnp.diff(v))

    kernel = jax.lax.map(pair, jnp.triu_indices(own.levels.shape[0], 1))
    return MarkovChain(grid.edges, own.levels, jax.nn.sigmoid(own.log_odds), copula, kernel)

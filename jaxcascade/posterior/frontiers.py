"""Frontiers, draw by draw: what is best under each, and what a given policy brings."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcascade.calibration import Calibrator
from jaxcascade.cascade import (
    ACCEPT,
    CascadeModel,
    Outcome,
    PolicyArrays,
    Prices,
    ThresholdTables,
    edge_outcomes,
    loss,
    tabled_outcomes,
)
from jaxcascade.posterior.model import Sites
from jaxcascade.posterior.posterior import Posterior
from jaxcascade.posterior.tables import Grid, draw_chain, draw_tables, shared_grid
from jaxcascade.tuning import Chains, best_thresholds, subcascades
from jaxcascade.tuning.stopping import call_prices


class FrontierDraws(NamedTuple):
    """The best threshold cascade of each draw at each price.

    Attributes:
        outcome: What it brings, in the eyes of its own draw; leading axes (draws, prices).
        loss: Dollars per query.
        single_loss: Of each model on its own.
        start: Position of the model that is asked first.
        thresholds: Reference confidence up to which each model passes on; NaN where it does not.
    """

    outcome: Outcome
    loss: Float[Array, "d p"]
    single_loss: Float[Array, "d p k"]
    start: Int[Array, "d p"]
    thresholds: Float[Array, "d p k"]


class BayesFrontier(NamedTuple):
    """The threshold cascade with the least posterior expected loss at each price.

    Attributes:
        policies: On the reference confidence, one per price.
        outcome: What each brings under every draw; leading axes (draws, prices).
        loss: Dollars per query, of the same.
    """

    policies: PolicyArrays
    outcome: Outcome
    loss: Float[Array, "d p"]


def frontier_draws(
    posterior: Posterior,
    prices: Prices,
    *,
    chains: Chains | None = None,
    num_cells: int = 48,
    history: bool = True,
) -> FrontierDraws:
    """Finds the best threshold cascade under every draw, at every price.

    Args:
        posterior: See `infer`.
        prices: Arrays of one length `p`, or single numbers. A finite price of abstention is not
            read: thresholds either accept or pass on.
        chains: Chains to choose from; by default single models and pairs.
        num_cells: Cells of the grid of thresholds.
        history: Whether the chance of being right depends on what the model asked before said.
    """
    grid = shared_grid(posterior, num_cells)
    return _frontier_draws(
        posterior, grid, each_price(prices), allowed_chains(posterior, chains), history
    )


@eqx.filter_jit
def _frontier_draws(
    posterior: Posterior, grid: Grid, prices: Prices, chains: Chains, history: bool
) -> FrontierDraws:

    def one(sites: Sites) -> FrontierDraws:
        # At one price of a second: the dynamic program shares its tables among prices.
        asking, error, _ = call_prices(sites["cost_usd"], sites["latency_s"], prices)
        tables = draw_tables(posterior, grid, sites, history)
        policies = best_thresholds(choosy(tables), asking[:, 0], error, chains).policies
        outcome = tabled_outcomes(at_cost(grid.model, sites), tables, policies)
        passes = policies.actions[:, :, 0] != ACCEPT
        return FrontierDraws(
            outcome,
            loss(outcome, prices),
            (asking + error * tables.wrong[:, :1]).T,
            jnp.asarray(policies.start),
            jnp.where(passes, policies.breakpoints[:, :, 0], jnp.nan),
        )

    return jax.lax.map(one, posterior.sites)


def policy_draws(
    posterior: Posterior,
    policies: PolicyArrays,
    calibrator: Calibrator | None = None,
    *,
    num_cells: int = 48,
    history: bool = True,
) -> Outcome:
    """Predicts given policies under every draw.

    Args:
        posterior: See `infer`.
        policies: With one leading axis, over the posterior's models in their order.
        calibrator: Whose confidences the breakpoints are on; the reference by default.
        num_cells: Cells of the grid; breakpoints become edges besides.
        history: Whether the chance of being right depends on what the model asked before said.
            Policies that are not threshold cascades are predicted without.

    Returns:
        Leading axes (draws, policies).
    """
    policies = jax.tree.map(jnp.asarray, policies)
    if calibrator is not None:
        policies = posterior.frame.translate(policies, calibrator)
    grid = shared_grid(posterior, num_cells, policies)
    if _are_thresholds(policies):
        first = PolicyArrays(
            policies.start, policies.breakpoints[..., :1], policies.actions[..., :2]
        )
        return _by_tables(posterior, grid, first, history)
    return _by_chain(posterior, grid, policies)


def _are_thresholds(policies: PolicyArrays) -> bool:
    """Whether every model accepts above its first breakpoint and passes on or accepts below."""
    actions = np.asarray(policies.actions)
    return bool(np.all(actions[..., 1:] == ACCEPT) and np.all(actions >= ACCEPT))


@eqx.filter_jit
def _by_tables(posterior: Posterior, grid: Grid, policies: PolicyArrays, history: bool) -> Outcome:
    return jax.lax.map(
        lambda sites: tabled_outcomes(
            at_cost(grid.model, sites), draw_tables(posterior, grid, sites, history), policies
        ),
        posterior.sites,
    )


@eqx.filter_jit
def _by_chain(posterior: Posterior, grid: Grid, policies: PolicyArrays) -> Outcome:
    return jax.lax.map(
        lambda sites: edge_outcomes(
            draw_chain(posterior, grid, sites), sites["cost_usd"], sites["latency_s"], policies
        ),
        posterior.sites,
    )


def bayes_frontier(
    posterior: Posterior,
    prices: Prices,
    *,
    chains: Chains | None = None,
    num_cells: int = 48,
    history: bool = True,
) -> BayesFrontier:
    """Finds the threshold cascades that lose the least on average over the draws.

    The dynamic program runs on the average of the draws' tables: for pairs of models that is the
    posterior expected loss itself.

    Args:
        posterior: See `infer`.
        prices: As in `frontier_draws`.
        chains: Chains to choose from; by default single models and pairs.
        num_cells: Cells of the grid of thresholds.
        history: Whether the chance of being right depends on what the model asked before said.
    """
    grid, prices = shared_grid(posterior, num_cells), each_price(prices)
    model = grid.model
    asking, error, _ = call_prices(model.cost_usd, model.latency_s, prices)
    tables = mean_tables(posterior, grid, history)
    chains = allowed_chains(posterior, chains)
    policies = best_thresholds(choosy(tables), asking[:, 0], error, chains).policies
    outcome = _by_tables(posterior, grid, policies, history)
    return BayesFrontier(policies, outcome, loss(outcome, prices))


@eqx.filter_jit
def mean_tables(posterior: Posterior, grid: Grid, history: bool = True) -> ThresholdTables:
    """Averages the draws' tables: what a query brings when no draw is known to be the true one."""

    def add(total: ThresholdTables, sites: Sites) -> tuple[ThresholdTables, None]:
        one = draw_tables(posterior, grid, sites, history)
        reached = one.levels[:, None, :, None]
        joint = one._replace(
            levels_given=reached * one.levels_given, wrong_given=reached * one.wrong_given
        )
        return jax.tree.map(jnp.add, total, joint), None

    k, e = grid.edges.shape
    one, two = jnp.zeros((k, e)), jnp.zeros((k, k, e, e))
    total, _ = jax.lax.scan(add, ThresholdTables(one, one, one, two, two), posterior.sites)
    mean = jax.tree.map(lambda leaf: leaf / posterior.num_draws, total)
    reached = mean.levels[:, None, :, None]
    reached = jnp.where(reached > 0, reached, 1.0)
    return mean._replace(
        edges=grid.edges,
        levels_given=mean.levels_given / reached,
        wrong_given=mean.wrong_given / reached,
    )


def choosy(tables: ThresholdTables) -> ThresholdTables:
    """Leaves out the thresholds that pass everything on.

    What was known of a query is forgotten, in the threshold-Markov approximation, once a model
    has passed it on: one that passes on everything would launder the queries that others found
    hard. (It did: policies so chosen lost 3 % more than others on unseen queries.)
    """
    return tables._replace(
        edges=tables.edges[:, :-1],
        levels=tables.levels[:, :-1],
        wrong=tables.wrong[:, :-1],
        levels_given=tables.levels_given[:, :, :-1, :-1],
        wrong_given=tables.wrong_given[:, :, :-1, :-1],
    )


def allowed_chains(posterior: Posterior, chains: Chains | None) -> Chains:
    """Chains as arrays, so that compiled programs are shared; single models and pairs by default.

    What pairs bring is exact under a draw. A longer chain profits from what the threshold-Markov
    approximation forgets of a query once another model has passed it on, and the best of many
    chains does so the most: with all subcascades to choose from, policies lost 6 % more on unseen
    MMLU queries than with pairs.
    """
    if chains is None:
        k = len(posterior.frame.models)
        chains = Chains.each([(j,) for j in range(k)] + subcascades(k)[: k * (k - 1) // 2])
    return Chains(*map(jnp.asarray, chains))


def each_price(prices: Prices) -> Prices:
    """Prices as arrays of one length."""
    return Prices(*jnp.broadcast_arrays(*(jnp.atleast_1d(jnp.asarray(p, float)) for p in prices)))


def at_cost(model: CascadeModel, sites: Sites) -> CascadeModel:
    """Gives a model one draw's costs and seconds."""
    calls = (sites["cost_usd"], sites["latency_s"])
    return eqx.tree_at(lambda model: (model.cost_usd, model.latency_s), model, calls)


class Band(NamedTuple):
    """An interval for each of several numbers.

    Attributes:
        low: Lower ends.
        middle: Medians.
        high: Upper ends.
    """

    low: Float[np.ndarray, "*rest"]
    middle: Float[np.ndarray, "*rest"]
    high: Float[np.ndarray, "*rest"]


def pointwise_band(draws: Float[Array | np.ndarray, "d *rest"], level: float = 0.9) -> Band:
    """Central intervals that hold each number with probability `level`; NaN draws do not count."""
    tail = 0.5 * (1.0 - level)
    values = np.asarray(draws)
    return Band(*np.nanquantile(values, [tail, 0.5, 1.0 - tail], axis=0))


def simultaneous_band(draws: Float[Array | np.ndarray, "d p"], level: float = 0.9) -> Band:
    """The narrowest band of central intervals of one level that holds whole curves of draws.

    A share `level` of the draws lies inside at all prices at once.
    """
    values = np.asarray(draws)
    count = len(values)
    ranks = np.argsort(np.argsort(values, axis=0), axis=0)
    # How far from both ends of the sorted draws a curve stays, at its worst.
    depth = np.minimum(ranks, count - 1 - ranks).min(axis=1)
    out = np.sort(depth)[int(np.floor((1.0 - level) * count))]
    ordered = np.sort(values, axis=0)
    return Band(ordered[out], np.median(values, axis=0), ordered[count - 1 - out])

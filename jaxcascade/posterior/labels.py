"""What more labels are worth: the expected value of perfect and of sample information.

More labels move the posterior expectation of what each policy brings, and a policy chosen then
loses less on average than today's. How far expectations will move is known beforehand: they
spread around today's as the draws do, but less, by the share of the posterior variance that the
labels will resolve. So each draw's tables are moved towards the mean of all draws until their
variance is that share, and the best policy for them is found. No data are simulated, and since
tables keep their mean, no labels bring nothing, and infinitely many bring what perfect knowledge
would.

References:
    Raiffa and Schlaifer (1961), Applied Statistical Decision Theory, chapter 4.
    Heath, Manolopoulou and Baio (2018), Efficient Monte Carlo estimation of the expected value of
        sample information using moment matching, Medical Decision Making 38.
"""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxcascade.cascade import Prices, ThresholdTables, loss, tabled_outcomes
from jaxcascade.errors import InvalidInputError
from jaxcascade.posterior.frontiers import allowed_chains, at_cost, choosy, each_price, mean_tables
from jaxcascade.posterior.model import Sites
from jaxcascade.posterior.posterior import Posterior
from jaxcascade.posterior.simulate import prior_draws
from jaxcascade.posterior.tables import Grid, cells, draw_tables, shared_grid
from jaxcascade.tuning import Chains, best_thresholds
from jaxcascade.tuning.stopping import call_prices

_NUM_PRIOR_DRAWS = 1000
# Of a variance that data have not made smaller than the prior's: labels will, but slowly.
_LEAST_LEARNT = 1e-3


class LabelValue(NamedTuple):
    """What more labelled queries are expected to save at each price.

    Attributes:
        prices: Arrays of length `p`.
        more: Labelled queries to add, all models run on each.
        resolved: Share of today's posterior variance that they are expected to resolve, in [0, 1].
        gain: Dollars per future query that the best policy after them is expected to lose less
            than today's.
        standard_error: Monte Carlo error of `gain`.
        perfect: The same for perfect knowledge of the joint model: no labels bring more.
        perfect_standard_error: Its Monte Carlo error.
        loss: Expected loss of today's policy, in dollars per query.
        run_usd: Expected dollars for one call of each model, as each added query needs.
    """

    prices: Prices
    more: Int[np.ndarray, " m"]
    resolved: Float[np.ndarray, " m"]
    gain: Float[np.ndarray, "m p"]
    standard_error: Float[np.ndarray, "m p"]
    perfect: Float[np.ndarray, " p"]
    perfect_standard_error: Float[np.ndarray, " p"]
    loss: Float[np.ndarray, " p"]
    run_usd: float


class LabelsWorth(NamedTuple):
    """How many more labels pay best at each price.

    Attributes:
        more: The number with the greatest net gain; 0 where none pays for itself.
        net_usd: That gain, in dollars over all future queries.
        net_usd_of: Net gain of each number of `LabelValue.more`.
    """

    more: Int[np.ndarray, " p"]
    net_usd: Float[np.ndarray, " p"]
    net_usd_of: Float[np.ndarray, "m p"]


def value_of_labels(
    key: PRNGKeyArray,
    posterior: Posterior,
    prices: Prices,
    more: Sequence[int] = (50, 100, 200, 400, 800),
    *,
    chains: Chains | None = None,
    num_draws: int = 400,
    num_cells: int = 32,
    history: bool = True,
) -> LabelValue:
    """Finds what more labelled queries and perfect knowledge are expected to save.

    It is the value under the joint model: of queries like those seen, and of policies that are
    chosen as `bayes_frontier` chooses. What a wrong model makes of labels is not in it.

    Args:
        key: Draws from the prior, to tell what the prior knows from what labels have told.
        posterior: See `infer`.
        prices: As in `frontier_draws`.
        more: Numbers of labelled queries to add, increasing; on each, all models are run.
        chains: Chains to choose from; by default single models and pairs.
        num_draws: Draws of the posterior to use, at most.
        num_cells: Cells of the grid of thresholds.
        history: Whether the chance of being right depends on what the model asked before said.

    Returns:
        Gains that grow with the number of labels, from 0 to that of perfect knowledge.

    Raises:
        InvalidInputError: `more` is empty, negative, not whole or does not increase, or
            `num_draws` is below 2.
    """
    counts = _checked(more)
    if num_draws < 2:
        raise InvalidInputError(
            f"`num_draws` must be at least 2, to tell an error; got {num_draws}."
        )
    if num_draws < posterior.num_draws:
        posterior = posterior.thin(num_draws)
    prices = each_price(prices)
    grid = shared_grid(posterior, num_cells)
    resolved = _resolved(key, posterior, grid, jnp.asarray(counts, float), history)
    # Last, all of it.
    shares = jnp.sqrt(jnp.append(resolved, 1.0))
    saved, today = _savings(
        posterior, grid, prices, shares, allowed_chains(posterior, chains), history
    )
    mean, spread = (np.asarray(part) for part in (saved.mean(axis=0), saved.std(axis=0, ddof=1)))
    error = spread / np.sqrt(posterior.num_draws)
    return LabelValue(
        jax.tree.map(np.asarray, prices),
        counts,
        np.asarray(resolved),
        mean[:-1],
        error[:-1],
        mean[-1],
        error[-1],
        np.asarray(today.mean(axis=0)),
        float(posterior.sites["cost_usd"].mean(axis=0).sum()),
    )


def labels_worth(value: LabelValue, label_usd: float, num_queries: float) -> LabelsWorth:
    """Weighs what labels are expected to save on future queries against their price.

    Args:
        value: See `value_of_labels`.
        label_usd: Dollars for the label of one query; what it costs to run all models on it,
            `LabelValue.run_usd`, comes on top.
        num_queries: Future queries that the policy will answer.

    Returns:
        The best number for each price, out of those of `value.more` and 0.

    Raises:
        InvalidInputError: `label_usd` or `num_queries` is negative or not finite.

    Example:
        >>> import numpy as np
        >>> from jaxcascade.cascade import Prices
        >>> gain = np.array([[0.002], [0.003]])
        >>> nothing = np.zeros((2, 1))
        >>> value = LabelValue(
        ...     Prices(np.array([1.0])), np.array([100, 200]), np.array([0.5, 0.7]), gain, nothing,
        ...     np.array([0.005]), nothing[0], np.array([0.1]), run_usd=0.01,
        ... )
        >>> labels_worth(value, label_usd=0.1, num_queries=10_000).more.tolist()
        [100]
        >>> labels_worth(value, label_usd=0.1, num_queries=100_000).more.tolist()
        [200]
    """
    for name, number in (("label_usd", label_usd), ("num_queries", num_queries)):
        if not (np.isfinite(number) and number >= 0):
            raise InvalidInputError(f"`{name}` must be finite and at least 0; got {number!r}.")
    price = (label_usd + value.run_usd) * value.more
    net = value.gain * num_queries - price[:, None]
    counts = np.append(0, value.more)
    offered = np.concatenate([np.zeros((1, net.shape[1])), net])
    best = np.argmax(offered, axis=0)
    return LabelsWorth(counts[best], offered.max(axis=0), net)


def _checked(more: Sequence[int]) -> Int[np.ndarray, " m"]:
    counts = np.asarray(more)
    whole = counts.ndim == 1 and counts.size > 0 and np.issubdtype(counts.dtype, np.integer)
    if not whole or counts[0] < 0 or np.any(np.diff(counts) <= 0):
        raise InvalidInputError(
            "`more` must be one or more whole numbers of labels, at least 0 and increasing, such "
            f"as (50, 100, 200); got {more!r}."
        )
    return counts


@eqx.filter_jit
def _resolved(
    key: PRNGKeyArray, posterior: Posterior, grid: Grid, more: Float[Array, " m"], history: bool
) -> Float[Array, " m"]:
    """Share of the posterior variance that more labels resolve, averaged over what tables hold.

    That is how often confidences lie below each edge, how often answers in each cell are right,
    and how each pair of models depends on each other.
    """
    k = len(posterior.frame.models)
    calls = {name: posterior.sites[name] for name in ("cost_usd", "latency_s")}
    believed = prior_draws(
        key, k, posterior.priors, posterior.family, posterior.pairs, _NUM_PRIOR_DRAWS
    )

    def held(sites: Sites) -> list[Array]:
        own = cells(grid, sites)
        pairs = [sites["tau"], sites["history"]] if history else [sites["tau"]]
        return [own.levels[:, 1:-1], jax.nn.sigmoid(own.log_odds), *pairs]

    now, before = (
        [part.var(axis=0) for part in jax.lax.map(held, sites, batch_size=20)]
        for sites in ({n: v for n, v in posterior.sites.items() if n not in calls}, believed)
    )
    labelled = posterior.evidence.labelled.sum(axis=0).mean()
    return jnp.mean(
        jnp.stack(
            [
                resolved_share(more, labelled, *variances)
                for variances in zip(now, before, strict=True)
            ]
        ),
        axis=0,
    )


def resolved_share(
    more: Float[Array, " m"],
    labelled: Float[Array, ""] | float,
    posterior_variance: Float[Array, "*rest"],
    prior_variance: Float[Array, "*rest"],
) -> Float[Array, " m"]:
    """Returns the mean share of posterior variances that more labels are expected to resolve.

    What is known is worth n / (1 - r) labels, where n labels have left a share r of the prior's
    variance; for a normal mean this is exact, and for a share with a beta prior nearly so. Of m
    labels on top of N, m / (m + N) of the variance goes.

    Args:
        more: Labels to add.
        labelled: Labels that the posterior has seen.
        posterior_variance: Of one or several unknowns.
        prior_variance: Of the same; where it is zero there is nothing to learn.
    """
    unknown = prior_variance > 0
    left = posterior_variance / jnp.where(unknown, prior_variance, 1.0)
    worth = labelled / jnp.clip(1.0 - left, _LEAST_LEARNT, 1.0)
    share = more[:, None] / (more[:, None] + worth.ravel())
    counts = unknown.ravel() & (posterior_variance.ravel() > 0)
    return jnp.sum(jnp.where(counts, share, 0.0), axis=1) / jnp.maximum(counts.sum(), 1)


@eqx.filter_jit
def _savings(
    posterior: Posterior,
    grid: Grid,
    prices: Prices,
    shares: Float[Array, " m"],
    chains: Chains,
    history: bool,
) -> tuple[Float[Array, "d m p"], Float[Array, "d p"]]:
    """What knowing more saves, for each draw moved to a share of its distance from the mean.

    Returns:
        By how much today's policy loses more than the best one, under each moved draw; and what
        today's loses under each draw itself.
    """
    mean = mean_tables(posterior, grid, history)
    calls = {name: posterior.sites[name].mean(axis=0) for name in ("cost_usd", "latency_s")}

    def best(tables: ThresholdTables, calls: Sites):
        # At one price of a second, as in `frontier_draws`.
        asking, error, _ = call_prices(calls["cost_usd"], calls["latency_s"], prices)
        return best_thresholds(choosy(tables), asking[:, 0], error, chains).policies

    today = best(mean, calls)

    def one(sites: Sites) -> tuple[Array, Array]:
        own = draw_tables(posterior, grid, sites, history)

        def moved(share: Array) -> tuple[Array, Array]:
            tables = between(mean, own, share)
            paid = {name: calls[name] + share * (sites[name] - calls[name]) for name in calls}
            model = at_cost(grid.model, paid)
            old, new = (
                loss(tabled_outcomes(model, tables, policies), prices)
                for policies in (today, best(tables, paid))
            )
            return old - new, old

        saved, lost = jax.lax.map(moved, shares)
        return saved, lost[-1]

    return jax.lax.map(one, posterior.sites)


def between(
    mean: ThresholdTables, draw: ThresholdTables, share: Float[Array, ""] | float
) -> ThresholdTables:
    """Mixes the joint probabilities of two tables on the same edges.

    Args:
        mean: Returned at share 0.
        draw: Returned at share 1.
        share: In [0, 1].
    """
    mixed = jax.tree.map(lambda a, b: a + share * (b - a), mean, draw)
    # Of the queries up to an edge, those that follow the draw.
    part = share * draw.levels / jnp.where(mixed.levels > 0, mixed.levels, 1.0)
    part = part[:, None, :, None]
    return mixed._replace(
        edges=mean.edges,
        levels_given=mean.levels_given + part * (draw.levels_given - mean.levels_given),
        wrong_given=mean.wrong_given + part * (draw.wrong_given - mean.wrong_given),
    )

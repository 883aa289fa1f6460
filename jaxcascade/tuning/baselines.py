"""What a careful engineer would do by hand: competitors, each written once.

All go from a fitted model, its records and prices to one policy per price, as `choose_policies`
does. Those that only count read no more of the model than its calibration. None abstains.
"""

import abc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Array, Float, Int

from jaxcascade.cascade import (
    CascadeModel,
    Observations,
    Policy,
    Prices,
    replayed_outcomes,
    stack_policies,
)
from jaxcascade.errors import InvalidInputError, RecordsError
from jaxcascade.tuning.candidates import Method
from jaxcascade.tuning.choose import choose_policies
from jaxcascade.tuning.prices import break_even_prices

_MOST_MODELS = 5
_BLOCK = 2048
# What rounding leaves between two candidates that do the same to every query.
_SAME = 1e-12


class Baseline(Protocol):
    """A competitor."""

    def policies(
        self,
        model: CascadeModel,
        data: Observations,
        weight: Float[Array, " n"],
        prices: Prices,
    ) -> tuple[Policy, ...]:
        """Chooses a policy for each price.

        Args:
            model: Fitted joint model over `k` models.
            data: The records' cells, models in the model's order.
            weight: Weight of each query; 0 leaves it out.
            prices: One-dimensional arrays of one length; seconds have one price.

        Raises:
            InvalidInputError: Seconds have several prices, or there are too many models.
            RecordsError: No query with weight has what the competitor counts.
        """
        ...


class Front(NamedTuple):
    """Policies of which none is both cheaper and more accurate than another, by cost.

    Attributes:
        policies: Cheapest first.
        cost_usd: Dollars per query in training, seconds priced in; increasing.
        error: Share of wrong answers in training; decreasing.
    """

    policies: tuple[Policy, ...]
    cost_usd: Float[np.ndarray, " f"]
    error: Float[np.ndarray, " f"]

    def best(self, prices: Prices) -> tuple[Policy, ...]:
        """Returns the policy with the least training loss at each price of an error."""
        error = np.atleast_1d(np.asarray(prices.error))
        losses = self.cost_usd + error[:, None] * self.error
        return tuple(self.policies[at] for at in np.argmin(losses, axis=1))


class Mixture(NamedTuple):
    """Two policies, one of which is drawn for every query.

    Attributes:
        cheap: Followed otherwise.
        dear: Followed with probability `share`.
        share: In [0, 1].
    """

    cheap: Policy
    dear: Policy
    share: float


@dataclass(frozen=True)
class Chosen:
    """The choice that a method of this package makes; `BEST_SINGLE` and others are competitors.

    Attributes:
        method: Where candidates come from and how they are judged.
    """

    method: Method

    def policies(
        self,
        model: CascadeModel,
        data: Observations,
        weight: Float[Array, " n"],
        prices: Prices,
    ) -> tuple[Policy, ...]:
        return choose_policies(model, data, weight, prices, self.method).policies


class _ByFront(abc.ABC):
    """A competitor that takes the best of one front at every price."""

    @abc.abstractmethod
    def front(
        self,
        model: CascadeModel,
        data: Observations,
        weight: Float[Array, " n"],
        latency_price: float = 0.0,
    ) -> Front:
        """Returns what is worth choosing from in training."""

    def policies(
        self,
        model: CascadeModel,
        data: Observations,
        weight: Float[Array, " n"],
        prices: Prices,
    ) -> tuple[Policy, ...]:
        return self.front(model, data, weight, _latency_price(prices)).best(prices)


@dataclass(frozen=True)
class SingleMixtures(_ByFront):
    """Random mixtures of two single models: the lower convex hull of their (cost, error) points.

    A mixture's loss is linear in its probability, so at a fixed price one of the two is at least
    as good, and `policies` returns single models. Mixtures count where a budget falls between
    two models, and so on the error-cost curve, which they make convex.
    """

    def front(
        self,
        model: CascadeModel,
        data: Observations,
        weight: Float[Array, " n"],
        latency_price: float = 0.0,
    ) -> Front:
        """Returns the single models on the hull; straight lines join them.

        Args:
            model: Fitted joint model over `k` models.
            data: The records' cells.
            weight: Weight of each query.
            latency_price: Dollars per second.
        """
        singles = [Policy.single(name) for name in model.models]
        counted = replayed_outcomes(
            stack_policies(singles, model.models),
            model.calibrate(data.log_confidence),
            data,
            weight,
        )
        seconds = np.asarray(counted.latency_s) if latency_price > 0 else 0.0
        cost, error = np.asarray(counted.cost_usd) + latency_price * seconds, counted.error
        error = np.asarray(error)
        steps = break_even_prices(cost, error)
        hull = [int(np.lexsort((error, cost))[0]), *(above for _, _, above in steps)]
        return Front(tuple(singles[j] for j in hull), cost[hull], error[hull])

    def within(self, front: Front, budget_usd: float) -> Mixture:
        """Returns the mixture of neighbours on the hull that spends a budget on average.

        Args:
            front: See `front`.
            budget_usd: Dollars per query; above the dearest model's, that model alone.

        Raises:
            InvalidInputError: The cheapest model is beyond the budget.
        """
        cost = front.cost_usd
        if not budget_usd >= cost[0]:
            raise InvalidInputError(
                f"`budget_usd` must cover the cheapest model, {cost[0]:.6g} dollars per query; got "
                f"{budget_usd:.6g}."
            )
        place = float(np.interp(budget_usd, cost, np.arange(cost.size)))
        below, above = int(np.floor(place)), int(np.ceil(place))
        return Mixture(front.policies[below], front.policies[above], place - below)


@dataclass(frozen=True)
class GridSearch(_ByFront):
    """All thresholds of the full chain at quantiles in even steps; its Pareto front is kept.

    The prefixes of a candidate, all thresholds but the last, say which queries are still open;
    the last threshold is then one matrix product for all its values. Time is g^(k-1) n products
    for g steps, 2.56 million candidates for five models; memory is bounded by blocks.

    Attributes:
        step: Distance of the quantiles, in (0, 1).

    References:
        Zellinger and Thomson (2025), arXiv:2501.09345: the grid search they compare with.
    """

    step: float = 0.025

    def front(
        self,
        model: CascadeModel,
        data: Observations,
        weight: Float[Array, " n"],
        latency_price: float = 0.0,
    ) -> Front:
        """Returns the candidates that no other dominates in training.

        Args:
            model: Fitted joint model over 2 to 5 models.
            data: The records' cells; queries that lack any are left out.
            weight: Weight of each query.
            latency_price: Dollars per second.

        Raises:
            InvalidInputError: Too few or too many models, or a step outside (0, 1).
            RecordsError: No query with weight was put to all models and labelled.
        """
        k = len(model.models)
        if not 2 <= k <= _MOST_MODELS:
            raise InvalidInputError(
                f"`model` must have 2 to {_MOST_MODELS} models for a grid search; it has {k}. Each "
                "model multiplies the time by the number of quantiles; select fewer."
            )
        if not 0 < self.step < 1:
            raise InvalidInputError(f"`step` must lie in (0, 1); got {self.step}.")
        cells = _complete_cells(model, data, weight, latency_price)
        grid = np.quantile(cells.confidence[:, :-1], np.arange(0.0, 1.0, self.step), axis=0).T
        found = _search(cells, grid)
        places = np.unravel_index(found.candidate, grid.shape[1:] * (k - 1))
        thresholds = grid[np.arange(k - 1), np.stack(places, axis=1)]
        policies = tuple(Policy.threshold_cascade(model.models, row) for row in thresholds)
        return Front(policies, found.cost, found.error)


@dataclass(frozen=True)
class BayesianOptimisation:
    """Thresholds of the full chain by a model of the training loss, price by price.

    Optuna's tree-structured Parzen estimator over the quantiles of the training confidences.

    Attributes:
        seed: Of the first price; later ones count up from it.
        num_trials: Evaluations of the training loss per price.
    """

    seed: int
    num_trials: int = 50

    def policies(
        self,
        model: CascadeModel,
        data: Observations,
        weight: Float[Array, " n"],
        prices: Prices,
    ) -> tuple[Policy, ...]:
        cells = _complete_cells(model, data, weight, _latency_price(prices))
        num_thresholds = len(model.models) - 1
        chosen = []
        for p, price in enumerate(np.atleast_1d(np.asarray(prices.error))):

            def thresholds(levels: Float[np.ndarray, " j"]) -> list[float]:
                columns = cells.confidence.T
                return [float(np.quantile(c, u)) for c, u in zip(columns, levels, strict=False)]

            def loss(levels: Float[np.ndarray, " j"], price: float = price) -> float:
                return _chain_loss(cells, np.array(thresholds(levels)), price)

            best = bayesian_minimum(loss, num_thresholds, self.num_trials, self.seed + p)
            chosen.append(Policy.threshold_cascade(model.models, thresholds(best)))
        return tuple(chosen)


def bayesian_minimum(
    objective: Callable[[Float[np.ndarray, " j"]], float],
    num_dimensions: int,
    num_trials: int,
    seed: int,
) -> Float[np.ndarray, " j"]:
    """Returns the best point of the unit cube that Optuna's default sampler comes across.

    Args:
        objective: From a point of the cube to a number.
        num_dimensions: Of the cube.
        num_trials: Evaluations of the objective.
        seed: Of the sampler.

    Raises:
        ImportError: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ImportError(
            "Bayesian optimisation needs Optuna, which is not installed: "
            "`pip install 'jaxcascade[bench]'` or `pip install optuna`."
        ) from error
    names = [str(i) for i in range(num_dimensions)]
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
        study.optimize(
            lambda trial: objective(np.array([trial.suggest_float(x, 0.0, 1.0) for x in names])),
            n_trials=num_trials,
        )
    finally:
        optuna.logging.set_verbosity(verbosity)
    return np.array([study.best_params[x] for x in names])


class _Cells(NamedTuple):
    """Queries that every model was asked and that are labelled for all.

    Attributes:
        confidence: Calibrated.
        spend: Dollars per call, seconds priced in.
        wrong: 0 or 1.
        share: Weights that sum to one.
    """

    confidence: Float[np.ndarray, "n k"]
    spend: Float[np.ndarray, "n k"]
    wrong: Float[np.ndarray, "n k"]
    share: Float[np.ndarray, " n"]


class _Prefixes(NamedTuple):
    """The first thresholds of candidates, by number, and what they bring.

    Attributes:
        number: Digits to the base g are positions in the grid.
        cost: Spent on the models that these thresholds belong to.
        error: Wrong answers accepted from them.
        going: Weights of the queries that are still open.
    """

    number: Int[np.ndarray, " f"]
    cost: Float[np.ndarray, " f"]
    error: Float[np.ndarray, " f"]
    going: Float[np.ndarray, "f n"]


class _Found(NamedTuple):
    """Candidates by number, whose digits to the base g are positions in the grid."""

    candidate: Int[np.ndarray, " f"]
    cost: Float[np.ndarray, " f"]
    error: Float[np.ndarray, " f"]


def _complete_cells(
    model: CascadeModel, data: Observations, weight: Array, latency_price: float
) -> _Cells:
    spend = np.asarray(data.cost_usd)
    if latency_price > 0:
        spend = spend + latency_price * np.asarray(data.latency_s)
    confidence = np.asarray(model.calibrate(data.log_confidence))
    correct, weights = np.asarray(data.correct), np.asarray(weight)
    kept = (weights > 0) & ~np.isnan(confidence + correct + spend).any(axis=1)
    if not kept.any():
        raise RecordsError(
            "Counting thresholds of a chain needs queries that all of its "
            f"{len(model.models)} models were asked and are labelled for; there is none."
        )
    share = weights[kept] / weights[kept].sum()
    return _Cells(confidence[kept], spend[kept], 1.0 - correct[kept], share)


def _latency_price(prices: Prices) -> float:
    latency = np.unique(np.asarray(prices.latency))
    if latency.size != 1:
        raise InvalidInputError(
            "`prices.latency` must be the same at every price of an error for this competitor; "
            f"got {latency.size} different ones."
        )
    return float(latency[0])


def _chain_loss(cells: _Cells, thresholds: Float[np.ndarray, " j"], price: float) -> float:
    """Training loss of one threshold cascade."""
    going, total = cells.share, 0.0
    for i, threshold in enumerate([*thresholds, -np.inf]):
        passing = going * (cells.confidence[:, i] <= threshold)
        total += going @ cells.spend[:, i] + price * ((going - passing) @ cells.wrong[:, i])
        going = passing
    return float(total)


def _search(cells: _Cells, grid: Float[np.ndarray, "j g"]) -> _Found:
    """Counts every candidate, a block of prefixes at a time, and keeps the Pareto front."""
    j, g = grid.shape
    passes = (cells.confidence[:, :-1].T[:, None, :] <= grid[:, :, None]).astype(float)
    first = _Prefixes(np.zeros(1, int), np.zeros(1), np.zeros(1), cells.share[None])
    front = _Found(np.zeros(0, int), np.zeros(0), np.zeros(0))
    for block in _blocks(cells, passes, first, 0):
        # What the last threshold adds: a query that passes costs one call more, and trades one
        # answer for another.
        further = block.going * cells.spend[:, -1]
        traded = block.going * (cells.wrong[:, -1] - cells.wrong[:, -2])
        cost = block.cost + block.going @ cells.spend[:, -2]
        error = block.error + block.going @ cells.wrong[:, -2]
        found = _Found(
            block.number[:, None] * g + np.arange(g),
            cost[:, None] + further @ passes[j - 1].T,
            error[:, None] + traded @ passes[j - 1].T,
        )
        front = _merged(front, _Found(*(x.reshape(-1) for x in found)))
    return front


def _blocks(
    cells: _Cells, passes: Float[np.ndarray, "j g n"], known: _Prefixes, at: int
) -> Iterator[_Prefixes]:
    """Extends prefixes by all thresholds from model `at` on but the last, in bounded blocks."""
    j, g, n = passes.shape
    if at == j - 1:
        yield known
        return
    rows = max(1, _BLOCK // g)
    for begin in range(0, known.number.size, rows):
        number, cost, error, going = (x[begin : begin + rows] for x in known)
        missed = (going * cells.wrong[:, at]) @ (1.0 - passes[at]).T
        extended = _Prefixes(
            (number[:, None] * g + np.arange(g)).reshape(-1),
            np.repeat(cost + going @ cells.spend[:, at], g),
            (error[:, None] + missed).reshape(-1),
            (going[:, None] * passes[at]).reshape(-1, n),
        )
        yield from _blocks(cells, passes, extended, at + 1)


def _merged(front: _Found, found: _Found) -> _Found:
    """Pareto front of a front and further candidates."""
    # Nearly all candidates fall to the front so far, which is cheaper to see than to sort them.
    known = np.r_[np.inf, front.error][np.searchsorted(front.cost, found.cost, side="right")]
    better = found.error < known - _SAME
    both = _Found(*(np.r_[x, y[better]] for x, y in zip(front, found, strict=True)))
    order = np.lexsort((both.error, both.cost))
    error = both.error[order]
    least = np.minimum.accumulate(np.r_[np.inf, error])[:-1]
    return _Found(*(x[order[error < least - _SAME]] for x in both))

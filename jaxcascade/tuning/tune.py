"""The main job: from records to a frontier with a cross-validated verdict."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxcascade.calibration import Calibration
from jaxcascade.cascade import (
    CascadeFit,
    Observations,
    Outcome,
    Policy,
    Prices,
    fit_weighted,
    in_cost_order,
    observations,
    replay,
    stack_policies,
)
from jaxcascade.copulas import Copula, Gumbel
from jaxcascade.errors import InvalidInputError, RecordsError
from jaxcascade.marginals import MarginalMethod
from jaxcascade.records import Records, folds
from jaxcascade.tuning.candidates import BEST_OF_ALL, WITH_ABSTENTION, Method
from jaxcascade.tuning.choose import Choice, choose_policies, query_losses
from jaxcascade.tuning.frontier import Frontier, HeldOut, Point
from jaxcascade.tuning.paired import paired
from jaxcascade.tuning.prices import price_grid
from jaxcascade.tuning.reference import Reference, confidence_reference

FEWEST_QUERIES = 10
_NUM_FOLDS = 5
# Sets the draw of the reference apart from that of the folds, whose key is the caller's own.
_OF_REFERENCE = 2


class Tuned(NamedTuple):
    """A frontier and the fit that it rests on."""

    frontier: Frontier
    fit: CascadeFit


def tune(
    key: PRNGKeyArray,
    records: Records,
    *,
    error_prices: Float[np.ndarray, " p"] | None = None,
    num_prices: int = 60,
    latency_price: float = 0.0,
    abstention_price: float = float("inf"),
    method: Method | None = None,
    calibration: Calibration | None = None,
    marginal: MarginalMethod | None = None,
    copula: type[Copula] = Gumbel,
    progress: Callable[[str], None] = lambda step: None,
) -> Tuned:
    """Fits the joint model and recommends a policy at every price of an error.

    Args:
        key: Splits the queries into folds for the held-out verdict, and picks the training
            confidences that the frontier keeps where there are many.
        records: Labelled runs of at least two models on at least ten queries.
        error_prices: Dollars per accepted wrong answer, above 0 and increasing; by default a
            geometric grid that spans the break-even prices between single models.
        num_prices: Length of the default grid.
        latency_price: Dollars per second.
        abstention_price: Dollars per query handed to a person; infinite rules it out.
        method: Where candidate policies come from and how they are judged; by default
            `BEST_OF_ALL`, or `WITH_ABSTENTION` where queries may be given up.
        calibration: How raw confidence becomes a probability.
        marginal: How the law of that probability is fitted.
        copula: Family of the dependence between two models.
        progress: Called with a word on each step.

    Returns:
        The frontier and the fit.

    Raises:
        InvalidInputError: A price is not positive, or seconds are priced but not recorded.
        RecordsError: Too few queries or models, or a model without labels.
        PrecisionError: JAX runs in single precision.
    """
    _check_request(records, num_prices, latency_price, abstention_price)
    if method is None:
        method = WITH_ABSTENTION if np.isfinite(abstention_price) else BEST_OF_ALL
    records = in_cost_order(records)
    _check_labels(records)
    data = observations(records)
    settings = (records.models, calibration, marginal, copula)
    progress("fitting the joint model")
    everything = jnp.asarray(np.ones(records.num_queries))
    fit = fit_weighted(data, everything, *settings)
    prices = Prices(
        _error_prices(records, error_prices, num_prices, latency_price),
        latency_price,
        abstention_price,
    )
    progress("choosing policies")
    choice = choose_policies(fit.model, data, everything, prices, method)

    def refit(weight: Float[Array, " n"]) -> tuple[CascadeFit, Choice]:
        fit = fit_weighted(data, weight, *settings)
        return fit, choose_policies(fit.model, data, weight, prices, method)

    held_out = _held_out(key, records, data, prices, refit, progress)
    reference = confidence_reference(jax.random.fold_in(key, _OF_REFERENCE), records)
    return Tuned(_frontier(records, fit, prices, choice, held_out, reference), fit)


def _held_out(
    key: PRNGKeyArray,
    records: Records,
    data: Observations,
    prices: Prices,
    refit: Callable[[Float[Array, " n"]], tuple[CascadeFit, Choice]],
    progress: Callable[[str], None],
) -> HeldOut | None:
    """Judges every query by what was chosen without its fold."""
    fold = folds(key, records, _NUM_FOLDS)
    labelled = records.asked & records.labelled
    if not all(labelled[fold != f].any(axis=0).all() for f in range(_NUM_FOLDS)):
        return None
    count = np.size(prices.error)
    policy_loss = np.full((count, records.num_queries), np.nan)
    single_loss = policy_loss.copy()
    for number in range(_NUM_FOLDS):
        progress(f"checking on held-out queries, part {number + 1} of {_NUM_FOLDS}")
        kept, held = fold != number, fold == number
        fit, choice = refit(jnp.asarray(kept.astype(float)))
        confidence = fit.model.calibrate(data.log_confidence)
        singles = [Policy.single(records.models[j]) for j in choice.best_single]
        for losses, policies in ((policy_loss, choice.policies), (single_loss, singles)):
            arrays = stack_policies(policies, records.models)
            outcome = replay(arrays, confidence, data)
            losses[:, held] = np.asarray(query_losses(outcome, prices))[:, held]
    found = paired(policy_loss, single_loss)
    if np.any(found.num_queries < 2):
        return None
    # What is chosen without one fold depends on which queries that was. Queries alone would make
    # the error a third too small (Nadeau and Bengio 2003, Inference for the generalization error).
    inflation = float(np.sqrt(1.0 + _NUM_FOLDS / (_NUM_FOLDS - 1)))
    return HeldOut(
        found.policy_loss,
        found.single_loss,
        inflation * found.gain_standard_error,
        inflation * found.log_ratio_standard_error,
    )


def _frontier(
    records: Records,
    fit: CascadeFit,
    prices: Prices,
    choice: Choice,
    held_out: HeldOut | None,
    reference: Reference,
) -> Frontier:
    def row(outcome: Outcome, at: int) -> Outcome:
        return Outcome(*(np.asarray(part)[at] for part in outcome))

    points = tuple(
        Point(
            Prices(float(error), float(prices.latency), float(prices.abstention)),
            choice.policies[p],
            choice.kinds[p],
            row(choice.expected, p),
            row(choice.training, p),
            records.models[int(choice.best_single[p])],
        )
        for p, error in enumerate(np.asarray(prices.error))
    )
    model = fit.model
    return Frontier(
        records.models,
        np.asarray(model.cost_usd),
        np.asarray(model.latency_s),
        model.calibrator,
        points,
        held_out,
        reference=reference,
    )


def _error_prices(
    records: Records, given: Float[np.ndarray, " p"] | None, count: int, latency_price: float
) -> Float[np.ndarray, " p"]:
    if given is not None:
        given = np.asarray(given, float)
        usable = given.ndim == 1 and given.size > 0 and np.all(np.isfinite(given) & (given > 0))
        if not usable or np.any(np.diff(given) < 0):
            raise InvalidInputError(
                "`error_prices` must be a non-empty, increasing list of finite prices above 0 "
                f"dollars; got {given.tolist()}."
            )
        return given
    cost = np.nanmean(records.cost_usd, axis=0)
    if latency_price > 0 and records.latency_s is not None:
        cost = cost + latency_price * np.nanmean(records.latency_s, axis=0)
    return price_grid(cost, 1.0 - np.nanmean(records.correct, axis=0), count)


def _check_request(
    records: Records, num_prices: int, latency_price: float, abstention_price: float
) -> None:
    if records.num_models < 2 and not np.isfinite(abstention_price):
        raise RecordsError(
            f"`model` must have at least two values to choose between; the records have only "
            f'"{records.models[0]}". Record another model, or give a price of abstention to tune '
            "when to hand a query to a person."
        )
    if num_prices < 1:
        raise InvalidInputError(f"`num_prices` must be at least 1; got {num_prices}.")
    for name, price in (("latency_price", latency_price), ("abstention_price", abstention_price)):
        if not price >= 0:
            raise InvalidInputError(f"`{name}` must be at least 0 dollars; got {price}.")
    latency = records.latency_s
    if latency_price > 0 and (latency is None or np.isnan(latency[records.asked]).any()):
        raise InvalidInputError(
            "`latency_price` needs the seconds of every call, but `latency_s` is missing from the "
            "records or from some of their rows. Record it, or leave the price of latency at 0."
        )


def _check_labels(records: Records) -> None:
    usable = int((records.asked & records.labelled).any(axis=1).sum())
    if usable < FEWEST_QUERIES:
        raise RecordsError(
            f"Tuning needs at least {FEWEST_QUERIES} labelled queries; the records have {usable}."
        )

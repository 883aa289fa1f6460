"""From records to a joint model: calibration, marginals, then copulas of all pairs."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcascade.calibration import Calibration, LogisticCalibration
from jaxcascade.cascade.model import CascadeModel, calibrate
from jaxcascade.copulas import (
    CensoredPairs,
    Copula,
    CopulaFit,
    CopulaMethod,
    Gumbel,
    fit_by_likelihood,
)
from jaxcascade.errors import PrecisionError, RecordsError
from jaxcascade.marginals import BetaMixtureMethod, Marginal, MarginalMethod
from jaxcascade.records import Records, require_labels

RESERVED_NAMES = ("accept", "abstain")


class Observations(NamedTuple):
    """What a fit sees of the records, as arrays; NaN where there is no cell or no label."""

    log_confidence: Float[Array, "n k"]
    correct: Float[Array, "n k"]
    cost_usd: Float[Array, "n k"]
    latency_s: Float[Array, "n k"]


class CascadeFit(NamedTuple):
    """A fitted joint model and its story.

    Attributes:
        model: The joint model.
        marginal_log_likelihood: Per model.
        marginal_steps: Steps of the fit, the most among its best starts.
        copula_log_likelihood: Per pair at [i, j]; 0 on the diagonal.
    """

    model: CascadeModel
    marginal_log_likelihood: Float[Array, "*batch k"]
    marginal_steps: Int[Array, "*batch k"]
    copula_log_likelihood: Float[Array, "*batch k k"]


def fit_cascade(
    records: Records,
    *,
    calibration: Calibration | None = None,
    marginal: MarginalMethod | None = None,
    copula: type[Copula] = Gumbel,
    copula_method: CopulaMethod = fit_by_likelihood,
) -> CascadeFit:
    """Fits calibrators, marginals and the copulas of all pairs.

    Models are put in the order of their mean cost, the cheapest first.

    Args:
        records: Labelled runs of `k` models on `n` queries; cells may be missing.
        calibration: How raw confidence becomes a probability.
        marginal: How the law of that probability is fitted.
        copula: Family of the dependence between two models.
        copula_method: How its member is found, `fit_by_likelihood` or `fit_by_tau`.

    Returns:
        The joint model with the log-likelihoods and steps of its parts.

    Raises:
        PrecisionError: JAX runs in single precision.
        RecordsError: A model has no labelled answer, or a name that a policy reserves.

    References:
        Zellinger and Thomson (2025), arXiv:2501.09345, sections 3.1 to 3.3.
    """
    records = in_cost_order(records)
    weight = jnp.ones(records.num_queries)
    return fit_weighted(
        observations(records), weight, records.models, calibration, marginal, copula, copula_method
    )


def in_cost_order(records: Records) -> Records:
    """Checks that records can be fitted and puts their models in the order of mean cost."""
    require_double_precision()
    require_labels(records)
    reserved = [name for name in records.models if name in RESERVED_NAMES]
    if reserved:
        raise RecordsError(
            f'`model` must not be "accept" or "abstain", the names of a policy\'s actions; found '
            f'"{reserved[0]}". Rename the model.'
        )
    order = np.argsort(np.nanmean(records.cost_usd, axis=0), kind="stable")
    return records.select([records.models[i] for i in order])


def require_double_precision() -> None:
    """Raises unless JAX is in double precision."""
    if not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        raise PrecisionError(
            "Fitting needs double precision: beta distribution functions are off by up to 5e-4 in "
            'float32. Call jax.config.update("jax_enable_x64", True) before the first JAX array.'
        )


def observations(records: Records) -> Observations:
    """Returns the records' arrays for a fit; latency is NaN where none was recorded."""
    latency = records.latency_s
    if latency is None:
        latency = np.full_like(records.cost_usd, np.nan)
    cells = (records.log_confidence, records.correct, records.cost_usd, latency)
    return Observations(*(jnp.asarray(cell) for cell in cells))


@eqx.filter_jit
def fit_weighted(
    data: Observations,
    weight: Float[Array, " n"],
    models: tuple[str, ...],
    calibration: Calibration | None = None,
    marginal: MarginalMethod | None = None,
    copula: type[Copula] = Gumbel,
    copula_method: CopulaMethod = fit_by_likelihood,
) -> CascadeFit:
    """Fits with one weight per query: 0 leaves a query out, so that folds share one compilation.

    Args:
        data: Models in the order in which policies may ask them.
        weight: At least 0, not all zero for any model.
        models: Names of the columns.
        calibration: See `fit_cascade`.
        marginal: See `fit_cascade`.
        copula: See `fit_cascade`.
        copula_method: See `fit_cascade`.
    """
    calibration = LogisticCalibration() if calibration is None else calibration
    marginal = BetaMixtureMethod() if marginal is None else marginal
    asked = weight[:, None] * ~jnp.isnan(data.log_confidence)
    labelled = asked * ~jnp.isnan(data.correct)
    log_confidence = jnp.where(jnp.isnan(data.log_confidence), 0.0, data.log_confidence)
    columns = (log_confidence.T, jnp.nan_to_num(data.correct).T, labelled.T)
    calibrators = jax.vmap(calibration.fit)(*columns)
    confidence = calibrate(calibrators, log_confidence)
    marginals = jax.vmap(marginal.fit, in_axes=1)(confidence, asked)
    pairs = _fit_pairs(marginals.marginal, confidence, asked, copula, copula_method)
    model = CascadeModel(
        models,
        _weighted_mean(data.cost_usd, asked),
        _weighted_mean(data.latency_s, asked),
        calibrators,
        marginals.marginal,
        pairs.copula,
    )
    return CascadeFit(model, marginals.log_likelihood, marginals.num_steps, pairs.log_likelihood)


def transforms(
    marginal: Marginal, confidence: Float[Array, "n k"]
) -> tuple[Float[Array, "n k"], Float[Array, "n k"]]:
    """Returns F(x-) and F(x) per column: equal off the atoms, their jump on them."""
    left = jax.vmap(lambda law, x: law.cdf_left(x), (0, 1), 1)(marginal, confidence)
    # Off the atoms both limits agree, so one evaluation of the beta function serves both.
    right = jnp.where(confidence >= marginal.high, 1.0, left)
    right = jnp.where(confidence == marginal.low, marginal.atom_low, right)
    return left, jnp.where(marginal.low == marginal.high, 1.0, right)


def _fit_pairs(
    marginal: Marginal,
    confidence: Float[Array, "n k"],
    asked: Float[Array, "n k"],
    family: type[Copula],
    method: CopulaMethod,
) -> CopulaFit:
    """Fits the copula of every pair i < j and lays them out as a symmetric matrix."""
    k = confidence.shape[1]
    left, right = transforms(marginal, confidence)
    first, second = np.triu_indices(k, 1)

    def fit_pair(pair: tuple[Array, Array]) -> CopulaFit:
        i, j = pair
        weight = asked[:, i] * asked[:, j]
        data = CensoredPairs(left[:, i], right[:, i], left[:, j], right[:, j], weight)
        return method(family, data)

    # Not vmap: golden sections of one pair fit the cache, all pairs at once do not.
    fits = jax.lax.map(fit_pair, (jnp.asarray(first), jnp.asarray(second)))
    blank = CopulaFit(family.from_tau(jnp.zeros((k, k))), jnp.zeros((k, k)))

    def lay_out(matrix: Array, values: Array) -> Array:
        return matrix.at[first, second].set(values).at[second, first].set(values)

    return jax.tree.map(lay_out, blank, fits)


def _weighted_mean(values: Float[Array, "n k"], weight: Float[Array, "n k"]) -> Float[Array, " k"]:
    known = weight * ~jnp.isnan(values)
    return jnp.sum(jnp.nan_to_num(values) * known, axis=0) / known.sum(axis=0)

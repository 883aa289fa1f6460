"""What the model would record, before and after it has seen data, beside what was recorded.

Numbers only, for plots and checks: how often confidences fall where, how they go together, and
how often answers are right at each confidence.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxcascade.copulas import Copula
from jaxcascade.numerics import kendall_tau
from jaxcascade.posterior.evidence import Evidence, Frame
from jaxcascade.posterior.frontiers import Band, pointwise_band
from jaxcascade.posterior.model import PairResiduals, Sites, pair_signals
from jaxcascade.posterior.posterior import Posterior
from jaxcascade.posterior.simulate import prior_draws, simulate

# What `simulate` reads: one program then serves prior and posterior.
_READ = (
    *("intercept", "slope", "atoms", "weight", "low_center", "gap", "concentration"),
    *("tau", "history"),
)
_BATCH = 20
_NEAR = 0.01


def posterior_predictive(key: PRNGKeyArray, posterior: Posterior, num_draws: int = 100) -> Evidence:
    """Draws data sets that the posterior expects: as many new queries as it was learnt from.

    Args:
        key: Draws.
        posterior: See `infer`.
        num_draws: Data sets to draw, each from a draw of the posterior of its own.

    Returns:
        Labelled runs of all models, with a leading axis of data sets; no dollars, no seconds.

    Raises:
        InvalidInputError: The posterior has fewer draws.
    """
    return replicates(key, posterior, posterior.thin(num_draws).sites)


def prior_predictive(key: PRNGKeyArray, posterior: Posterior, num_draws: int = 100) -> Evidence:
    """Draws data sets that were expected before any data, on the posterior's own scale.

    The scale of the signals is the one thing taken from the records: priors are stated in
    standard deviations of the signals.

    Args:
        key: Draws.
        posterior: Whose priors, models and number of queries to take.
        num_draws: Data sets to draw.

    Returns:
        As `posterior_predictive`.
    """
    of_sites, of_data = jax.random.split(key)
    return replicates(of_data, posterior, prior_sites(of_sites, posterior, num_draws))


def prior_sites(key: PRNGKeyArray, posterior: Posterior, num_draws: int) -> Sites:
    """Draws the sites of a posterior from its priors; see `prior_draws`."""
    k = len(posterior.frame.models)
    return prior_draws(key, k, posterior.priors, posterior.family, posterior.pairs, num_draws)


def replicates(key: PRNGKeyArray, posterior: Posterior, sites: Sites) -> Evidence:
    """Draws a data set from each of some draws; see `posterior_predictive`."""
    return _simulated(
        key,
        posterior.frame,
        {name: sites[name] for name in _READ},
        posterior.evidence.signal.shape[0],
        posterior.family,
        posterior.pairs,
        posterior.residuals,
    )


@eqx.filter_jit
def _simulated(
    key: PRNGKeyArray,
    frame: Frame,
    sites: Sites,
    num_queries: int,
    family: type[Copula],
    pairs: tuple[tuple[int, int], ...],
    residuals: PairResiduals,
) -> Evidence:
    def one(draw: tuple[Array, Sites]) -> Evidence:
        key, sites = draw
        return simulate(key, frame, sites, num_queries, family, pairs, residuals=residuals)

    keys = jax.random.split(key, sites["slope"].shape[0])
    return jax.lax.map(one, (keys, sites), batch_size=_BATCH)


class Traits(NamedTuple):
    """What a data set looks like on the scale of confidences, model by model.

    Attributes:
        accuracy: Share of right answers.
        confidence: Mean reference confidence.
        at_low: Share of confidences at the lowest there is.
        at_high: Share at the highest.
        near_ends: Share of those between that are within a hundredth of the support of its ends:
            mass that piles up there wants to be a point mass.
    """

    accuracy: Float[Array, "*d k"]
    confidence: Float[Array, "*d k"]
    at_low: Float[Array, "*d k"]
    at_high: Float[Array, "*d k"]
    near_ends: Float[Array, "*d k"]


def traits(frame: Frame, evidence: Evidence) -> Traits:
    """Measures data sets, recorded or drawn.

    Args:
        frame: Of the evidence.
        evidence: With any leading axes.
    """
    inside = evidence.asked * evidence.inside
    near = (evidence.place < _NEAR) | (evidence.place > 1.0 - _NEAR)
    return Traits(
        _mean(evidence.correct, evidence.labelled),
        _mean(frame.confidence(evidence.signal), evidence.asked),
        _mean(evidence.end == 0, evidence.asked),
        _mean(evidence.end == 2, evidence.asked),
        _mean(near, inside),
    )


def _mean(values: Array, weight: Float[Array, "*d n k"]) -> Float[Array, "*d k"]:
    total = weight.sum(axis=-2)
    mean = jnp.sum(weight * values, axis=-2) / jnp.where(total > 0, total, 1.0)
    return jnp.where(total > 0, mean, 0.0)


class Check(NamedTuple):
    """Recorded numbers beside what the draws expect.

    Attributes:
        observed: As recorded; NaN where there is nothing.
        band: Central intervals of the draws.
        above: Share of draws above what was recorded, ties half: near 0 or 1 is a surprise.
    """

    observed: Float[np.ndarray, "*rest"]
    band: Band
    above: Float[np.ndarray, "*rest"]


def _compared(
    observed: Float[np.ndarray, "*rest"], draws: Float[np.ndarray, "d *rest"], level: float
) -> Check:
    above = np.mean((draws > observed) + 0.5 * (draws == observed), axis=0)
    above = np.where(np.isnan(observed), np.nan, above)
    return Check(observed, _band(draws, level), above)


def _band(draws: Float[np.ndarray, "d *rest"], level: float) -> Band:
    """Bands of what there is; NaN, and no warning, where no draw has a number."""
    nothing = np.isnan(draws).all(axis=0)
    band = pointwise_band(np.where(nothing, 0.0, draws), level)
    return Band(*(np.where(nothing, np.nan, part) for part in band))


class MarginalCheck(NamedTuple):
    """How confidences spread, model by model.

    Attributes:
        edges: Of the bins, on the reference confidence, from the lowest to the highest.
        inside: Share of all of a model's confidences in each bin, those at both ends left out.
        ends: Share at the lowest and at the highest.
    """

    edges: Float[np.ndarray, "k b+1"]
    inside: Check
    ends: Check


def marginal_check(
    posterior: Posterior, replicated: Evidence, num_bins: int = 20, level: float = 0.9
) -> MarginalCheck:
    """Compares each model's confidences with those of drawn data sets.

    Args:
        posterior: Whose records to compare.
        replicated: See `posterior_predictive`.
        num_bins: Bins of equal width over each model's support.
        level: Probability of the bands.
    """
    low, high = np.asarray(posterior.frame.support)
    observed, drawn = (
        (_binned(evidence, num_bins), _ends(evidence))
        for evidence in (posterior.evidence, replicated)
    )
    return MarginalCheck(
        np.linspace(low, high, num_bins + 1, axis=-1),
        _compared(observed[0], drawn[0], level),
        _compared(observed[1], drawn[1], level),
    )


def _binned(evidence: Evidence, num_bins: int) -> Float[np.ndarray, "*d k b"]:
    place = np.asarray(evidence.place)
    weight = np.asarray(evidence.asked * evidence.inside)
    total = np.asarray(evidence.asked).sum(axis=-2)[..., None]
    bin_of = np.minimum((place * num_bins).astype(int), num_bins - 1)
    counts = [np.sum(weight * (bin_of == number), axis=-2) for number in range(num_bins)]
    return np.stack(counts, axis=-1) / total


def _ends(evidence: Evidence) -> Float[np.ndarray, "*d k 2"]:
    shares = [_mean(evidence.end == end, evidence.asked) for end in (0, 2)]
    return np.stack([np.asarray(share) for share in shares], axis=-1)


def pair_check(posterior: Posterior, replicated: Evidence, level: float = 0.9) -> Check:
    """Compares Kendall's tau-b of each pair of models with that of drawn data sets.

    Draws are a Markov chain in the order of the models: only the tau of neighbours is fitted.
    That of models further apart tells how well the chain holds.

    Args:
        posterior: Whose records to compare.
        replicated: See `posterior_predictive`; its confidences are also what a scatter plot of
            pairs is compared with.
        level: Probability of the bands.

    Returns:
        One number for each of `pairs_of(k)`, in its order.
    """
    first, second = np.triu_indices(len(posterior.frame.models), 1)
    observed = kendall_tau(posterior.evidence.signal, posterior.evidence.asked)
    drawn = jax.lax.map(kendall_tau, replicated.signal)
    pair = (first, second)
    return _compared(np.asarray(observed)[pair], np.asarray(drawn)[:, *pair], level)


class ReliabilityCheck(NamedTuple):
    """How often answers are right at each confidence, model by model.

    Attributes:
        confidence: Mean reference confidence in each bin.
        count: Answers in each bin.
        curve: What draws say of the rate at which the bin's answers are right.
        right: Share of right answers beside what draws expect of as many, noise of labels
            included.
    """

    confidence: Float[np.ndarray, "k b"]
    count: Float[np.ndarray, "k b"]
    curve: Band
    right: Check


def reliability_check(
    key: PRNGKeyArray, posterior: Posterior, num_bins: int = 10, level: float = 0.9
) -> ReliabilityCheck:
    """Compares the labels with what draws expect of the very confidences recorded.

    Args:
        key: Draws labels.
        posterior: Whose records to compare.
        num_bins: Bins of about equally many answers of each model; a point mass stays in one.
        level: Probability of the bands.
    """
    evidence, frame = posterior.evidence, posterior.frame
    member = _members(np.asarray(evidence.signal), np.asarray(evidence.labelled), num_bins)
    count = member.sum(axis=1)
    safe = np.where(count > 0, count, np.nan)

    def mean(values: Array) -> Float[np.ndarray, "*d k b"]:
        return (
            np.einsum("...nk,knb->...kb", np.asarray(values, float), member, optimize=True) / safe
        )

    rate = jax.nn.sigmoid(_every_log_odds(posterior))
    labels = jax.random.bernoulli(key, rate)
    return ReliabilityCheck(
        mean(frame.confidence(evidence.signal)),
        count,
        _band(mean(rate), level),
        _compared(mean(evidence.correct), mean(labels), level),
    )


def _members(
    signal: Float[np.ndarray, "n k"], labelled: Float[np.ndarray, "n k"], num_bins: int
) -> Float[np.ndarray, "k n b"]:
    """Weight of each answer in each bin."""
    columns = []
    for values, weight in zip(signal.T, labelled.T, strict=True):
        edges = np.quantile(values[weight > 0], np.linspace(0.0, 1.0, num_bins + 1)[1:-1])
        bin_of = np.searchsorted(edges, values)
        columns.append(weight[:, None] * (bin_of[:, None] == np.arange(num_bins)))
    return np.stack(columns)


@eqx.filter_jit
def _every_log_odds(posterior: Posterior) -> Float[Array, "d n k"]:
    return jax.vmap(lambda sites: answer_log_odds(posterior, sites))(posterior.sites)


def answer_log_odds(posterior: Posterior, sites: Sites) -> Float[Array, "n k"]:
    """Log-odds of each recorded answer being right, as the likelihood of the labels has them.

    In the joint model (`coupled`) they depend on the model asked before. Otherwise labels are
    fitted by their own signals alone, and what predecessors add comes after.
    """
    evidence = posterior.evidence
    log_odds = sites["intercept"] + sites["slope"] * evidence.signal
    if "tau_share" not in sites:
        return log_odds
    second = np.array(posterior.pairs)[:, 1]
    told = sites["history"] * pair_signals(evidence, posterior.pairs)
    return log_odds.at[:, second].add(told)

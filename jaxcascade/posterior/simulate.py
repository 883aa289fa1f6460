"""Records that the joint model would make: from the prior, or from a draw of the posterior."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float, PRNGKeyArray

from jaxcascade.copulas import Copula
from jaxcascade.marginals import BetaMixture
from jaxcascade.numerics.roots import invert_increasing
from jaxcascade.posterior.evidence import Evidence, Frame, pairs_of
from jaxcascade.posterior.model import (
    PairResiduals,
    Sites,
    margins_model,
    mixture,
    pair_residuals,
)
from jaxcascade.posterior.priors import Priors

# Log-odds of the least and the greatest place: the smallest doubles above 0 and below 1.
_LOWEST, _HIGHEST = -700.0, 36.7
_NUM_STEPS = 120


@eqx.filter_jit
def prior_draws(
    key: PRNGKeyArray,
    k: int,
    priors: Priors,
    family: type[Copula],
    pairs: tuple[tuple[int, int], ...],
    num_draws: int,
) -> Sites:
    """Draws from what is believed before any data.

    Args:
        key: Draws.
        k: Number of models.
        priors: Hyperparameters.
        family: Of the copulas.
        pairs: Positions of the models of each pair; see `pairs_of`.
        num_draws: Draws to make.

    Returns:
        Values by name as in `Posterior.sites`, one row per draw; neither dollars nor seconds,
        which have no prior.
    """
    blank = jnp.zeros((1, k))
    nothing = Evidence(blank, blank + 0.5, blank + 1, blank, blank, blank, blank, blank)
    of_margins, of_tau, of_history = jax.random.split(key, 3)

    def margins(key: PRNGKeyArray) -> Sites:
        seeded = numpyro.handlers.seed(margins_model, key)
        traced = numpyro.handlers.trace(seeded).get_trace(nothing, priors)
        sampled = {n: s for n, s in traced.items() if s["type"] in ("sample", "deterministic")}
        return {n: s["value"] for n, s in sampled.items() if not s.get("is_observed", False)}

    shape = (num_draws, len(pairs))
    strength = priors.tau_strength
    lowest, highest = family.tau_range
    share = dist.Beta(strength, strength).sample(of_tau, shape)
    history = dist.Normal(0.0, priors.history_scale).sample(of_history, shape)
    return jax.vmap(margins)(jax.random.split(of_margins, num_draws)) | {
        "tau": lowest + (highest - lowest) * share,
        "history": history,
    }


@eqx.filter_jit
def simulate(
    key: PRNGKeyArray,
    frame: Frame,
    sites: Sites,
    num_queries: int,
    family: type[Copula],
    pairs: tuple[tuple[int, int], ...] | None = None,
    *,
    residuals: PairResiduals | None = None,
) -> Evidence:
    """Draws labelled runs of all models on new queries; `vmap` over keys and sites.

    Confidences are a Markov chain in the order of the models. A label depends on the model's own
    signal, and on its predecessor's by the pair's `history`.

    Args:
        key: Draws.
        frame: Scale of the signals, and the support that confidences lie in.
        sites: Values of one draw, as in `Posterior.sites`. Without `history`, labels depend on
            their own signals alone; without `cost_usd` or `latency_s`, those are NaN.
        num_queries: Queries to draw.
        family: Of the copulas.
        pairs: Of the draw's `tau` and `history`; all pairs by default. Only neighbours are read.
        residuals: What history is measured on: of a posterior's own records, so that the labels
            are what its draws predict. By default of the very signals drawn, as `infer_evidence`
            would measure it.

    Returns:
        Evidence of weight one in every cell. Dollars and seconds are each model's mean.
    """
    k = frame.mean.shape[-1]
    pairs = pairs_of(k) if pairs is None else pairs
    chain = pairs_of(k, neighbours=True)
    at = jnp.array([pairs.index(pair) for pair in chain])
    of_levels, of_labels = jax.random.split(key)
    level = _chained_levels(of_levels, family.from_tau(sites["tau"][at]), num_queries)
    unlabelled = _unlabelled(frame, sites, level)
    shift = jnp.zeros_like(unlabelled.signal)
    if "history" in sites:
        measured = (
            pair_residuals(unlabelled, chain)
            if residuals is None
            else jax.tree.map(lambda leaf: leaf[at], residuals)
        )
        signal = unlabelled.signal
        told = (signal[:, :-1] - measured.slope * signal[:, 1:]) / measured.scale
        shift = shift.at[:, 1:].set(sites["history"][at] * told)
    log_odds = sites["intercept"] + sites["slope"] * unlabelled.signal + shift
    correct = jax.random.bernoulli(of_labels, jax.nn.sigmoid(log_odds))
    return unlabelled._replace(correct=correct.astype(log_odds.dtype))


def _chained_levels(key: PRNGKeyArray, copula: Copula, num_queries: int) -> Float[Array, "n k"]:
    """Uniform variables, each of which depends on the one before by a copula of its own."""
    links = copula.tau.shape[0]
    first, rest = jax.random.split(key)
    start = jax.random.uniform(first, (num_queries,))

    def follow(u: Array, link: tuple[Copula, Array]) -> tuple[Array, Array]:
        one, p = link
        v = jnp.clip(one.inverse_h_function(u, p), 0.0, 1.0)
        return v, v

    uniform = jax.random.uniform(rest, (links, num_queries))
    _, others = jax.lax.scan(follow, start, (copula, uniform))
    return jnp.concatenate([start[None], others]).T


def _unlabelled(frame: Frame, sites: Sites, level: Float[Array, "n k"]) -> Evidence:
    """Confidences at given levels of their laws, no answer right."""
    law = mixture(*(sites[name] for name in ("weight", "low_center", "gap", "concentration")))
    low, middle, high = jnp.moveaxis(sites["atoms"], -1, 0)
    lowest, highest = frame.support
    # Where all confidences are the same, they are the highest.
    at_high = (level > 1.0 - high) | (highest <= lowest)
    end = jnp.where(at_high, 2, jnp.where(level <= low, 0, 1))
    inside = end == 1
    rank = jnp.where(inside, (level - low) / jnp.where(middle > 0, middle, 1.0), 0.5)
    place = jax.vmap(place_at, (0, 1), 1)(law, rank)
    signal = frame.signal_of(lowest + (highest - lowest) * place)
    least, most = frame.signal_range
    signal = jnp.where(inside, jnp.clip(signal, least, most), jnp.where(at_high, most, least))
    ones = jnp.ones_like(signal)
    cells = (jnp.where(inside, place, 0.5), end, ones, ones, 0.0 * ones)
    unknown = jnp.full(signal.shape[-1], jnp.nan)
    calls = (sites.get(name, unknown) * ones for name in ("cost_usd", "latency_s"))
    return Evidence(signal, *cells, *calls)


def place_at(law: BetaMixture, rank: Float[Array, " n"]) -> Float[Array, " n"]:
    """Inverts a law's distribution function in log-odds, so that places near 0 are exact.

    `BetaMixture.icdf` is exact to 1e-16, but a beta law may have a tenth of its mass below that,
    and its density tells 1e-20 from 1e-30.
    """

    def value_and_slope(t: Array) -> tuple[Array, Array]:
        z = jax.nn.sigmoid(t)
        return law.cdf(z), jnp.exp(law.log_prob(z)) * z * (1.0 - z)

    t = invert_increasing(value_and_slope, rank, _LOWEST, _HIGHEST, _NUM_STEPS)
    return jax.nn.sigmoid(t)

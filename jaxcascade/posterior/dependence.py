"""What pairs of models tell, given what each model's own runs have told.

Each pair has two numbers of its own: Kendall's tau between the confidences, and how much the
earlier model's signal adds to the later one's log-odds of being right. Their posterior is taken
given the draw of everything else (a cut, or modular, posterior): a family of copulas that fits
badly cannot then distort what is known of each model, and a model's runs do not count once for
every partner.

References:
    Plummer (2015), Cuts in Bayesian graphical models, Statistics and Computing 25.
    Joe (2005), Asymptotic efficiency of the two-stage estimation method for copula-based models.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxcascade.copulas import CensoredPairs, Copula, censored_log_likelihood
from jaxcascade.posterior.evidence import Evidence
from jaxcascade.posterior.model import Sites, levels, pair_signals
from jaxcascade.posterior.priors import Priors

_WIDEST = 8.0
_NUM_COARSE, _NUM_FINE = 33, 49
_NEGLIGIBLE = 14.0
_NEWTON_STEPS = 6
_SMALLEST_LEVEL = 1e-12


def draw_tau(
    key: PRNGKeyArray,
    evidence: Evidence,
    draws: Sites,
    family: type[Copula],
    priors: Priors,
    pairs: tuple[tuple[int, int], ...],
) -> Float[Array, "d pairs"]:
    """Draws Kendall's tau of each pair, given each draw's laws of confidence.

    At the mean levels, by inversion on a fine grid. From there to a draw's own levels tau follows
    to first order: as far as its posterior mode moves with them.
    """
    first, second = np.array(pairs).T
    lowest, highest = family.tau_range
    if lowest == highest:
        return jnp.full((len(draws["weight"]), len(pairs)), lowest)
    every = jax.lax.map(lambda sites: levels(evidence, sites), draws, batch_size=20)
    logits = [_logit(part) for part in every]
    center = [part.mean(axis=0) for part in logits]
    uniform = jax.random.uniform(key, (len(pairs), logits[0].shape[0]))

    def log_posterior(t: Array, left: Array, right: Array, weight: Array) -> Array:
        share = jax.nn.sigmoid(t)
        copula = family.from_tau(lowest + (highest - lowest) * share)
        u_left, v_left = _level(left)
        u, v = _level(right)
        pair = CensoredPairs(u_left, u, v_left, v, weight)
        prior = priors.tau_strength * (jax.nn.log_sigmoid(t) + jax.nn.log_sigmoid(-t))
        return prior + censored_log_likelihood(copula, pair)

    def one(pair: tuple[Array, ...]) -> Array:
        i, j, chance = pair
        at = jnp.stack([i, j])
        left, right = (part[:, at].T for part in center)
        weight = jnp.sqrt(evidence.asked[:, i] * evidence.asked[:, j])

        def value(t: Array) -> Array:
            return log_posterior(t, left, right, weight)

        coarse = jnp.linspace(-_WIDEST, _WIDEST, _NUM_COARSE)
        heights = jax.lax.map(value, coarse)
        likely = heights > heights.max() - _NEGLIGIBLE
        spacing = coarse[1] - coarse[0]
        low = jnp.min(jnp.where(likely, coarse, jnp.inf)) - spacing
        high = jnp.max(jnp.where(likely, coarse, -jnp.inf)) + spacing
        fine = low + (high - low) * jnp.linspace(0.0, 1.0, _NUM_FINE)
        heights = jax.lax.map(value, fine)
        density = jnp.exp(heights - heights.max())
        mean = jnp.sum(density * fine) / density.sum()
        variance = jnp.sum(density * (fine - mean) ** 2) / density.sum()
        below = jnp.concatenate([jnp.zeros(1), jnp.cumsum(0.5 * (density[1:] + density[:-1]))])
        t = jnp.interp(chance * below[-1], below, fine)
        # The score in t, differentiated in the levels' log-odds.
        step = 0.5 * jnp.sqrt(variance)
        ends = mean + step * jnp.array([-1.0, 1.0])
        slopes = jax.lax.map(
            lambda t: jax.grad(log_posterior, argnums=(1, 2))(t, left, right, weight), ends
        )
        response = [variance * (part[1] - part[0]) / (2.0 * step) for part in slopes]
        moved = [
            jnp.einsum("dns,sn->d", part[:, :, at] - middle[:, at], slope)
            for part, middle, slope in zip(logits, center, response, strict=True)
        ]
        return lowest + (highest - lowest) * jax.nn.sigmoid(t + moved[0] + moved[1])

    return jax.lax.map(one, (jnp.asarray(first), jnp.asarray(second), uniform)).T


def _logit(level: Array) -> Array:
    """Log-odds; ends stand for the levels 0 and 1, which no draw moves."""
    safe = jnp.clip(level, _SMALLEST_LEVEL, 1.0 - _SMALLEST_LEVEL)
    return jnp.log(safe) - jnp.log1p(-safe)


def _level(logit: Array) -> Array:
    level = jax.nn.sigmoid(logit)
    end = _SMALLEST_LEVEL * 2.0
    return jnp.where(level < end, 0.0, jnp.where(level > 1.0 - end, 1.0, level))


def draw_history(
    key: PRNGKeyArray,
    evidence: Evidence,
    draws: Sites,
    priors: Priors,
    pairs: tuple[tuple[int, int], ...],
) -> Float[Array, "d pairs"]:
    """Draws what an earlier model's signal adds, given each draw's calibrators.

    The change in log-odds of the later model being right, per standard deviation of what the
    later model's own signal does not tell of the earlier one's. Normal around the mode.
    """
    first, second = np.array(pairs).T
    signal, left = evidence.signal, pair_signals(evidence, pairs)
    weight = evidence.labelled[:, second] * (evidence.asked[:, first] > 0)
    correct = evidence.correct[:, second]

    def one(draw: tuple[Array, Array, Array]) -> Array:
        intercept, slope, noise = draw
        offset = intercept[second] + slope[second] * signal[:, second]

        def step(_: int, state: tuple[Array, Array]) -> tuple[Array, Array]:
            gamma = state[0]
            chance = jax.nn.sigmoid(offset + gamma * left)
            score = jnp.sum(weight * left * (correct - chance), axis=0)
            curvature = jnp.sum(weight * left**2 * chance * (1.0 - chance), axis=0)
            precision = curvature + 1.0 / priors.history_scale**2
            move = (score - gamma / priors.history_scale**2) / precision
            return gamma + jnp.clip(move, -1.0, 1.0), precision

        blank = jnp.zeros(len(pairs))
        gamma, precision = jax.lax.fori_loop(0, _NEWTON_STEPS, step, (blank, blank + 1.0))
        return gamma + noise / jnp.sqrt(precision)

    noise = jax.random.normal(key, (draws["intercept"].shape[0], len(pairs)))
    return jax.lax.map(one, (draws["intercept"], draws["slope"], noise), batch_size=20)

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

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxcascade.copulas import CensoredPairs, Copula, censored_log_prob
from jaxcascade.posterior.evidence import Evidence
from jaxcascade.posterior.model import Sites, levels, pair_signals
from jaxcascade.posterior.priors import Priors

_WIDEST = 8.0
_NUM_NODES = 41
_NEGLIGIBLE = 1e-6
_SHIFT = 1e-4
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

    def one(pair: tuple[Array, ...]) -> Array:
        i, j, chance = pair
        at = jnp.stack([i, j])
        left, right = (part[:, at].T for part in center)
        weight = jnp.sqrt(evidence.asked[:, i] * evidence.asked[:, j])

        def terms(point: tuple[Array, Array]) -> Array:
            """Log density of each query at one t, the four levels shifted."""
            t, shift = point
            copula = family.from_tau(lowest + (highest - lowest) * jax.nn.sigmoid(t))
            u_left, v_left = _level(left + shift[:2, None])
            u, v = _level(right + shift[2:, None])
            return censored_log_prob(copula, CensoredPairs(u_left, u, v_left, v, weight))

        def look(state: _Search, number: Array) -> tuple[_Search, Array]:
            """Narrows the window, takes its moments, or feels how both move with the levels."""
            grid = state.low + (state.high - state.low) * jnp.linspace(0.0, 1.0, _NUM_NODES)
            felt = state.mean + state.step * _FELT.t
            t = jnp.where(number < 2, grid, felt)
            found = jax.lax.map(terms, (t, jnp.where(number < 2, 0.0, _FELT.shift)))
            found = jnp.where(weight > 0, found, 0.0)
            prior = priors.tau_strength * (jax.nn.log_sigmoid(t) + jax.nn.log_sigmoid(-t))
            density = _relative(prior + found @ weight)
            likely = density > _NEGLIGIBLE
            spacing = grid[1] - grid[0]
            mean = jnp.sum(density * grid) / density.sum()
            variance = jnp.sum(density * (grid - mean) ** 2) / density.sum()
            new = _Search(
                jnp.min(jnp.where(likely, grid, jnp.inf)) - spacing,
                jnp.max(jnp.where(likely, grid, -jnp.inf)) + spacing,
                mean,
                0.5 * jnp.sqrt(variance),
                grid,
                density,
            )
            return jax.tree.map(lambda a, b: jnp.where(number < 2, a, b), new, state), found

        ends = jnp.array(-_WIDEST), jnp.array(_WIDEST)
        blank = jnp.zeros(_NUM_NODES)
        search = _Search(*ends, jnp.zeros(()), jnp.ones(()), blank, blank)
        # The second look narrows the window again, for the moments are taken on it.
        search, found = jax.lax.scan(look, search, jnp.array([0, 1, 2]))
        density = search.density
        below = jnp.concatenate([jnp.zeros(1), jnp.cumsum(0.5 * (density[1:] + density[:-1]))])
        t = jnp.interp(chance * below[-1], below, search.grid)
        # d t / d level = variance x d score / d level, by differences in both.
        felt = found[-1][: _FELT.sign.size].reshape(4, 4, -1)
        slope = jnp.einsum("s,lsn->ln", _FELT.sign[:4], felt) / (4.0 * search.step * _SHIFT)
        response = 4.0 * search.step**2 * slope * weight
        moved = [
            jnp.einsum("dns,sn->d", part[:, :, at] - middle[:, at], sides)
            for part, middle, sides in zip(
                logits, center, (response[:2], response[2:]), strict=True
            )
        ]
        return lowest + (highest - lowest) * jax.nn.sigmoid(t + moved[0] + moved[1])

    return jax.lax.map(one, (jnp.asarray(first), jnp.asarray(second), uniform)).T


class _Search(NamedTuple):
    """A window on t, the log-odds of tau in its range, and the density on a grid in it."""

    low: Array
    high: Array
    mean: Array
    step: Array
    grid: Array
    density: Array


class _Felt(NamedTuple):
    """Where to feel how the score moves with each of four levels: above and below in t and level.

    Attributes:
        t: In steps, padded to the length of the grid.
        shift: Of each level's log-odds.
        sign: Of each in the difference.
    """

    t: np.ndarray
    shift: np.ndarray
    sign: np.ndarray


def _felt() -> _Felt:
    corners = np.array([(a, b) for a in (1.0, -1.0) for b in (1.0, -1.0)])
    t, shift = np.zeros(_NUM_NODES), np.zeros((_NUM_NODES, 4))
    for level in range(4):
        rows = slice(4 * level, 4 * level + 4)
        t[rows], shift[rows, level] = corners[:, 0], _SHIFT * corners[:, 1]
    return _Felt(t, shift, np.tile(corners.prod(axis=1), 4))


_FELT = _felt()


def _relative(log_density: Array) -> Array:
    return jnp.exp(log_density - jnp.max(log_density))


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

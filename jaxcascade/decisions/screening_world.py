"""The worked case's world: candidates, what language models say of them, a phone screen to buy.

Candidates are simulated, so that the truth is known. What is set by hand is in `ScreeningWorld`,
each number with its reason.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from jaxcascade.decisions.costs import Costs, cost_matrix
from jaxcascade.decisions.pools import belief
from jaxcascade.decisions.sequential import Sources, screening_tests

REJECT, INTERVIEW = 0, 1


class ScreeningWorld(eqx.Module):
    """How candidates, ratings and phone screens come about.

    Rater m places a candidate at a_m (2 s - 1) + g_m u + b_mg + e: s is 1 for the fit, u is the
    candidate's own standard normal luck with all raters, b_mg a lean for the candidate's group, e
    noise. It rates how typical the candidate is of the fit by 5 + 2 times that place, rounded and
    held within 0 to 10, and of the unfit by 5 minus the same.

    Attributes:
        prevalence: Share of candidates that are fit.
        accuracy: a_m of each rater. Taken at their word they are right as often as five of eleven
            language models on yes/no questions: 85, 83, 82, 76 and 67 %.
        echo: g_m. With it and the noise, errors of two raters correlate at 0.55 given the truth,
            as those of the eleven do (0.56).
        noise: Standard deviation of e.
        lean: b_mg by rater and group: in the second group all raters find candidates less typical
            of the fit than they are, the first of them most.
        second_group: Share of candidates in the second group; fitness does not depend on it.
        sensitivity: Of the phone screen.
        specificity: Of the phone screen.
        screen_usd: Dollars for a phone screen.
        interview_usd: Dollars for an interview of an unfit candidate.
        missed_usd: Dollars for a fit candidate that is rejected.

    References:
        Amin (2026), arXiv:2601.01522, for the dollars.
    """

    prevalence: float = 0.2
    accuracy: tuple[float, ...] = (1.12, 1.04, 1.01, 0.78, 0.48)
    echo: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)
    noise: float = 0.45
    lean: tuple[tuple[float, float], ...] = (
        (0.0, -0.5),
        (0.0, -0.3),
        (0.0, -0.2),
        (0.0, -0.1),
        (0.0, -0.1),
    )
    second_group: float = 0.4
    sensitivity: float = 0.9
    specificity: float = 0.85
    screen_usd: float = 150.0
    interview_usd: float = 2_500.0
    missed_usd: float = 40_000.0

    @property
    def costs(self) -> Costs:
        """Dollars of rejecting and interviewing the unfit and the fit."""
        return cost_matrix(
            {
                "reject": {"unfit": 0.0, "fit": self.missed_usd},
                "interview": {"unfit": self.interview_usd, "fit": 0.0},
            }
        )

    @property
    def screen(self) -> Sources:
        """The phone screen."""
        return screening_tests(
            np.array([self.sensitivity]),
            np.array([self.specificity]),
            np.array([self.screen_usd]),
        )

    @property
    def prior(self) -> Float[Array, " 2"]:
        """Probability of the unfit and of the fit."""
        return jnp.array([1.0 - self.prevalence, self.prevalence])


class Candidates(NamedTuple):
    """Simulated candidates.

    Attributes:
        rating: From 0 to 10, of each rater in each state.
        truth: 1 for the fit.
        group: 0 or 1.
        screen: What the phone screen says, if it is bought.
        belief: Of the fit, by Bayes' rule from all ratings and everything about the world that
            produced them but the group: nobody can do better on average.
    """

    rating: Float[Array, "n m 2"]
    truth: Int[Array, " n"]
    group: Int[Array, " n"]
    screen: Bool[Array, " n"]
    belief: Float[Array, "n 2"]


def simulated_candidates(key: PRNGKeyArray, count: int, world: ScreeningWorld) -> Candidates:
    """Draws candidates, what raters say of them, and what a phone screen would."""
    of_truth, of_group, of_luck, of_noise, of_screen = jax.random.split(key, 5)
    truth = jax.random.bernoulli(of_truth, world.prevalence, (count,)).astype(int)
    group = jax.random.bernoulli(of_group, world.second_group, (count,)).astype(int)
    luck = jax.random.normal(of_luck, (count, 1))
    noise = world.noise * jax.random.normal(of_noise, (count, len(world.accuracy)))
    side = jnp.array(world.accuracy) * (2.0 * truth[:, None] - 1.0)
    lean = jnp.array(world.lean)[:, group].T
    place = side + jnp.array(world.echo) * luck + lean + noise
    fit = jnp.clip(jnp.round(5.0 + 2.0 * place), 0.0, 10.0)
    rating = jnp.stack([jnp.clip(jnp.round(5.0 - 2.0 * place), 0.0, 10.0), fit], axis=-1)
    chance = jnp.where(truth == 1, world.sensitivity, 1.0 - world.specificity)
    screen = jax.random.bernoulli(of_screen, chance)
    return Candidates(rating, truth, group, screen, _best_belief(fit, world))


def _best_belief(fit: Float[Array, "n m"], world: ScreeningWorld) -> Float[Array, "n 2"]:
    """Bayes' rule with the law of ratings itself; luck by the trapezoidal rule, groups by share."""
    luck = jnp.linspace(-5.0, 5.0, 81)
    log_weight = jax.nn.log_softmax(-0.5 * luck**2)
    ends = jnp.array([-jnp.inf, *0.5 * np.arange(-4.5, 5.0), jnp.inf])
    log_share = jnp.log(jnp.array([1.0 - world.second_group, world.second_group]))
    # There are only eleven ratings: a row that picks each rater's in a table of all of them.
    picks = jax.nn.one_hot(fit.astype(int), 11).reshape(len(fit), -1)

    def told(state: int, group: int) -> Float[Array, " n"]:
        center = jnp.array(world.accuracy) * (2.0 * state - 1.0)
        center = center + jnp.array([lean[group] for lean in world.lean])
        place = center[:, None] + jnp.array(world.echo)[:, None] * luck
        below = jax.scipy.stats.norm.cdf((ends[:, None] - place[:, None]) / world.noise)
        log_chance = jnp.log(jnp.maximum(jnp.diff(below, axis=1), 1e-300))
        terms = picks @ log_chance.reshape(-1, luck.size) + log_weight
        return jax.nn.logsumexp(terms, axis=-1) + log_share[group]

    by_state = [jnp.logaddexp(told(state, 0), told(state, 1)) for state in (0, 1)]
    return belief(jnp.log(world.prior), jnp.stack(by_state, axis=-1))

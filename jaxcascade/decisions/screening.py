"""The worked case: candidates rated by language models, a phone screen to buy, costly mistakes.

Candidates are simulated, so that the truth is known. What is set by hand is in `ScreeningWorld`,
each number with its reason.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from jaxcascade.decisions.ablation import subsets
from jaxcascade.decisions.costs import Costs, cost_matrix
from jaxcascade.decisions.dawid_skene import DawidSkene
from jaxcascade.decisions.evidence import log_likelihood_of_ratings
from jaxcascade.decisions.pools import GEOMETRIC, MEDIAN_RATIO, SUM, belief, pooled
from jaxcascade.decisions.rater_model import RaterModel, draw_parameters, mean_belief
from jaxcascade.decisions.sequential import Sources, screening_tests, value_of_asking
from jaxcascade.decisions.tempered import TemperedPool
from jaxcascade.posterior import Laplace

STATES = ("unfit", "fit")
REJECT, INTERVIEW = 0, 1
PARTS = ("aggregation", "calibration", "costs", "screen")
# With twice as many, mean costs of 200 simulations differ by 0.2 % at most.
_NUM_DRAWS = 100
# Who acts without costs asks again where belief is this far from certain.
_UNSURE = 0.3


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


class ScreeningResults(NamedTuple):
    """What methods did in each simulation.

    Attributes:
        methods: Names.
        cost_usd: Of 1,000 candidates: the sum of the next three.
        missed_usd: Of 1,000 candidates, for the fit among them that were rejected.
        interviews_usd: The same, for the unfit that were interviewed.
        screens_usd: The same, for phone screens.
        screened: Share of the candidates that were screened.
        interviewed: Share that was interviewed.
        missed: Share of the fit that was rejected.
        rate_gap: Interview rate of the first group minus that of the second.
        missed_gap: Share of the fit that was rejected in the second group, minus the first's.
        saved_usd: What each subset of `PARTS` saves of 1,000 candidates' cost, in the order of
            `subsets`.
        error_correlation: Between raters that are each taken at their word, given the truth; mean
            over pairs.
    """

    methods: tuple[str, ...]
    cost_usd: Float[Array, "d methods"]
    missed_usd: Float[Array, "d methods"]
    interviews_usd: Float[Array, "d methods"]
    screens_usd: Float[Array, "d methods"]
    screened: Float[Array, "d methods"]
    interviewed: Float[Array, "d methods"]
    missed: Float[Array, "d methods"]
    rate_gap: Float[Array, "d methods"]
    missed_gap: Float[Array, "d methods"]
    saved_usd: Float[Array, "d subsets"]
    error_correlation: Float[Array, " d"]


def compare_screening(
    key: PRNGKeyArray,
    num_simulations: int = 200,
    *,
    num_labelled: int = 200,
    num_candidates: int = 1000,
    world: ScreeningWorld | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> ScreeningResults:
    """Simulates hiring many times and has every method decide.

    Args:
        key: Draws.
        num_simulations: Worlds to draw, each with candidates of its own.
        num_labelled: Earlier candidates whose fitness is known, to learn from.
        num_candidates: Candidates to decide on in each.
        world: How candidates come about; `ScreeningWorld()` by default.
        progress: Called with a word on each step.
    """
    world = ScreeningWorld() if world is None else world
    progress(f"simulating {num_simulations} times {num_candidates} candidates")
    keys = jax.random.split(key, num_simulations)
    found = _simulations(keys, num_labelled, num_candidates, world)
    return ScreeningResults(tuple(METHODS), *found)


@eqx.filter_jit
def _simulations(
    keys: PRNGKeyArray, num_labelled: int, num_candidates: int, world: ScreeningWorld
) -> tuple[Array, ...]:
    return jax.lax.map(
        lambda key: _simulation(key, num_labelled, num_candidates, world), keys, batch_size=10
    )


def _simulation(
    key: PRNGKeyArray, num_labelled: int, num_candidates: int, world: ScreeningWorld
) -> tuple[Array, ...]:
    learn, draw, fit = jax.random.split(key, 3)
    earlier = simulated_candidates(learn, num_labelled, world)
    now = simulated_candidates(draw, num_candidates, world)
    beliefs = _beliefs(fit, earlier, now, world)
    done = [method(beliefs, now, world) for method in METHODS.values()]
    told = jnp.stack([jnp.stack(_told(one, now, world)) for one in done], axis=-1)
    costs = jnp.stack([_told(one, now, world)[0] for one in _ablated(beliefs, now, world)])
    return (*told, costs[0] - costs, _error_correlation(beliefs.votes, now.truth))


class _Beliefs(NamedTuple):
    """Of the unfit and the fit, by the ways to come by them; and what raters say by themselves."""

    single: Float[Array, "n 2"]
    single_fitted: Float[Array, "n 2"]
    median: Float[Array, "n 2"]
    mean: Float[Array, "n 2"]
    summed: Float[Array, "n 2"]
    unlabelled: Float[Array, "n 2"]
    tempered: Float[Array, "n 2"]
    best: Float[Array, "n 2"]
    votes: Bool[Array, "n m"]


def _beliefs(
    key: PRNGKeyArray, earlier: Candidates, now: Candidates, world: ScreeningWorld
) -> _Beliefs:
    of_single, of_votes, of_pool = jax.random.split(key, 3)
    log_prior = jnp.log(world.prior)
    before, told = (
        log_likelihood_of_ratings(one.rating[..., None], jnp.ones((*one.rating.shape, 1), bool))
        for one in (earlier, now)
    )
    alone = belief(log_prior, before)
    right = jnp.take_along_axis(alone, earlier.truth[:, None, None], axis=-1)
    # The rater whose own belief has the least log loss on those whose truth is known.
    at = jnp.argmax(jnp.log(right[..., 0]).mean(axis=0))
    one_before, one_told = (part[:, at][:, None] for part in (before, told))
    nothing = jnp.full_like(earlier.truth, -1)
    fitted = (
        _fitted(of_single, TemperedPool(), one_before, earlier.truth, one_told, log_prior),
        _fitted(of_votes, DawidSkene(), before, nothing, told, log_prior),
        _fitted(of_pool, TemperedPool(), before, earlier.truth, told, log_prior),
    )
    rules = [belief(log_prior, pooled(told, rule=rule)) for rule in (MEDIAN_RATIO, GEOMETRIC, SUM)]
    single = belief(log_prior, one_told[:, 0])
    votes = told[..., 1] > told[..., 0]
    return _Beliefs(
        single, fitted[0], rules[0], rules[1], rules[2], fitted[1], fitted[2], now.belief, votes
    )


def _fitted(
    key: PRNGKeyArray,
    model: RaterModel,
    before: Float[Array, "t m 2"],
    truth: Int[Array, " t"],
    told: Float[Array, "n m 2"],
    log_prior: Float[Array, " 2"],
) -> Float[Array, "n 2"]:
    """Belief by a model that is fitted to earlier candidates."""
    known = [jnp.ones(part.shape[:2], bool) for part in (before, told)]
    group = [jnp.zeros(len(part), int) for part in (before, told)]
    coded = model.coded(before, known[0], group[0], 1)
    method = Laplace(num_draws=_NUM_DRAWS)
    sites = draw_parameters(key, model, coded, log_prior, truth, method).sites
    prior = jnp.broadcast_to(log_prior, (_NUM_DRAWS, 2))
    return mean_belief(model, sites, model.coded(told, known[1], group[1], 1), prior, known[1])


class _Done(NamedTuple):
    """What was done with every candidate."""

    interview: Bool[Array, " n"]
    screened: Bool[Array, " n"]


def _by_cost(belief: Float[Array, "n 2"], now: Candidates, world: ScreeningWorld) -> _Done:
    """The action of least expected cost, without a screen."""
    return _Done(world.costs.best(belief) == INTERVIEW, jnp.zeros(len(now.truth), bool))


def _by_cost_and_screen(
    belief: Float[Array, "n 2"], now: Candidates, world: ScreeningWorld
) -> _Done:
    """A screen where it is worth more than its price, then the action of least expected cost."""
    worth = value_of_asking(belief, world.costs, world.screen)[:, 0]
    screened = worth > world.screen_usd
    after = jnp.where(screened[:, None], _screened(belief, now, world), belief)
    return _Done(world.costs.best(after) == INTERVIEW, screened)


def _by_half(belief: Float[Array, "n 2"], now: Candidates, world: ScreeningWorld) -> _Done:
    """The likelier state, without a screen and without costs."""
    return _Done(belief[:, 1] > 0.5, jnp.zeros(len(now.truth), bool))


def _by_half_and_screen(
    belief: Float[Array, "n 2"], now: Candidates, world: ScreeningWorld
) -> _Done:
    """A screen where belief is unsure, then the likelier state."""
    screened = jnp.abs(belief[:, 1] - 0.5) < _UNSURE
    after = jnp.where(screened[:, None], _screened(belief, now, world), belief)
    return _Done(after[:, 1] > 0.5, screened)


def _screened(
    belief: Float[Array, "n 2"], now: Candidates, world: ScreeningWorld
) -> Float[Array, "n 2"]:
    """Belief after the screen has spoken."""
    yes = jnp.array([1.0 - world.specificity, world.sensitivity])
    joint = belief * jnp.where(now.screen[:, None], yes, 1.0 - yes)
    return joint / joint.sum(axis=-1, keepdims=True)


def _always(interview: bool, screen: bool = False) -> Callable[..., _Done]:
    def done(beliefs: _Beliefs, now: Candidates, world: ScreeningWorld) -> _Done:
        every = jnp.full(now.truth.shape, interview)
        return _Done(now.screen if screen else every, jnp.full(now.truth.shape, screen))

    return done


def _with(act: Callable[..., _Done], name: str) -> Callable[..., _Done]:
    return lambda beliefs, now, world: act(getattr(beliefs, name), now, world)


def _majority(beliefs: _Beliefs, now: Candidates, world: ScreeningWorld) -> _Done:
    interview = beliefs.votes.mean(axis=-1) > 0.5
    return _Done(interview, jnp.zeros_like(interview))


METHODS: dict[str, Callable[[_Beliefs, Candidates, ScreeningWorld], _Done]] = {
    "interview all": _always(True),
    "reject all": _always(False),
    "screen all, interview who passes": _always(False, screen=True),
    "majority vote": _majority,
    "best rater, likelier state": _with(_by_half, "single"),
    "best rater, by cost": _with(_by_cost, "single"),
    "best rater fitted, by cost": _with(_by_cost, "single_fitted"),
    "best rater fitted, screen": _with(_by_cost_and_screen, "single_fitted"),
    "median, screen": _with(_by_cost_and_screen, "median"),
    "geometric mean, screen": _with(_by_cost_and_screen, "mean"),
    "sum (naive Bayes), screen": _with(_by_cost_and_screen, "summed"),
    "Dawid and Skene, no labels, screen": _with(_by_cost_and_screen, "unlabelled"),
    "tempered pool, by cost": _with(_by_cost, "tempered"),
    "tempered pool, screen": _with(_by_cost_and_screen, "tempered"),
    "best possible, screen": _with(_by_cost_and_screen, "best"),
}


def _told(done: _Done, now: Candidates, world: ScreeningWorld) -> tuple[Array, ...]:
    """Cost of 1,000 and its parts, shares of candidates, misses, and gaps between the groups."""
    fit, second = now.truth == 1, now.group == 1
    missed = fit & ~done.interview
    of_missed = 1000.0 * world.missed_usd * missed.mean(dtype=float)
    of_interviews = 1000.0 * world.interview_usd * (done.interview & ~fit).mean(dtype=float)
    of_screens = 1000.0 * world.screen_usd * done.screened.mean(dtype=float)
    rates = [_share(done.interview, second == side) for side in (False, True)]
    misses = [_share(missed, fit & (second == side)) for side in (False, True)]
    return (
        of_missed + of_interviews + of_screens,
        of_missed,
        of_interviews,
        of_screens,
        done.screened.mean(dtype=float),
        done.interview.mean(dtype=float),
        _share(missed, fit),
        rates[0] - rates[1],
        misses[1] - misses[0],
    )


def _share(what: Bool[Array, " n"], among: Bool[Array, " n"]) -> Float[Array, ""]:
    return (what & among).sum() / among.sum()


def _ablated(beliefs: _Beliefs, now: Candidates, world: ScreeningWorld) -> list[_Done]:
    """What is done with each subset of `PARTS`, in the order of `subsets`."""
    acts = {
        (False, False): _by_half,
        (False, True): _by_half_and_screen,
        (True, False): _by_cost,
        (True, True): _by_cost_and_screen,
    }
    ways = {
        (False, False): beliefs.single,
        (True, False): beliefs.median,
        (False, True): beliefs.single_fitted,
        (True, True): beliefs.tempered,
    }
    done = []
    for parts in subsets(PARTS):
        aggregation, calibration, costs, screen = (part in parts for part in PARTS)
        act = acts[costs, screen]
        done.append(act(ways[aggregation, calibration], now, world))
    return done


def _error_correlation(votes: Bool[Array, "n m"], truth: Int[Array, " n"]) -> Float[Array, ""]:
    """Mean over pairs of raters of the correlation of their errors within each state."""
    wrong = (votes != (truth == 1)[:, None]).astype(float)
    fit = (truth == 1)[:, None]
    means = [jnp.sum(wrong * side, axis=0) / jnp.sum(side) for side in (~fit, fit)]
    apart = wrong - jnp.where(fit, means[1], means[0])
    covariance = apart.T @ apart
    scale = jnp.sqrt(jnp.diag(covariance))
    m = votes.shape[1]
    return ((covariance / (scale[:, None] * scale)).sum() - m) / (m * (m - 1))

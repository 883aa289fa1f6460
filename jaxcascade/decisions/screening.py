"""The worked case: what each way of screening candidates costs, in simulated worlds."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from jaxcascade.decisions.ablation import subsets
from jaxcascade.decisions.dawid_skene import DawidSkene
from jaxcascade.decisions.evidence import log_likelihood_of_ratings
from jaxcascade.decisions.pools import GEOMETRIC, MEDIAN_RATIO, SUM, belief, pooled
from jaxcascade.decisions.rater_model import RaterModel, draw_parameters, mean_belief
from jaxcascade.decisions.screening_world import (
    INTERVIEW,
    Candidates,
    ScreeningWorld,
    simulated_candidates,
)
from jaxcascade.decisions.sequential import value_of_asking
from jaxcascade.decisions.tempered import TemperedPool
from jaxcascade.posterior import Laplace

PARTS = ("aggregation", "calibration", "costs", "screen")
# With twice as many, mean costs of 200 simulations differ by 0.2 % at most.
_NUM_DRAWS = 100
# Of weights in stacking.
_RIDGE = 10.0
_NUM_NEWTON_STEPS = 20
# Who acts without costs asks again where belief is this far from certain.
_UNSURE = 0.3


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
    stacked: Float[Array, "n 2"]
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
        single=single,
        single_fitted=fitted[0],
        median=rules[0],
        mean=rules[1],
        summed=rules[2],
        unlabelled=fitted[1],
        stacked=_stacked(before, earlier.truth, told, log_prior),
        tempered=fitted[2],
        best=now.belief,
        votes=votes,
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


def _stacked(
    before: Float[Array, "t m 2"],
    truth: Int[Array, " t"],
    told: Float[Array, "n m 2"],
    log_prior: Float[Array, " 2"],
) -> Float[Array, "n 2"]:
    """Belief by logistic regression on the log-ratios of all raters, with a ridge on weights."""

    def log_odds(parameters: Float[Array, " p"], ratings: Array) -> Array:
        ratio = ratings[..., 1] - ratings[..., 0]
        return log_prior[1] - log_prior[0] + parameters[0] + ratio @ parameters[1:]

    def loss(parameters: Float[Array, " p"]) -> Float[Array, ""]:
        side = jnp.where(truth == 1, 1.0, -1.0)
        misfit = jax.nn.softplus(-side * log_odds(parameters, before)).sum()
        return misfit + 0.5 * _RIDGE * jnp.square(parameters[1:]).sum()

    def step(parameters: Array, _: None) -> tuple[Array, None]:
        slope, curvature = jax.grad(loss)(parameters), jax.hessian(loss)(parameters)
        return parameters - jnp.linalg.solve(curvature, slope), None

    start = jnp.zeros(1 + before.shape[1])
    parameters, _ = jax.lax.scan(step, start, length=_NUM_NEWTON_STEPS)
    fit = jax.nn.sigmoid(log_odds(parameters, told))
    return jnp.stack([1.0 - fit, fit], axis=-1)


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
    "stacking (ridge), screen": _with(_by_cost_and_screen, "stacked"),
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

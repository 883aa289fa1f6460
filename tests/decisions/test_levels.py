"""Echo, factor copula, and Dawid and Skene against integrals, rectangles, sums and EM."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.infer.util import log_density
from scipy import integrate, special, stats

from jaxcascade.copulas import Clayton, Frank, Gumbel, Independence
from jaxcascade.decisions.dawid_skene import DawidSkene
from jaxcascade.decisions.echo import EchoModel
from jaxcascade.decisions.evidence import evidence_of_probabilities
from jaxcascade.decisions.factor_copula import FactorCopula
from jaxcascade.decisions.rater_model import UNKNOWN
from jaxcascade.posterior import Laplace

LOG_PRIOR = jnp.log(jnp.array([0.7, 0.3]))


def coded_levels(level, num_levels, group=None, num_groups=1):
    """Items as level models take them; -1 where a rater is not known."""
    level = np.asarray(level)
    picks = (level[..., None] == np.arange(num_levels)).astype(float)
    group = np.zeros(len(level), int) if group is None else group
    return jnp.asarray(picks), jnp.asarray(group), num_groups


def all_patterns(m, num_levels):
    return np.array(list(itertools.product(range(num_levels), repeat=m)))


def mixed(looks, misled):
    """From the law of levels by looks to that by truth, in words: right, or like any other."""
    s = len(looks)
    return np.array(
        [
            (1 - misled[t]) * looks[t]
            + sum(misled[t] / (s - 1) * looks[o] for o in range(s) if o != t)
            for t in range(s)
        ]
    )


def belief_of(model, sites, coded, log_prior=LOG_PRIOR):
    sites = {name: jnp.asarray(value) for name, value in sites.items()}
    picks, group, num_groups = coded

    def told(sites, picks, group, log_prior):
        return model.log_belief(sites, (picks, group, num_groups), log_prior)

    # Compiled whole, which takes a fifth of the time of compiling step by step.
    return np.exp(jax.jit(told)(sites, picks, group, jnp.asarray(log_prior)))


# --- echo --------------------------------------------------------------------------------------


def echo_sites(rng, m, num_levels, num_groups=1, echo=1.0):
    sites = {
        "echo_mean": echo,
        "log_echo": rng.normal(0, 0.5, m),
        "accuracy": rng.lognormal(0.3, 0.5, m),
        "share": rng.dirichlet(np.full(num_levels, 2.0), m),
        "misled": np.array([0.1, 0.25]),
    }
    if num_groups > 1:
        sites |= {"lean_spread": 0.8, "unit_lean": rng.normal(size=(num_groups, m))}
    return sites


def echo_by_integral(sites, levels, group=0):
    """Chance of one item's levels, by quadrature over the factor."""
    lean = np.zeros(len(levels))
    if "lean_spread" in sites:
        unit = sites["unit_lean"]
        lean = sites["lean_spread"] * (unit[group] - unit.mean(axis=0))
    cuts = special.logit(np.cumsum(sites["share"], axis=1)[:, :-1])
    cuts = np.column_stack([np.full(len(cuts), -np.inf), cuts, np.full(len(cuts), np.inf)])
    echo = sites["echo_mean"] * np.exp(sites["log_echo"])

    def of_factor(u, side):
        chance = stats.norm.pdf(u)
        for j, level in enumerate(levels):
            if level < 0:
                continue
            place = lean[j] + side * sites["accuracy"][j] + echo[j] * u
            upper, lower = cuts[j, level + 1] - place, cuts[j, level] - place
            chance = chance * (special.expit(upper) - special.expit(lower))
        return chance

    around = {"points": np.linspace(-5, 5, 21), "limit": 400, "epsabs": 1e-13, "epsrel": 1e-10}
    return np.array([integrate.quad(of_factor, -8, 8, (side,), **around)[0] for side in (-1, 1)])


@pytest.mark.parametrize("echo", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("num_groups", [1, 3])
def test_echo_against_quadrature(echo, num_groups):
    rng = np.random.default_rng(0)
    m, num_levels = 3, 4
    sites = echo_sites(rng, m, num_levels, num_groups, echo)
    level = np.array([[0, 0, 0], [3, 3, 3], [1, 2, 3], [0, 3, -1], [-1, 2, -1], [2, 1, 1]])
    group = np.arange(6) % num_groups
    looks = np.stack([echo_by_integral(sites, *row) for row in zip(level, group, strict=True)])
    expected = np.exp(LOG_PRIOR) * np.stack([mixed(one, sites["misled"]) for one in looks])
    model = EchoModel(num_levels=num_levels)
    found = belief_of(model, sites, coded_levels(level, num_levels, group, num_groups))
    # The factor's law ends at 3.75, where a chance of 2e-4 is cut off: it is all in what is said
    # of items of the first state that every rater puts highest.
    np.testing.assert_allclose(found, expected, rtol=3e-3)


def test_eleven_raters_confine_the_factor_and_are_still_summed_right():
    """The claim beside the nodes of the factor: an error of 1e-5 in belief."""
    rng = np.random.default_rng(1)
    sites = echo_sites(rng, 11, 11, echo=2.0)
    level = np.array([np.full(11, 5), rng.integers(0, 11, 11), rng.integers(3, 8, 11)])
    looks = np.stack([echo_by_integral(sites, row) for row in level])
    expected = np.exp(LOG_PRIOR) * np.stack([mixed(one, sites["misled"]) for one in looks])
    found = belief_of(EchoModel(), sites, coded_levels(level, 11))
    shares = [one / one.sum(axis=1, keepdims=True) for one in (found, expected)]
    np.testing.assert_allclose(*shares, atol=1e-5)


def test_states_and_levels_may_be_turned_round():
    """With everything mirrored, belief in one state is belief in the other."""
    rng = np.random.default_rng(2)
    sites = echo_sites(rng, 3, 5, 2)
    level, group = rng.integers(0, 5, (20, 3)), rng.integers(0, 2, 20)
    model = EchoModel(num_levels=5)
    found = belief_of(model, sites, coded_levels(level, 5, group, 2))
    mirrored = sites | {
        "share": sites["share"][:, ::-1],
        "misled": sites["misled"][::-1],
        "unit_lean": -sites["unit_lean"],
    }
    turned = belief_of(model, mirrored, coded_levels(4 - level, 5, group, 2), LOG_PRIOR[::-1])
    np.testing.assert_allclose(turned[:, ::-1], found, rtol=1e-10)


@pytest.mark.parametrize("num_levels", [2, 4])
def test_echo_of_one_middling_rater_says_levels_as_often_as_its_shares_tell(num_levels):
    share = np.random.default_rng(3).dirichlet(np.ones(num_levels), 1)
    sites = {"echo_mean": 0.0, "log_echo": np.zeros(1), "accuracy": np.zeros(1), "share": share}
    level = np.arange(num_levels)[:, None]
    model = EchoModel(num_levels=num_levels, misled_prior=None)
    found = belief_of(model, sites, coded_levels(level, num_levels), np.zeros(2))
    np.testing.assert_allclose(found, np.column_stack([share[0], share[0]]), rtol=1e-10)


def test_levels_are_rounded_beliefs():
    probability = np.array([0.0, 0.04, 0.06, 0.49, 0.5, 0.77, 0.96, 1.0])
    both = np.stack([1 - probability, probability], axis=-1)[:, None]
    evidence = evidence_of_probabilities(both, ["a"], ["no", "yes"])
    found = EchoModel().level(evidence.log_likelihood)
    np.testing.assert_array_equal(found[:, 0], [0, 0, 1, 5, 5, 8, 10, 10])
    np.testing.assert_array_equal(
        FactorCopula().level(evidence.log_likelihood)[:, 0], [0, 0, 0, 2, 2, 3, 4, 4]
    )


def test_echo_priors_law_by_law():
    """Of an item that nobody has rated, so that data say nothing."""
    rng = np.random.default_rng(20)
    m, num_levels, num_groups = 3, 4, 2
    model = EchoModel(num_levels=num_levels, echo_center=1.5, lean_scale=0.7)
    usual = rng.dirichlet(np.ones(num_levels))
    sites = echo_sites(rng, m, num_levels, num_groups) | {"usual_share": usual}
    prevalence = np.array([0.6, 0.4])
    expected = stats.dirichlet(20.0 * np.exp(LOG_PRIOR)).logpdf(prevalence)
    expected += stats.beta(2, 12).logpdf(sites["misled"]).sum()
    expected += stats.gamma(2, scale=0.75).logpdf(sites["echo_mean"])
    expected += stats.dirichlet(np.full(num_levels, 2.0)).logpdf(usual)
    expected += sum(stats.dirichlet(1 + 4 * usual).logpdf(share) for share in sites["share"])
    expected += stats.lognorm(0.6, scale=1.5).logpdf(sites["accuracy"]).sum()
    expected += stats.norm(0, 0.5).logpdf(sites["log_echo"]).sum()
    expected += stats.halfnorm(scale=0.7).logpdf(sites["lean_spread"])
    expected += stats.norm.logpdf(sites["unit_lean"]).sum()
    given = {name: jnp.asarray(value) for name, value in sites.items()}
    coded = coded_levels(np.full((1, m), -1), num_levels, None, num_groups)
    arguments = coded, LOG_PRIOR, jnp.array([UNKNOWN])
    given["prevalence"] = jnp.asarray(prevalence)
    found, _ = log_density(model.numpyro_model, arguments, {}, given)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


# --- factor copula -----------------------------------------------------------------------------


def copula_sites(rng, m, num_levels, tau):
    return {
        "share": rng.dirichlet(np.full(num_levels, 2.0), (m, 2)),
        "tau": np.asarray(tau, float),
        "misled": np.array([0.05, 0.3]),
    }


def given_tau(model, sites):
    """The same with tau as the model keeps it, as a share of its family's range."""
    lowest, highest = max(0.0, model.copula.tau_range[0]), model.copula.tau_range[1]
    return sites | {"tau_share": (sites["tau"] - lowest) / max(highest - lowest, 1e-300)}


@pytest.mark.parametrize("tau", [(0.1, 0.3, 0.5), (0.6, 0.0, 0.6)])
def test_gaussian_factor_against_rectangles_of_a_normal_law(tau):
    rng = np.random.default_rng(4)
    num_levels = 3
    sites = copula_sites(rng, 3, num_levels, tau)
    rho = np.sin(0.5 * np.pi * sites["tau"])
    together = stats.multivariate_normal(
        np.zeros(3), np.outer(rho, rho) + np.diag(1 - rho**2), abseps=1e-6
    )
    upper = np.minimum(np.cumsum(sites["share"], axis=-1), 1.0)
    ends = stats.norm.ppf(np.concatenate([np.zeros((3, 2, 1)), upper], axis=-1))
    ends = np.clip(ends, -9, 9)
    level = all_patterns(3, num_levels)[::4]
    looks = np.array(
        [
            [
                together.cdf(
                    [ends[j, look, row[j] + 1] for j in range(3)],
                    lower_limit=[ends[j, look, row[j]] for j in range(3)],
                    rng=np.random.default_rng(0),
                )
                for look in range(2)
            ]
            for row in level
        ]
    )
    expected = np.exp(LOG_PRIOR) * np.stack([mixed(one, sites["misled"]) for one in looks])
    model = FactorCopula(num_levels=num_levels)
    found = belief_of(model, given_tau(model, sites), coded_levels(level, num_levels))
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-5)


def h_clayton(u, v, theta):
    return (1 + u**theta * (v**-theta - 1)) ** (-1 - 1 / theta)


def h_gumbel(u, v, theta):
    x, y = -np.log(u), -np.log(v)
    total = (x**theta + y**theta) ** (1 / theta)
    return np.exp(-total) * total ** (1 - theta) * x ** (theta - 1) / u


def h_frank(u, v, theta):
    a, b = np.expm1(-theta * u), np.expm1(-theta * v)
    return (a + 1) * b / (np.expm1(-theta) + a * b)


FAMILIES = {
    "Clayton": (Clayton, h_clayton),
    "Gumbel": (Gumbel, h_gumbel),
    "Frank": (Frank, h_frank),
    "independence": (Independence, lambda u, v, theta: v),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_other_factors_against_quadrature(name):
    family, h = FAMILIES[name]
    rng = np.random.default_rng(5)
    tau = np.zeros(2) if family is Independence else np.array([0.2, 0.5])
    sites = copula_sites(rng, 2, 3, tau)
    theta = {
        "Clayton": 2 * tau / (1 - tau),
        "Gumbel": 1 / (1 - tau),
        # Where Frank's tau is 0.2 and 0.5: the roots of its integral of Debye.
        "Frank": np.array([1.860884, 5.736283]),
        "independence": tau,
    }[name]
    upper = np.cumsum(sites["share"], axis=-1)

    def below(u, j, look, level):
        if level < 0:
            return 0.0
        return 1.0 if level == 2 else h(u, upper[j, look, level], theta[j])

    def chance(u, look, row):
        steps = (below(u, j, look, row[j]) - below(u, j, look, row[j] - 1) for j in range(2))
        return np.prod(list(steps))

    level = all_patterns(2, 3)
    looks = np.array(
        [[integrate.quad(chance, 0, 1, (look, row))[0] for look in (0, 1)] for row in level]
    )
    expected = np.exp(LOG_PRIOR) * np.stack([mixed(one, sites["misled"]) for one in looks])
    model = FactorCopula(num_levels=3, copula=family)
    found = belief_of(model, given_tau(model, sites), coded_levels(level, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_margins_of_the_copula_are_as_they_are_told():
    """Whatever tau is: a rater alone says each level as often as its share tells."""
    sites = copula_sites(np.random.default_rng(6), 2, 4, (0.9, 0.3))
    model = FactorCopula(num_levels=4, misled_prior=None)
    sites = {name: value for name, value in sites.items() if name != "misled"}
    for rater in (0, 1):
        level = np.full((4, 2), -1)
        level[:, rater] = np.arange(4)
        found = belief_of(model, given_tau(model, sites), coded_levels(level, 4), np.zeros(2))
        # The sum over 31 values of the factor is an integral up to so much.
        np.testing.assert_allclose(found, sites["share"][rater].T, atol=3e-3)


# --- votes -------------------------------------------------------------------------------------


def given_vote(model, vote):
    """Parameters that make votes as probable as told: [rater, state, vote]."""
    vote = np.asarray(vote, float)
    s = vote.shape[-1]
    odds = [[vote[:, t, (t + j) % s] / vote[:, t, t] for j in range(1, s)] for t in range(s)]
    wrong = np.log(np.moveaxis(np.array(odds), -1, 0))
    return {"unit_usual": np.full((s, s - 1), np.log(model.right)), "spread": 1.0} | {
        "unit_vote": wrong
    }


def test_votes_against_a_product():
    rng = np.random.default_rng(7)
    n, m, s = 30, 4, 3
    sites = {"vote": rng.dirichlet(np.ones(s), (m, s)), "misled": np.array([0.1, 0.3, 0.6])}
    level = rng.integers(-1, s, (n, m))
    log_prior = np.log(rng.dirichlet(np.ones(s), n))
    expected = np.empty((n, s))
    for i in range(n):
        looks = [
            np.prod([sites["vote"][j, look, level[i, j]] for j in range(m) if level[i, j] >= 0])
            for look in range(s)
        ]
        expected[i] = np.exp(log_prior[i]) * mixed(looks, sites["misled"])
    model = DawidSkene()
    given = given_vote(model, sites["vote"]) | {"misled": sites["misled"]}
    found = belief_of(model, given, coded_levels(level, s), log_prior)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def plain_votes(rng, n=200, m=4, s=3):
    truth = rng.choice(s, n, p=[0.5, 0.3, 0.2])
    vote = rng.dirichlet(np.ones(s), (m, s)) * 0.4 + 0.6 * np.eye(s)
    level = np.array([[rng.choice(s, p=vote[j, t]) for j in range(m)] for t in truth])
    return level, vote


def em(level, s, steps=3000):
    """Dawid and Skene's own: who is what, then how often each says what of whom."""
    said = np.eye(s)[level]
    share = said.mean(axis=1)
    for _ in range(steps):
        prevalence = share.mean(axis=0)
        vote = np.einsum("nt,nml->mtl", share, said)
        vote = np.maximum(vote / vote.sum(axis=-1, keepdims=True), 1e-12)
        told = np.log(prevalence) + np.einsum("nml,mtl->nt", said, np.log(vote))
        share = special.softmax(told, axis=1)
    return prevalence, vote, share


def test_em_ends_where_the_likelihood_is_flat():
    """At the maximum that EM finds: its shares are beliefs, and nothing raises the likelihood."""
    level, _ = plain_votes(np.random.default_rng(8))
    prevalence, vote, share = em(level, 3)
    model = DawidSkene(misled_prior=None)
    coded = coded_levels(level, 3)
    found = belief_of(model, given_vote(model, vote), coded, np.log(prevalence))
    np.testing.assert_allclose(found / found.sum(axis=1, keepdims=True), share, atol=1e-8)

    start = given_vote(model, vote)

    def likelihood(free):
        log_prior, sites = jax.nn.log_softmax(free[0]), start | {"unit_vote": free[1]}
        told = model.log_belief(sites, coded, log_prior)
        return jnp.sum(jax.nn.logsumexp(told, axis=-1))

    slope = jax.jit(jax.grad(likelihood))((jnp.log(prevalence), jnp.asarray(start["unit_vote"])))
    assert max(float(jnp.max(jnp.abs(one))) for one in slope) < 1e-6


def test_the_whole_density_law_by_law():
    """Votes without labels: NumPyro's laws of the votes, SciPy's of the parameters."""
    level, _ = plain_votes(np.random.default_rng(9), n=25)
    model = DawidSkene(misled_prior=None, right=4.0, spread_center=0.8, spread_scale=0.4)
    rng = np.random.default_rng(10)
    prevalence, spread = np.array([0.2, 0.5, 0.3]), 0.6
    usual, unit = rng.normal(size=(3, 2)), rng.normal(size=(4, 3, 2))
    # Wrong votes by hand: the state after, then the one after that.
    wrong = np.exp(usual + spread * unit) / 4.0
    vote = np.ones((4, 3, 3))
    for state, (first, second) in enumerate([(1, 2), (2, 0), (0, 1)]):
        vote[:, state, first], vote[:, state, second] = wrong[:, state, 0], wrong[:, state, 1]
    vote /= vote.sum(axis=-1, keepdims=True)
    of_state = dist.Categorical(jnp.asarray(vote.swapaxes(0, 1))).to_event(1)
    told = np.log(prevalence) + np.asarray(of_state.log_prob(jnp.asarray(level)[:, None]))
    expected = special.logsumexp(told, axis=1).sum()
    center = np.exp([0.5, 0.3, 0.2])
    center = center / center.sum()
    expected += stats.dirichlet(20.0 * center).logpdf(prevalence)
    expected += stats.lognorm(0.4, scale=0.8).logpdf(spread)
    expected += stats.norm.logpdf(usual).sum() + stats.norm.logpdf(unit).sum()
    sites = {"unit_usual": usual, "spread": spread, "unit_vote": unit, "prevalence": prevalence}
    sites = {name: jnp.asarray(value) for name, value in sites.items()}
    truth = jnp.full(25, UNKNOWN)
    arguments = coded_levels(level, 3), jnp.log(jnp.asarray(center)), truth
    found, _ = log_density(model.numpyro_model, arguments, {}, sites)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


# --- all of them -------------------------------------------------------------------------------


RNG = np.random.default_rng(11)
ECHO = EchoModel(num_levels=3), echo_sites(RNG, 3, 3, 2)
COPULA = (
    FactorCopula(num_levels=3),
    given_tau(FactorCopula(num_levels=3), copula_sites(RNG, 3, 3, (0.2, 0.5, 0.7))),
)
VOTES = (
    DawidSkene(),
    given_vote(DawidSkene(), RNG.dirichlet(np.ones(3), (3, 3)))
    | {"misled": np.array([0.1, 0.2, 0.3])},
)
MODELS = {"echo": ECHO, "copula": COPULA, "votes": VOTES}


@pytest.mark.parametrize("name", MODELS)
def test_chances_of_all_that_raters_may_say_sum_to_the_prior(name):
    """So nothing that depends on parameters is left out of the likelihood."""
    model, sites = MODELS[name]
    s = len(sites["misled"])
    level = all_patterns(3, 3)
    log_prior = np.log(np.arange(1.0, s + 1) / np.arange(1, s + 1).sum())
    for group in (0, 1) if name == "echo" else (0,):
        num_groups = 2 if name == "echo" else 1
        coded = coded_levels(level, 3, np.full(len(level), group), num_groups)
        total = belief_of(model, sites, coded, log_prior).sum(axis=0)
        np.testing.assert_allclose(total, np.exp(log_prior), rtol=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_a_rater_that_knows_no_state_says_nothing(name):
    model, sites = MODELS[name]
    s = len(sites["misled"])
    blind = {
        "echo": {"accuracy": np.zeros(3), "unit_lean": sites.get("unit_lean")},
        "copula": {"share": np.repeat(sites.get("share", np.zeros((3, 2, 3)))[:, :1], 2, axis=1)},
        "votes": given_vote(
            DawidSkene(),
            np.repeat([[[0.2, 0.5, 0.3]], [[0.6, 0.3, 0.1]], [[0.1, 0.1, 0.8]]], 3, axis=1),
        ),
    }[name]
    log_prior = np.log(np.arange(1.0, s + 1) / np.arange(1, s + 1).sum())
    group, num_groups = (np.arange(27) % 2, 2) if name == "echo" else (None, 1)
    coded = coded_levels(all_patterns(3, 3), 3, group, num_groups)
    found = belief_of(model, sites | blind, coded, log_prior)
    found = found / found.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, np.broadcast_to(np.exp(log_prior), found.shape), rtol=1e-9)


@pytest.mark.parametrize("num_raters", [5, 50])
@pytest.mark.parametrize("name", ["echo", "votes"])
def test_items_that_mislead_bound_what_can_be_believed(name, num_raters):
    """However many agree: odds stay below those of an item that looks as it is."""
    misled = np.array([0.05, 0.2])
    sites = {
        "echo": {
            "echo_mean": 0.5,
            "log_echo": np.zeros(num_raters),
            "accuracy": np.full(num_raters, 1.5),
            "share": np.full((num_raters, 2), 0.5),
        },
        "votes": given_vote(
            DawidSkene(), np.broadcast_to([[0.9, 0.1], [0.1, 0.9]], (num_raters, 2, 2))
        ),
    }[name] | {"misled": misled}
    model = {"echo": EchoModel(num_levels=2), "votes": DawidSkene()}[name]
    coded = coded_levels(np.ones((1, num_raters), int), 2)
    found = belief_of(model, sites, coded)[0]
    bound = float(np.exp(LOG_PRIOR[1] - LOG_PRIOR[0])) * (1 - misled[1]) / misled[0]
    assert found[1] / found[0] < bound * (1 + 1e-12)
    if num_raters == 50:
        # The factor's ends, at 3.75, let an echo alone say so in one item of a thousand.
        np.testing.assert_allclose(found[1] / found[0], bound, rtol=1e-2)
    plain = belief_of(model, {k: v for k, v in sites.items() if k != "misled"}, coded)[0]
    assert plain[1] / plain[0] > 4 * bound


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_finite_where_shares_vanish(name):
    """Levels that nobody says, and the ends of every range."""
    model, sites = MODELS[name]
    s, num_groups = len(sites["misled"]), 2 if name == "echo" else 1
    never = np.array([0.0, 1.0, 0.0])
    extreme = {
        "misled": np.full(s, 1e-300),
        "share": np.broadcast_to(never, np.shape(sites.get("share", np.zeros((3, 3, 3))))),
        "unit_vote": np.broadcast_to([-700.0, 700.0], (3, 3, 2)),
        "tau_share": np.array([0.0, 1.0, 1e-12]),
        "accuracy": np.array([1e-300, 50.0, 1.0]),
        "echo_mean": 0.0,
    }
    sites = {k: jnp.asarray(extreme.get(k, value), float) for k, value in sites.items()}
    coded = coded_levels(all_patterns(3, 3), 3, np.zeros(27, int), num_groups)
    log_prior = jnp.full(s, -jnp.log(s))
    total = lambda sites: jnp.sum(model.log_belief(sites, coded, log_prior))  # noqa: E731
    value, slope = jax.jit(jax.value_and_grad(total))(sites)
    assert np.isfinite(float(value))
    for site, leaf in slope.items():
        assert np.all(np.isfinite(leaf)), site


# --- what data were made of is found again, and copies ------------------------------------------


def evidence_of_levels(level, num_levels):
    """Levels as beliefs that are cut into them."""
    belief = np.asarray(level) / (num_levels - 1)
    both = np.stack([1 - belief, belief], axis=-1)
    raters = [f"rater {j}" for j in range(level.shape[1])]
    return evidence_of_probabilities(both, raters, ["no", "yes"])


FEW = Laplace(num_draws=200)


def misleading(rng, truth, misled):
    return np.where(rng.random(len(truth)) < np.asarray(misled)[truth], 1 - truth, truth)


def echoing(rng, sites, truth, group):
    """Levels of each rater: places on its scale, cut."""
    looks = misleading(rng, truth, sites["misled"])
    n, m = len(truth), len(sites["accuracy"])
    place = np.where(looks == 1, 1.0, -1.0)[:, None] * sites["accuracy"]
    place = place + sites["lean"][group] + sites["echo"] * rng.normal(size=(n, 1))
    place = place + rng.logistic(size=(n, m))
    cuts = special.logit(np.cumsum(sites["share"], axis=1)[:, :-1])
    return (place[:, :, None] > cuts).sum(axis=-1)


def within(found, expected, deviations=4.0):
    """Whether means are as near to the truth as draws are to their mean."""
    found = np.asarray(found)
    apart = np.abs(found.mean(axis=0) - expected) / found.std(axis=0)
    return np.all(apart < deviations)


@pytest.mark.slow
def test_echo_misled_and_leaning_raters_are_found_in_a_thousand_items():
    rng = np.random.default_rng(12)
    sites = {
        "accuracy": np.array([2.0, 1.2, 1.5]),
        "echo": np.array([1.5, 1.0, 0.6]),
        "share": np.array([[0.3, 0.2, 0.2, 0.3], [0.1, 0.4, 0.3, 0.2], [0.25] * 4]),
        # The first rater favours the second group; what all raters have in common is no lean.
        "lean": np.array([[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0]]),
        "misled": np.array([0.08, 0.15]),
    }
    truth, group = rng.integers(0, 2, 1000), rng.integers(0, 2, 1000)
    level = echoing(rng, sites, truth, group)
    known = np.where(np.arange(1000) < 400, truth, UNKNOWN)
    found = EchoModel(num_levels=4).fit(
        jax.random.key(13), evidence_of_levels(level, 4), known, group=group, method=FEW
    )
    at = found.sites
    echo = np.asarray(at["echo_mean"])[:, None] * np.exp(at["log_echo"])
    for name, draws in {**at, "echo": echo}.items():
        if name in sites:
            assert within(draws, sites[name]), name
    lean = np.asarray(at["lean"])
    np.testing.assert_allclose(lean.sum(axis=1), 0.0, atol=1e-12)
    chance = np.mean(np.abs(lean) > 0.25, axis=0)
    assert np.all(chance[:, 0] > 0.95)
    assert np.all(chance[:, 1:] < 0.5)
    belief = np.asarray(found.belief(evidence_of_levels(level, 4), group=group))[:, 1]
    # Of those without a label, in six equal parts: as many are of the second state as believed.
    rest = np.argsort(belief[400:]).reshape(6, -1)
    share, told = truth[400:][rest].mean(axis=1), belief[400:][rest].mean(axis=1)
    np.testing.assert_allclose(told, share, atol=0.15)


@pytest.mark.slow
def test_confusion_and_misled_items_are_found_in_a_thousand_votes():
    rng = np.random.default_rng(14)
    vote = np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.7, 0.3], [0.1, 0.9]], [[0.8, 0.2], [0.3, 0.7]]])
    misled = np.array([0.05, 0.2])
    truth = (rng.random(1000) < 0.4).astype(int)
    looks = misleading(rng, truth, misled)
    level = (rng.random((1000, 3)) < vote[:, looks, 1].T).astype(int)
    known = np.where(np.arange(1000) < 400, truth, UNKNOWN)
    evidence = evidence_of_levels(level, 2)
    found = DawidSkene().fit(jax.random.key(15), evidence, known, method=FEW).sites
    assert within(found["vote"], vote)
    assert within(found["misled"], misled)
    assert within(found["prevalence"], np.array([0.6, 0.4]))
    assert np.max(np.std(found["vote"], axis=0)) < 0.1


@pytest.mark.slow
def test_margins_and_ties_of_the_copula_are_found_in_a_thousand_items():
    rng = np.random.default_rng(16)
    share = np.array([[[0.6, 0.3, 0.1], [0.1, 0.3, 0.6]], [[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]]] * 2)
    rho = np.sin(0.5 * np.pi * np.array([0.6, 0.4, 0.3, 0.5]))
    truth = rng.integers(0, 2, 1000)
    looks = misleading(rng, truth, [0.1, 0.1])
    normal = rho * rng.normal(size=(1000, 1)) + np.sqrt(1 - rho**2) * rng.normal(size=(1000, 4))
    cuts = stats.norm.ppf(np.cumsum(share, axis=-1)[..., :-1])
    level = (normal[:, :, None] > cuts[:, looks].swapaxes(0, 1)).sum(axis=-1)
    evidence, model = evidence_of_levels(level, 3), FactorCopula(num_levels=3)
    found = model.fit(jax.random.key(17), evidence, truth, method=FEW)
    assert within(found.sites["tau"], np.array([0.6, 0.4, 0.3, 0.5]))
    assert within(found.sites["share"], share)


def copies_move_belief(model, num_copies=10):
    """Largest change of belief in any item where one of three raters is there ten times."""
    rng = np.random.default_rng(18)
    sites = {
        "accuracy": np.full(3, 1.5),
        "echo": np.full(3, 1.0),
        "share": np.full((3, 2), 0.5),
        "lean": np.zeros((1, 3)),
        "misled": np.array([0.1, 0.1]),
    }
    truth = rng.integers(0, 2, 80)
    level = echoing(rng, sites, truth, np.zeros(80, int))
    known = np.where(np.arange(80) < 20, truth, UNKNOWN)
    many = np.concatenate([level, np.repeat(level[:, :1], num_copies - 1, axis=1)], axis=1)
    beliefs = []
    for one in (level, many):
        evidence = evidence_of_levels(one, 2)
        found = model.fit(jax.random.key(19), evidence, known, method=FEW)
        beliefs.append(np.asarray(found.belief(evidence))[20:, 1])
    return np.max(np.abs(beliefs[1] - beliefs[0])), beliefs[1].max()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "most"),
    [(EchoModel(num_levels=2), 0.5), (DawidSkene(), 0.65)],
    ids=["echo", "votes"],
)
def test_copies_of_a_rater_outvote_others_and_still_leave_doubt(model, most):
    """Belief moves by 0.36 and 0.53 in the item where it moves most; none is above 0.86."""
    moved, highest = copies_move_belief(model)
    assert moved < most
    assert highest < 0.95


@pytest.mark.slow
def test_copies_of_a_rater_make_the_model_of_1979_sure():
    moved, highest = copies_move_belief(DawidSkene(misled_prior=None))
    assert moved > 0.7
    assert highest > 1 - 1e-6

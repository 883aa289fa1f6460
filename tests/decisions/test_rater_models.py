"""What every model of raters must do, whatever it learns: one list of cases, one contract."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.handlers import seed
from numpyro.infer.util import log_density
from scipy import stats

from jaxcascade.copulas import Clayton
from jaxcascade.decisions.dawid_skene import DawidSkene
from jaxcascade.decisions.echo import EchoModel
from jaxcascade.decisions.evidence import Evidence
from jaxcascade.decisions.factor_copula import FactorCopula
from jaxcascade.decisions.rater_model import (
    UNKNOWN,
    RaterModel,
    RaterPosterior,
    checked_truth,
    draw_parameters,
    log_of_prior,
)
from jaxcascade.decisions.tempered import TemperedPool
from jaxcascade.errors import InvalidInputError
from jaxcascade.posterior import Laplace, Nuts
from tests.decisions.sites import OF_SIMPLEX, some_sites

RATERS = ("a", "b", "c")
NUM_ITEMS, NUM_DRAWS = 12, 6
# Sites that have an entry for each rater, and along which axis.
OF_RATERS = {
    **dict.fromkeys(("weight", "unit_departure", "unit_vote", "share"), 0),
    **dict.fromkeys(("accuracy", "log_echo", "tau_share"), 0),
    "unit_lean": 1,
}


class Case(NamedTuple):
    """A model, and what it is asked about."""

    model: RaterModel
    num_states: int = 2
    num_groups: int = 1

    @property
    def states(self):
        return ("x", "y", "z")[: self.num_states]


CASES = {
    "tempered": Case(TemperedPool()),
    "tempered, domains": Case(TemperedPool(), 3, 3),
    "votes": Case(DawidSkene(), 3),
    "votes of 1979": Case(DawidSkene(misled_prior=None)),
    "echo": Case(EchoModel(num_levels=4), 2, 3),
    "echo of votes": Case(EchoModel(num_levels=2, misled_prior=None)),
    "copula": Case(FactorCopula(num_levels=3, copula=Clayton)),
}


def said(case, rng, n=NUM_ITEMS):
    """Evidence with gaps: of the first item, nobody is known."""
    log_likelihood = rng.normal(0.0, 1.5, (n, len(RATERS), case.num_states))
    known = rng.random((n, len(RATERS))) < 0.7
    known[:, 0], known[0], known[1:3] = True, False, True
    return Evidence(
        jnp.asarray(np.where(known[..., None], log_likelihood, 0.0)),
        jnp.asarray(known),
        RATERS,
        case.states,
        tuple(range(n)),
    )


class Asked(NamedTuple):
    """Some parameters in the place of a fit, and evidence to apply them to."""

    case: Case
    posterior: RaterPosterior
    evidence: Evidence
    group: np.ndarray

    def draws(self, evidence=None, **settings):
        evidence = self.evidence if evidence is None else evidence
        settings = {"group": self.group} | settings
        return np.asarray(self.posterior.belief_draws(evidence, **settings))


@pytest.fixture(scope="module", params=CASES, ids=list(CASES))
def asked(request):
    case = CASES[request.param]
    rng = np.random.default_rng(3)
    evidence = said(case, rng)
    group = rng.integers(0, case.num_groups, NUM_ITEMS)
    log_prior = jnp.log(jnp.array([0.5, 0.3, 0.2])[: case.num_states])
    log_prior = jax.nn.log_softmax(log_prior)
    coded = case.model.coded(
        evidence.log_likelihood, evidence.known, jnp.asarray(group), case.num_groups
    )
    sites = some_sites(rng, case.model.start(coded, log_prior), NUM_DRAWS)
    posterior = RaterPosterior(
        case.model, RATERS, case.states, case.num_groups, log_prior, sites, {}
    )
    return Asked(case, posterior, evidence, group)


def replaced(evidence, log_likelihood=None, known=None):
    return Evidence(
        evidence.log_likelihood if log_likelihood is None else jnp.asarray(log_likelihood),
        evidence.known if known is None else jnp.asarray(known),
        evidence.raters,
        evidence.states,
        evidence.items,
    )


def in_log_odds(probability):
    return np.log(probability) - np.log(probability[..., :1])


def test_beliefs_are_probabilities_and_their_mean_is_the_belief(asked):
    draws = asked.draws()
    assert draws.shape == (NUM_DRAWS, NUM_ITEMS, asked.case.num_states)
    np.testing.assert_allclose(draws.sum(axis=-1), 1.0, rtol=1e-12)
    assert np.all(draws > 0)
    assert np.ptp(draws, axis=0)[1:].min() > 0
    mean = asked.posterior.belief(asked.evidence, group=asked.group)
    np.testing.assert_allclose(mean, draws.mean(axis=0), rtol=1e-12)


def test_an_item_that_no_rater_knows_has_the_prior(asked):
    own = asked.posterior.sites.get("prevalence", np.exp(asked.posterior.log_prior)[None])
    np.testing.assert_allclose(
        asked.draws()[:, 0],
        np.broadcast_to(own, (NUM_DRAWS, asked.case.num_states)),
        rtol=1e-12,
    )
    given = np.array([0.2, 0.7, 0.1])[: asked.case.num_states]
    given = given / given.sum()
    found = asked.draws(prior=given)[:, 0]
    np.testing.assert_allclose(found, np.broadcast_to(given, found.shape), rtol=1e-12)


def test_what_an_unknown_rater_is_said_to_say_changes_nothing(asked):
    noise = np.random.default_rng(5).normal(0, 30, asked.evidence.log_likelihood.shape)
    noise[1::2] = np.nan
    known = np.asarray(asked.evidence.known)
    wild = np.where(known[..., None], asked.evidence.log_likelihood, noise)
    np.testing.assert_array_equal(asked.draws(replaced(asked.evidence, wild)), asked.draws())


def test_a_constant_per_item_and_rater_changes_nothing(asked):
    constant = np.random.default_rng(6).normal(0, 10, (NUM_ITEMS, len(RATERS), 1))
    moved = replaced(asked.evidence, asked.evidence.log_likelihood + constant)
    np.testing.assert_allclose(asked.draws(moved), asked.draws(), rtol=1e-9)


def by_rater(sites, indices):
    """The same parameters for some raters, or for raters in another order."""
    taken = {
        name: jnp.take(values, jnp.array(indices), axis=1 + OF_RATERS[name])
        for name, values in sites.items()
        if name in OF_RATERS
    }
    return sites | taken


@pytest.mark.parametrize("indices", [(2, 0, 1), (1,)], ids=["in another order", "one alone"])
def test_raters_have_no_order_and_missing_ones_no_say(asked, indices):
    there = np.isin(np.arange(len(RATERS)), indices)
    known = asked.evidence.known & there
    expected = asked.draws(replaced(asked.evidence, known=known))
    names = tuple(RATERS[i] for i in indices)
    turned = Evidence(
        asked.evidence.log_likelihood[:, jnp.array(indices)],
        asked.evidence.known[:, jnp.array(indices)],
        names,
        asked.case.states,
        asked.evidence.items,
    )
    posterior = RaterPosterior(
        asked.case.model,
        names,
        asked.case.states,
        asked.case.num_groups,
        asked.posterior.log_prior,
        by_rater(asked.posterior.sites, indices),
        {},
    )
    found = posterior.belief_draws(turned, group=asked.group)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_items_have_no_order_and_no_company(asked):
    order = np.random.default_rng(7).permutation(NUM_ITEMS)
    turned = asked.evidence.take(order)
    log_likelihood = turned.log_likelihood.at[4:].multiply(-2.0)
    other = replaced(turned, log_likelihood, turned.known.at[4:].set(True))
    found = asked.draws(other, group=asked.group[order])
    np.testing.assert_allclose(found[:, :4], asked.draws()[:, order[:4]], rtol=1e-10)


def test_another_prior_moves_the_odds_of_every_draw_by_its_ratio(asked):
    s = asked.case.num_states
    one, other = np.array([0.5, 0.3, 0.2])[:s], np.array([0.05, 0.35, 0.6])[:s]
    one, other = one / one.sum(), other / other.sum()
    before, after = asked.draws(prior=one), asked.draws(prior=other)
    moved = in_log_odds(after) - in_log_odds(before)
    expected = np.broadcast_to(in_log_odds(other) - in_log_odds(one), moved.shape)
    np.testing.assert_allclose(moved, expected, atol=1e-9)
    each = np.where(np.arange(NUM_ITEMS)[:, None] % 2 == 0, one, other)
    mixed = asked.draws(prior=each)
    np.testing.assert_allclose(mixed[:, ::2], before[:, ::2], rtol=1e-12)
    np.testing.assert_allclose(mixed[:, 1::2], after[:, 1::2], rtol=1e-12)


def test_the_prior_of_the_fit_is_the_default_where_none_is_learnt(asked):
    learnt = "prevalence" in asked.posterior.sites
    same = asked.draws(prior=np.exp(asked.posterior.log_prior))
    assert np.allclose(same, asked.draws(), rtol=1e-9) == (not learnt)


def test_a_posterior_survives_jit_vmap_and_a_round_trip(asked):
    posterior = asked.posterior
    leaves, structure = jax.tree.flatten(posterior)
    again = jax.tree.unflatten(structure, leaves)
    assert (again.raters, again.states) == (posterior.raters, posterior.states)
    coded, log_prior = again._looked_at(asked.evidence, None, asked.group)
    logits = lambda sites, prior: again.model.log_belief(sites, coded, prior)  # noqa: E731
    found = jax.jit(jax.vmap(logits))(again.sites, log_prior)
    found = jax.nn.softmax(found, axis=-1)
    np.testing.assert_allclose(found[:, 1:], asked.draws()[:, 1:], rtol=1e-9)


# --- the density that is sampled -------------------------------------------------------------


@pytest.fixture(scope="module")
def joint(asked):
    """Log density of parameters and data, with its gradient, compiled once."""
    coded, _ = asked.posterior._looked_at(asked.evidence, None, asked.group)
    model, log_prior = asked.case.model.numpyro_model, asked.posterior.log_prior

    @jax.jit
    @jax.value_and_grad
    def density(sites, truth):
        return log_density(model, (coded, log_prior, truth), {}, sites)[0]

    return density


def test_labels_that_are_unknown_are_summed_out(asked, joint):
    """Without an item's label the density is the sum of those with each, and so is its share."""
    sites = jax.tree.map(lambda leaf: leaf[0], asked.posterior.sites)
    truth = np.arange(NUM_ITEMS) % asked.case.num_states
    truth[4:] = UNKNOWN
    each = []
    for state in (*range(asked.case.num_states), UNKNOWN):
        truth[2] = state
        each.append(float(joint(sites, jnp.asarray(truth))[0]))
    *each, without = each
    np.testing.assert_allclose(np.logaddexp.reduce(each), without, rtol=1e-10)
    np.testing.assert_allclose(np.exp(np.array(each) - without), asked.draws()[0, 2], rtol=1e-9)


def test_gradients_are_finite_at_every_draw(asked, joint):
    for draw in range(NUM_DRAWS):
        sites = jax.tree.map(lambda leaf: leaf[draw], asked.posterior.sites)  # noqa: B023
        for leaf in jax.tree.leaves(joint(sites, jnp.full(NUM_ITEMS, UNKNOWN).at[0].set(1))):
            assert np.all(np.isfinite(leaf))


def test_the_start_is_possible_and_has_all_sites(asked, joint):
    coded, _ = asked.posterior._looked_at(asked.evidence, None, asked.group)
    start = asked.case.model.start(coded, asked.posterior.log_prior)
    # Through NumPy, so that nothing is compiled anew for types that JAX calls weak.
    start = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), start)
    told = {name: values.shape[1:] for name, values in asked.posterior.sites.items()}
    assert {name: np.shape(value) for name, value in start.items()} == told
    for leaf in jax.tree.leaves(joint(start, jnp.arange(NUM_ITEMS) % asked.case.num_states)):
        assert np.all(np.isfinite(leaf))


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["raters", "states"])
def test_evidence_of_others_is_refused(asked, name):
    names = {"raters": RATERS, "states": asked.case.states}
    expected = ", ".join(names[name])
    names[name] = names[name][::-1]
    other = Evidence(
        asked.evidence.log_likelihood,
        asked.evidence.known,
        names["raters"],
        names["states"],
        asked.evidence.items,
    )
    words = f"have the {name} of the fit, {expected}, in that order; it has {names[name][0]}"
    for call in (asked.posterior.belief, asked.posterior.belief_draws):
        with pytest.raises(InvalidInputError, match=words):
            call(other)


def test_groups_that_the_fit_had_not_are_refused(asked):
    count = asked.case.num_groups
    group = np.full(NUM_ITEMS, count)
    words = f"`group` must be below {count}, the number of groups.*the largest is {count}. Fit ag"
    with pytest.raises(InvalidInputError, match=words):
        asked.posterior.belief(asked.evidence, group=group)


def test_items_of_one_group_alone_are_as_among_others(asked):
    alone = asked.draws(group=np.full(NUM_ITEMS, asked.group.max()))
    picked = asked.group == asked.group.max()
    np.testing.assert_allclose(alone[:, picked], asked.draws()[:, picked], rtol=1e-10)
    assert np.any(alone != asked.draws()) == (asked.case.num_groups > 1)


@pytest.mark.parametrize(
    ("truth", "words"),
    [
        ([0, 1, 2, -1], r"states x, y, from 0 to 1, or -1 .*; 1 are others, the first 2 of item 2"),
        ([0, -2, 5, -1], "2 are others, the first -2 of item 1"),
        ([0, 1, 0], r"one label for each of the 4 items, -1 where .*; its shape is \(3,\)"),
        ([[0, 1, 0, 1]], r"its shape is \(1, 4\)"),
    ],
)
def test_what_are_no_labels(truth, words):
    with pytest.raises(InvalidInputError, match=f"`truth` must hold.*{words}"):
        checked_truth(np.array(truth), 4, ("x", "y"))


@pytest.mark.parametrize(
    ("prior", "words"),
    [
        ([0.5, 0.4], "sum to 1; its smallest entry is 0.4, sums go from 0.9 to 0.9"),
        ([1.0, 0.0], "above 0 in each state and sum to 1; its smallest entry is 0,"),
        ([1.2, -0.2], "its smallest entry is -0.2"),
        ([0.2, np.nan], "its smallest entry is nan"),
        ([0.2, 0.3, 0.5], r"shape \(2,\), or \(4, 2\) for one per item; got \(3,\)"),
        ([[0.5, 0.5]] * 3, r"got \(3, 2\)"),
        ([[0.5, 0.5]] * 3 + [[0.5, 0.6]], "sums go from 1 to 1.1"),
    ],
)
def test_what_are_no_priors(prior, words):
    with pytest.raises(InvalidInputError, match=f"`prior` must.*{words}"):
        log_of_prior(np.array(prior), 4, 2)


def test_a_fit_refuses_them_too():
    evidence = said(CASES["tempered"], np.random.default_rng(0), 4)
    key, model = jax.random.key(0), TemperedPool()
    with pytest.raises(InvalidInputError, match="`truth` must hold positions"):
        model.fit(key, evidence, np.array([0, 1, 2, 0]))
    with pytest.raises(InvalidInputError, match="`prior` must be above 0"):
        model.fit(key, evidence, prior=np.array([0.5, 0.6]))
    for group in ([0, 1, -1, 0], [0, 1]):
        words = rf"`group` must hold a number from 0 on for each of the 4 .* \({len(group)},\)"
        with pytest.raises(InvalidInputError, match=words):
            model.fit(key, evidence, group=np.array(group))


@pytest.mark.parametrize("model", [EchoModel(), FactorCopula()], ids=["echo", "copula"])
def test_levels_of_belief_are_of_two_states(model):
    evidence = said(Case(model, 3), np.random.default_rng(0))
    words = "needs two states; there are 3. With more, use `TemperedPool` or `DawidSkene`"
    with pytest.raises(InvalidInputError, match=words):
        model.fit(jax.random.key(0), evidence)


# --- are draws those of the posterior? ---------------------------------------------------------


class Simulated(NamedTuple):
    """A model, how many data sets are simulated from it, and how often 90 % intervals hold."""

    model: RaterModel
    sets: int
    held: tuple[float, float] = (0.86, 0.94)


SETS = {
    "tempered": Simulated(TemperedPool(), 400),
    "votes": Simulated(DawidSkene(), 400),
    # Too narrow by 4 to 9 points; three times as many turns of the sampler win back 2 of them.
    "echo": Simulated(EchoModel(num_levels=4), 240, (0.77, 0.94)),
}
NUM_LABELLED, NUM_SIMULATED, NUM_RANKED = 20, 60, 199
NUM_BINS, FAILURE_RATE = 10, 0.01
LOG_PRIOR = jnp.log(jnp.array([0.6, 0.4]))


def simulated_levels(key, model, sites, n, m):
    """Truth and levels as the models tell it: an item's state, its looks, its factor, its raters.

    The factor of an item is drawn from its continuous law, and each rater's place on its scale,
    so that nothing here is a table or a sum.
    """
    of_truth, of_looks, of_factor, of_raters = jax.random.split(key, 4)
    truth = jax.random.categorical(of_truth, jnp.log(sites["prevalence"]), shape=(n,))
    misleads = jax.random.uniform(of_looks, (n,)) < sites["misled"][truth]
    looks = jnp.where(misleads, 1 - truth, truth)
    if isinstance(model, DawidSkene):
        odds = jnp.exp(sites["unit_usual"] + sites["spread"] * sites["unit_vote"]) / model.right
        wrong = (odds / (1.0 + odds))[:, looks, 0].T
        errs = jax.random.uniform(of_raters, (n, m)) < wrong
        return truth, jnp.where(errs, 1 - looks[:, None], looks[:, None])
    factor = jax.random.normal(of_factor, (n, 1))
    echo = sites["echo_mean"] * jnp.exp(sites["log_echo"])
    place = sites["accuracy"] * jnp.where(looks == 1, 1.0, -1.0)[:, None] + echo * factor
    place = place + jax.random.logistic(of_raters, (n, m))
    below = jnp.cumsum(sites["share"], axis=-1)[:, :-1]
    cuts = jnp.log(below) - jnp.log1p(-below)
    return truth, jnp.sum(place[:, :, None] > cuts, axis=-1)


def simulated(key, model, log_prior=LOG_PRIOR, n=NUM_SIMULATED, m=3):
    """Parameters from the prior, and data: coded evidence and the truth of all items."""
    of_sites, of_evidence, of_truth = jax.random.split(key, 3)
    group, known = jnp.zeros(n, int), jnp.ones((n, m), bool)
    if isinstance(model, TemperedPool):
        ratio = 2.0 * jax.random.normal(of_evidence, (n, m)) + jax.random.normal(of_truth, (n, 1))
        told = jnp.stack([jnp.zeros_like(ratio), ratio], axis=-1)
        coded = model.coded(told, known, group, 1)
        sites = seed(model.parameters, of_sites)(coded, log_prior)
        law = model.log_belief(sites, coded, log_prior)
        return sites, coded, jax.random.categorical(of_truth, law)
    count = model.level_count(2)
    blank = (jnp.zeros((n, m, count)), group, 1)
    sites = seed(model.parameters, of_sites)(blank, log_prior)
    truth, level = simulated_levels(of_evidence, model, sites, n, m)
    return sites, (jax.nn.one_hot(level, count), group, 1), truth


def asked_of(model):
    """Four new items: all raters say the highest, two of them do, one, none."""
    higher = np.arange(len(RATERS)) < np.arange(3, -1, -1)[:, None]
    ratio = jnp.asarray(np.where(higher, 3.0, -3.0))
    told = jnp.stack([jnp.zeros_like(ratio), ratio], axis=-1)
    return model.coded(told, jnp.ones(ratio.shape, bool), jnp.zeros(4, int), 1)


def looked_at(model, sites, log_prior=LOG_PRIOR):
    """Parameters, and what they say of new items."""
    own = jnp.log(sites["prevalence"]) if "prevalence" in sites else log_prior
    belief = jax.nn.log_softmax(model.log_belief(sites, asked_of(model), own), axis=-1)[:, 1]
    of_free = {name: value for name, value in sites.items() if name != "evenness"}
    of_free |= {name: value[..., 1:] for name, value in of_free.items() if name in OF_SIMPLEX}
    return of_free | {"belief": belief}


def ranks(setting):
    """Of every quantity: the true value's rank among the draws, over simulated sets."""
    model = setting.model
    method = Laplace(num_draws=NUM_RANKED)
    labelled = jnp.arange(NUM_SIMULATED) < NUM_LABELLED

    def one(key):
        of_data, of_draws = jax.random.split(key)
        sites, coded, truth = simulated(of_data, model)
        truth = jnp.where(labelled, truth, UNKNOWN)
        drawn = draw_parameters(of_draws, model, coded, LOG_PRIOR, truth, method)
        draws = jax.vmap(lambda sites: looked_at(model, sites))(drawn.sites)
        true = looked_at(model, sites)
        rank = {name: jnp.sum(draws[name] < true[name], axis=0) for name in true}
        return rank, drawn.diagnostics["pareto_k"]

    keys = jax.random.split(jax.random.key(11), setting.sets)
    rank, pareto_k = eqx.filter_jit(lambda keys: jax.lax.map(one, keys))(keys)
    return jax.tree.map(np.asarray, rank), np.asarray(pareto_k)


def by_quantity(rank):
    """One column of ranks for every number."""
    return {
        f"{name}{list(at)}": values[(slice(None), *at)]
        for name, values in rank.items()
        for at in np.ndindex(values.shape[1:])
    }


@pytest.fixture(scope="module", params=SETS, ids=list(SETS))
def ranked(request):
    setting = SETS[request.param]
    return setting, by_quantity(ranks(setting)[0])


@pytest.mark.slow
def test_ranks_of_true_values_are_uniform(ranked):
    """Of a hundred runs of this test, with other data, one should fail."""
    _, of_quantity = ranked
    p_value = {
        name: stats.chisquare(
            np.histogram((values + 0.5) / (NUM_RANKED + 1), NUM_BINS, (0, 1))[0]
        ).pvalue
        for name, values in of_quantity.items()
    }
    limit = FAILURE_RATE / len(of_quantity)
    assert {name: p for name, p in p_value.items() if p < limit} == {}


@pytest.mark.slow
def test_intervals_hold_what_they_say(ranked):
    """Of what decisions hang on: 0.86 to 0.94 is 2.7 standard errors of 400 sets around 0.9."""
    setting, of_quantity = ranked
    lowest, highest = 0.05 * (NUM_RANKED + 1), 0.95 * (NUM_RANKED + 1)
    held = {
        name: np.mean((values >= lowest) & (values < highest))
        for name, values in of_quantity.items()
        if name.startswith(("strength", "spread", "misled", "accuracy", "belief"))
    }
    low, high = setting.held
    assert {name: share for name, share in held.items() if not low <= share <= high} == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_laplace_agrees_with_nuts(name):
    """Means within a quarter of a standard deviation, spreads within three tenths of each other.

    The noise of means is 0.03 of 1,000 draws by Laplace, and 0.04 of the 600 effective ones that
    NUTS has at least where tails are short.
    """
    apart, drawn = laplace_against_nuts(SETS[name].model)
    assert float(jnp.mean(drawn[1].diagnostics["diverging"])) < 0.01
    assert max(np.max(np.abs(of_mean)) for of_mean, _ in apart.values()) < 0.25
    assert max(np.max(np.abs(np.log(of_spread))) for _, of_spread in apart.values()) < 0.3


def laplace_against_nuts(model, seed_of_data=4, num_draws=1000):
    """How far apart means are, in standard deviations by NUTS, and the ratio of spreads."""
    of_data, *keys = jax.random.split(jax.random.key(seed_of_data), 3)
    _, coded, truth = simulated(of_data, model)
    truth = jnp.where(jnp.arange(NUM_SIMULATED) < NUM_LABELLED, truth, UNKNOWN)
    methods = Laplace(num_draws=num_draws), Nuts(num_chains=2, num_draws=num_draws)
    drawn = [
        draw_parameters(key, model, coded, LOG_PRIOR, truth, method)
        for key, method in zip(keys, methods, strict=True)
    ]
    told = [
        jax.tree.map(np.asarray, jax.vmap(lambda sites: looked_at(model, sites))(one.sites))
        for one in drawn
    ]
    apart = {
        name: (
            (told[0][name].mean(axis=0) - values.mean(axis=0)) / values.std(axis=0),
            told[0][name].std(axis=0) / values.std(axis=0),
        )
        for name, values in told[1].items()
    }
    return apart, drawn

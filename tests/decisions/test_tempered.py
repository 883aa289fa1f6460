"""The tempered pool against its formula, and its draws against sums over a grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer.util import log_density
from scipy import special, stats

from jaxcascade.decisions.evidence import Evidence
from jaxcascade.decisions.pools import belief, pooled
from jaxcascade.decisions.rater_model import UNKNOWN
from jaxcascade.decisions.tempered import TemperedPool
from jaxcascade.errors import InvalidInputError
from jaxcascade.posterior import Laplace

MODEL = TemperedPool()
NUM_ITEMS = 40
METHOD = Laplace(num_draws=2000)
# Five standard errors of a mean of 2,000 draws, of which a belief's standard deviation is below
# 0.3, as that of the uniform law.
NOISE = 5 * 0.3 / 2000**0.5


def evidence_of(log_likelihood, known=None):
    log_likelihood = jnp.asarray(log_likelihood, float)
    n, m, s = log_likelihood.shape
    known = np.ones((n, m), bool) if known is None else known
    names = ([f"rater {j}" for j in range(m)], [f"state {i}" for i in range(s)], range(n))
    return Evidence(log_likelihood, jnp.asarray(known), *map(tuple, names))


def of_ratios(ratio, copies=1):
    """Evidence of one rater, or of copies of it, from its log-likelihood ratios."""
    both = np.stack([np.zeros_like(ratio), ratio], axis=-1)
    return evidence_of(np.repeat(both[:, None], copies, axis=1))


# --- the formula -------------------------------------------------------------------------------


def by_hand(sites, log_likelihood, known, domain, log_prior):
    """Belief in the states of one item, rater by rater."""
    pull, apart = np.zeros((2, log_likelihood.shape[-1]))
    total = sum(sites["weight"][known])
    for j in np.flatnonzero(known):
        pull += sites["weight"][j] / total * (log_likelihood[j] - log_likelihood[j, 0])
        departure = sites["departure_scale"] * sites["unit_departure"][j]
        apart += departure * (log_likelihood[j] - log_likelihood[j, 0])
    of_strength, of_offset = sites["domain_spread"]
    strength = sites["strength"] * np.exp(of_strength * sites["domain_strength"][domain])
    offset = sites["offset"] + of_offset * sites["domain_offset"][domain]
    odds = np.exp(log_prior + np.append(0.0, offset) + strength * pull + apart)
    return odds / odds.sum()


def some_pool(rng, m, s, num_domains):
    return {
        "strength": rng.lognormal(),
        "offset": rng.normal(size=s - 1),
        "evenness": rng.gamma(MODEL.evenness),
        "weight": rng.dirichlet(np.full(m, 3.0)),
        "departure_scale": np.abs(rng.normal()),
        "unit_departure": rng.normal(size=m),
        "domain_spread": np.abs(rng.normal(size=2)),
        "domain_strength": rng.normal(size=num_domains),
        "domain_offset": rng.normal(size=(num_domains, s - 1)),
    }


def prior_by_hand(model, sites):
    """Log density of the parameters, law by law."""
    units = [sites[name] for name in ("unit_departure", "domain_strength", "domain_offset")]
    return (
        stats.lognorm(model.strength_scale, scale=model.strength_center).logpdf(sites["strength"])
        + stats.norm(0, model.offset_scale).logpdf(sites["offset"]).sum()
        + stats.gamma(model.evenness).logpdf(sites["evenness"])
        + stats.dirichlet(np.full(4, 0.5 + sites["evenness"])).logpdf(sites["weight"])
        + stats.halfnorm(scale=model.domain_scale).logpdf(sites["domain_spread"]).sum()
        + stats.halfnorm(scale=model.departure_scale).logpdf(sites["departure_scale"])
        + sum(stats.norm().logpdf(one).sum() for one in units)
    )


@pytest.mark.parametrize("model", [MODEL, TemperedPool(1.3, 0.2, 4.0, 0.3, 0.6, 0.9)])
def test_density_and_belief_by_hand_where_raters_are_missing(model):
    rng = np.random.default_rng(0)
    n, m, s, num_domains = 15, 4, 3, 2
    log_likelihood, known = rng.normal(0, 2, (n, m, s)), rng.random((n, m)) < 0.6
    known[:, 0] = True
    domain, truth = rng.integers(0, num_domains, n), rng.integers(UNKNOWN, s, n)
    log_prior = np.log(rng.dirichlet(np.ones(s), n))
    coded = model.coded(
        jnp.asarray(log_likelihood), jnp.asarray(known), jnp.asarray(domain), num_domains
    )
    sites = some_pool(rng, m, s, num_domains)
    rows = zip(log_likelihood, known, domain, log_prior, strict=True)
    expected = np.stack([by_hand(sites, *row) for row in rows])
    at = {name: jnp.asarray(value) for name, value in sites.items()}
    found = model.log_belief(at, coded, jnp.asarray(log_prior))
    np.testing.assert_allclose(np.exp(found), expected, rtol=1e-10)
    arguments = coded, jnp.asarray(log_prior), jnp.asarray(truth)
    labelled = truth >= 0
    likelihood = np.log(expected[labelled, truth[labelled]]).sum()
    np.testing.assert_allclose(
        log_density(model.numpyro_model, arguments, {}, at)[0],
        prior_by_hand(model, sites) + likelihood,
        rtol=1e-10,
    )


# --- draws against a grid ----------------------------------------------------------------------


def on_a_grid(ratio, truth, new, prior=0.5, model=MODEL):
    """Belief in the second state of new items where there is one rater: sums over both parameters.

    Strength from a thousandth to twenty, the offset from -6 to 6.
    """
    log_strength = np.linspace(np.log(1e-3), np.log(20), 400)[:, None, None]
    offset = np.linspace(-6.0, 6.0, 301)[None, :, None]
    told = special.logit(prior) + offset + np.exp(log_strength) * ratio
    height = np.where(truth == 1, special.log_expit(told), special.log_expit(-told))
    height = np.where(truth == UNKNOWN, 0.0, height).sum(axis=-1, keepdims=True)
    center = np.log(model.strength_center)
    height = height + stats.norm(center, model.strength_scale).logpdf(log_strength)
    height = height + stats.norm(0, model.offset_scale).logpdf(offset)
    weight = np.exp(height - height.max())
    weight = weight / weight.sum()
    return np.array(
        [
            np.sum(weight * special.expit(special.logit(prior) + offset + np.exp(log_strength) * r))
            for r in new
        ]
    )


def labelled(rng, ratio, share=1.0):
    """Labels that tempered ratios predict, of a share of the items."""
    truth = (rng.random(NUM_ITEMS) < special.expit(0.5 * ratio + 0.4)).astype(int)
    return np.where(rng.random(NUM_ITEMS) < share, truth, UNKNOWN)


CONTRADICTED = np.full(NUM_ITEMS, 2.0)
RNG = np.random.default_rng(1)
RATIO = RNG.normal(0, 2.5, NUM_ITEMS)
SETTINGS = {
    "labels": (RATIO, labelled(RNG, RATIO)),
    "few labels": (RATIO, labelled(RNG, RATIO, 0.25)),
    "no labels": (RATIO, np.full(NUM_ITEMS, UNKNOWN)),
    "constant raters": (np.full(NUM_ITEMS, 4.0), (np.arange(NUM_ITEMS) % 4 == 0).astype(int)),
    "contradictory labels": (CONTRADICTED, np.arange(NUM_ITEMS) % 2),
    "all alike": (RATIO, np.ones(NUM_ITEMS, int)),
    "perfectly told apart": (RATIO, (RATIO > 0).astype(int)),
}


@pytest.fixture(scope="module")
def fitted():
    """Each fit once; all have one shape, so that one program does them."""
    made = {}

    def fit(name, prior=(0.5, 0.5)):
        if (name, prior) not in made:
            ratio, truth = SETTINGS[name]
            made[name, prior] = MODEL.fit(
                jax.random.key(2), of_ratios(ratio), truth, prior=np.array(prior), method=METHOD
            )
        return made[name, prior]

    return fit


NEW = np.linspace(-5.0, 5.0, NUM_ITEMS)


@pytest.mark.parametrize("name", SETTINGS)
def test_beliefs_are_those_of_a_grid(fitted, name):
    found = fitted(name).belief(of_ratios(NEW))[:, 1]
    np.testing.assert_allclose(found, on_a_grid(*SETTINGS[name], NEW), atol=NOISE)
    # What a rater finds likelier is likelier.
    assert np.all(np.diff(found) > 0)


def test_without_labels_nothing_is_learnt(fitted):
    sites = fitted("no labels").sites
    expected = {
        "strength": stats.lognorm(MODEL.strength_scale, scale=MODEL.strength_center),
        "offset": stats.norm(0, MODEL.offset_scale),
    }
    for name, law in expected.items():
        # One of a thousand such tests fails where draws are right.
        assert stats.kstest(np.asarray(sites[name]).ravel(), law.cdf).pvalue > 1e-3, name


def test_raters_that_say_the_same_of_all_leave_the_base_rate(fitted):
    found = fitted("constant raters").belief(of_ratios(SETTINGS["constant raters"][0]))[:, 1]
    # Ten of forty, which the priors of strength and offset move up to 0.29.
    np.testing.assert_allclose(found, 0.25, atol=0.06)
    even = fitted("contradictory labels").belief(of_ratios(CONTRADICTED))[:, 1]
    np.testing.assert_allclose(even, 0.5, atol=0.06)


def test_a_prior_of_the_fit_is_that_of_its_labels(fitted):
    """The offset takes up a prior that labels belie, but as far as its own law lets it."""
    prior = (0.9, 0.1)
    found = fitted("labels", prior).belief(of_ratios(NEW))[:, 1]
    np.testing.assert_allclose(found, on_a_grid(*SETTINGS["labels"], NEW, 0.1), atol=NOISE)
    as_others = fitted("labels").belief(of_ratios(NEW))[:, 1]
    assert np.max(np.abs(found - as_others)) < 0.15
    moved = fitted("labels").belief(of_ratios(NEW), prior=np.array(prior))[:, 1]
    assert np.max(np.abs(moved - as_others)) > 0.3


@pytest.mark.slow
def test_priors_of_single_items_enter_the_fit(fitted):
    """Where each label is what the item's own prior says, raters need not explain it."""
    ratio, truth = SETTINGS["labels"]
    sure = np.where(truth == 1, 0.98, 0.02)
    each = np.column_stack([1 - sure, sure])
    own = MODEL.fit(jax.random.key(3), of_ratios(ratio), truth, prior=each, method=METHOD)
    one = fitted("labels").sites["strength"]
    # The prior of strength, a half in logarithms, is all that is left.
    assert np.std(np.log(own.sites["strength"])) > 1.3 * np.std(np.log(one))
    with pytest.raises(InvalidInputError, match="`prior` is needed: the fit had one for each of"):
        own.belief(of_ratios(NEW))
    assert np.all(np.isfinite(own.belief(of_ratios(NEW), prior=each)))


def test_ten_copies_of_a_rater_say_as_much_as_one(fitted):
    """Belief moves by 0.01 to 0.02, as departures are one per rater; with a sum by 0.38."""
    ratio, truth = SETTINGS["labels"]
    many = MODEL.fit(jax.random.key(4), of_ratios(ratio, 10), truth, method=METHOD)
    found = many.belief(of_ratios(NEW, 10))[:, 1]
    once = fitted("labels").belief(of_ratios(NEW))[:, 1]
    np.testing.assert_allclose(found, once, atol=0.03)
    counted = [
        belief(jnp.log(jnp.full(2, 0.5)), pooled(of_ratios(NEW, k).log_likelihood, rule="sum"))
        for k in (1, 10)
    ]
    assert np.max(np.abs(counted[1] - counted[0])) > 0.3


@pytest.mark.slow
def test_domains_are_between_apart_and_alike():
    """Of two domains with other base rates: the third, of two labels, is drawn to what all have."""
    rng = np.random.default_rng(5)
    n = 120
    domain = np.repeat([0, 1, 2], [59, 59, 2])
    ratio = rng.normal(0, 2.0, n)
    rate = special.expit(np.array([-2.0, 2.0, 0.0])[domain] + 0.7 * ratio)
    truth = (rng.random(n) < rate).astype(int)
    truth[-2:] = 1
    evidence = of_ratios(ratio)
    found = MODEL.fit(jax.random.key(6), evidence, truth, group=domain, method=METHOD)
    even = of_ratios(np.zeros(n))
    low, high, few = (
        float(found.belief(even, group=np.full(n, d))[0, 1]) for d in range(found.num_groups)
    )
    seen = [truth[domain == d][np.abs(ratio[domain == d]) < 1.5].mean() for d in (0, 1)]
    assert abs(low - seen[0]) < 0.1
    assert abs(high - seen[1]) < 0.1
    assert 0.3 < few < high - 0.05
    with pytest.raises(InvalidInputError, match="`group` must be below 3"):
        found.belief(even, group=np.full(n, 3))


@pytest.mark.slow
def test_what_data_were_made_of_is_found_again():
    """1,000 items, four raters, half of each item's missing: within four standard deviations."""
    rng = np.random.default_rng(7)
    n, weight, strength, offset = 1000, np.array([0.5, 0.3, 0.15, 0.05]), 1.4, -0.6
    ratio, known = rng.normal(0, 2, (n, 4)), rng.random((n, 4)) < 0.5
    known[:, 0] |= ~known.any(axis=1)
    share = weight * known / (weight * known).sum(axis=1, keepdims=True)
    truth = rng.random(n) < special.expit(offset + strength * (share * ratio).sum(axis=1))
    both = np.stack([np.zeros((n, 4)), ratio], axis=-1)
    found = MODEL.fit(jax.random.key(8), evidence_of(both, known), truth.astype(int))
    expected = {"strength": strength, "offset": np.array([offset]), "weight": weight}
    for name, value in expected.items():
        draws = np.asarray(found.sites[name])
        assert np.all(np.abs(draws.mean(axis=0) - value) < 4 * draws.std(axis=0)), name
    assert np.std(found.sites["strength"]) < 0.15
    # A quarter before any data. Departures do some of the same, or it would be below 0.05.
    assert np.all(np.std(found.sites["weight"], axis=0) < 0.1)

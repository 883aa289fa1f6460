"""The value of labels against closed forms, and against what frontiers of the draws say."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Float
from scipy import stats

from jaxcascade.cascade import Prices
from jaxcascade.errors import InvalidInputError
from jaxcascade.posterior import Posterior, bayes_frontier, frontier_draws, shared_grid
from jaxcascade.posterior.frontiers import each_price, mean_tables
from jaxcascade.posterior.labels import (
    LabelValue,
    _savings,
    between,
    labels_worth,
    resolved_share,
    value_of_labels,
)
from jaxcascade.posterior.tables import draw_tables
from jaxcascade.tuning import Chains

PRICES = Prices(np.array([3e-4, 2e-3, 1e-2, 0.1]), 0.0, np.inf)
MORE = (0, 10, 40, 160, 10**9)
CELLS = 16


@pytest.fixture(scope="module")
def value(posterior) -> LabelValue:
    return value_of_labels(
        jax.random.key(1), posterior, PRICES, MORE, num_draws=200, num_cells=CELLS
    )


@pytest.mark.slow
def test_no_labels_bring_nothing_and_more_labels_bring_more(value):
    assert np.all(np.abs(value.gain[0]) < 1e-15)
    assert np.all(np.diff(value.gain, axis=0) > -1e-12)
    assert np.all(value.gain <= value.perfect + 1e-12)
    assert np.all(np.diff(value.resolved) > 0)
    assert value.gain[3].max() > 1e-3 * value.loss.max()


@pytest.mark.slow
def test_labels_without_end_bring_what_perfect_knowledge_would(value, posterior):
    today = bayes_frontier(posterior, PRICES, num_cells=CELLS)
    best = frontier_draws(posterior, PRICES, num_cells=CELLS)
    perfect = np.asarray(today.loss.mean(axis=0) - best.loss.mean(axis=0))
    # The policies of the frontier are put on a grid with their own breakpoints.
    np.testing.assert_allclose(value.perfect, perfect, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(value.gain[-1], perfect, rtol=1e-3, atol=1e-12)
    np.testing.assert_allclose(value.loss, today.loss.mean(axis=0), rtol=1e-9)


def test_running_all_models_costs_their_sum(value, posterior):
    assert value.run_usd == pytest.approx(float(jnp.mean(posterior.sites["cost_usd"].sum(axis=1))))


@pytest.mark.parametrize("labelled", [5.0, 40.0])
@pytest.mark.parametrize("more", [3.0, 60.0, 1000.0])
def test_the_share_resolved_is_that_of_a_normal_mean(labelled, more):
    prior, noise = 0.7, 2.3
    variances = [1 / (1 / prior + n / noise) for n in (labelled, labelled + more)]
    found = resolved_share(jnp.array([more]), labelled, jnp.array(variances[0]), jnp.array(prior))
    assert float(found[0]) == pytest.approx(1 - variances[1] / variances[0], rel=1e-12)


def test_the_share_resolved_is_about_that_of_a_share():
    """Beta(2, 3) before; after 20 labels, as many of them right as was expected."""
    a, b, labelled, more = 2.0, 3.0, 20.0, 30.0
    prior, now = stats.beta(a, b), stats.beta(a * 5, b * 5)
    predictive = stats.betabinom(30, a * 5, b * 5)
    x = np.arange(31)
    means = (a * 5 + x) / (5 * (a + b) + more)
    exact = np.sum(predictive.pmf(x) * (means - now.mean()) ** 2) / now.var()
    found = resolved_share(
        jnp.array([more]), labelled, jnp.array(now.var()), jnp.array(prior.var())
    )
    assert float(found[0]) == pytest.approx(exact, rel=0.02)


def test_nothing_to_learn_does_not_count_and_nothing_learnt_is_slow():
    more = jnp.array([50.0])
    known = resolved_share(more, 50.0, jnp.array([0.0, 0.5]), jnp.array([0.0, 1.0]))
    alone = resolved_share(more, 50.0, jnp.array([0.5]), jnp.array([1.0]))
    assert float(known[0]) == float(alone[0])
    stuck = resolved_share(more, 50.0, jnp.array([1.2]), jnp.array([1.0]))
    assert 0 < float(stuck[0]) < 0.01
    assert float(resolved_share(more, 50.0, jnp.zeros(1), jnp.zeros(1))[0]) == 0.0


def test_halfway_between_two_draws_is_their_mean(posterior):
    two = posterior.thin(2)
    grid = shared_grid(posterior, CELLS)
    tables = jax.jit(lambda sites: jax.lax.map(lambda s: draw_tables(two, grid, s), sites))(
        two.sites
    )
    first, second = (jax.tree.map(lambda leaf, at=at: leaf[at], tables) for at in (0, 1))
    expected = mean_tables(two, grid)
    found = between(first, second, 0.5)
    reached = np.asarray(expected.levels)[:, None, :, None] > 0
    for name in found._fields:
        one, other = (np.asarray(getattr(tables, name)) for tables in (found, expected))
        if name.endswith("given"):
            one, other = one * reached, other * reached
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12, err_msg=name)


A, B = 30.0, 10.0
SECOND_USD = 1.0
SINGLES = Chains.each([(0,), (1,)])


class Choice(NamedTuple):
    """A posterior in which only the first model's share of right answers, Beta(A, B), is open."""

    posterior: Posterior
    share: Float[np.ndarray, " d"]
    prices: Prices
    second: float

    def saved(self, share: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """What a choice at these shares saves, where the second model was taken without them."""
        price = float(self.prices.error)
        return np.maximum(price * (share - self.second) + SECOND_USD, 0.0)


@pytest.fixture(scope="module")
def choice(posterior) -> Choice:
    share = stats.beta(A, B).ppf((np.arange(posterior.num_draws) + 0.5) / posterior.num_draws)
    sites = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf.mean(axis=0), leaf.shape), posterior.sites
    )
    sites["intercept"] = sites["intercept"].at[:, 0].set(np.log(share / (1 - share)))
    sites["slope"] = jnp.zeros_like(sites["slope"])
    sites["cost_usd"] = jnp.zeros_like(sites["cost_usd"]) + SECOND_USD * jnp.arange(3.0)
    second = float(jax.nn.sigmoid(sites["intercept"][0, 1]))
    # The second model is the better choice today, by a little.
    prices = Prices(SECOND_USD / (second - A / (A + B) - 0.01), 0.0, np.inf)
    return Choice(eqx.tree_at(lambda p: p.sites, posterior, sites), share, prices, second)


def test_a_choice_between_two_models_is_worth_what_beta_and_binomial_laws_say(choice):
    # Means after fewer labels lie on a lattice as wide as what there is to decide.
    more = np.array([40, 100, 300])
    saved, _ = _savings(
        choice.posterior,
        shared_grid(choice.posterior, CELLS),
        each_price(choice.prices),
        jnp.sqrt(jnp.asarray(more / (more + A + B))),
        Chains(*map(jnp.asarray, SINGLES)),
        True,
    )
    for at, count in enumerate(more):
        x = np.arange(count + 1)
        after = choice.saved((A + x) / (A + B + count))
        exact = stats.betabinom(count, A, B).pmf(x) @ after
        assert exact > 0
        assert float(saved[:, at, 0].mean()) == pytest.approx(exact, rel=0.05)


@pytest.mark.slow
def test_draws_are_moved_by_the_root_of_the_share_resolved(choice):
    value = value_of_labels(
        jax.random.key(0), choice.posterior, choice.prices, (10, 40), chains=SINGLES,
        num_draws=200, num_cells=CELLS,
    )  # fmt: skip
    mean = choice.share.mean()
    for resolved, gain in zip(value.resolved, value.gain[:, 0], strict=True):
        moved = mean + np.sqrt(resolved) * (choice.share - mean)
        assert gain == pytest.approx(np.mean(choice.saved(moved)), rel=1e-6)
    assert value.perfect[0] == pytest.approx(np.mean(choice.saved(choice.share)), rel=1e-6)


def _value(**changes) -> LabelValue:
    gain = np.array([[0.002, 0.0], [0.003, 1e-6]])
    nothing = np.zeros((2, 2))
    parts = {
        "prices": Prices(np.array([1.0, 2.0]), np.zeros(2), np.full(2, np.inf)),
        "more": np.array([100, 200]),
        "resolved": np.array([0.5, 0.7]),
        "gain": gain,
        "standard_error": nothing,
        "perfect": np.array([0.005, 1e-5]),
        "perfect_standard_error": nothing[0],
        "loss": np.array([0.1, 0.1]),
        "run_usd": 0.02,
    }
    return LabelValue(**(parts | changes))


@pytest.mark.parametrize(
    ("queries", "best", "net"),
    [(1_000, 0, 0.0), (10_000, 100, 20.0 - 12.0), (100_000, 200, 300.0 - 24.0)],
)
def test_labels_are_worth_what_they_save_less_what_they_and_their_runs_cost(queries, best, net):
    worth = labels_worth(_value(), 0.1, queries)
    assert worth.more.tolist() == [best, 0]
    np.testing.assert_allclose(worth.net_usd, [net, 0.0])
    np.testing.assert_allclose(worth.net_usd_of[:, 0], [0.002 * queries - 12, 0.003 * queries - 24])


@pytest.mark.parametrize("more", [(), (-1, 5), (50, 50), (100, 50), (1.5,), 7, ((1, 2),)])
def test_numbers_of_labels_must_be_whole_and_increase(posterior, more):
    with pytest.raises(InvalidInputError, match=r"`more` must be one or more whole numbers"):
        value_of_labels(jax.random.key(0), posterior, PRICES, more)


def test_one_draw_tells_no_error(posterior):
    with pytest.raises(InvalidInputError, match=r"`num_draws` must be at least 2"):
        value_of_labels(jax.random.key(0), posterior, PRICES, num_draws=1)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("label_usd", (-0.1, 10)),
        ("label_usd", (np.nan, 10)),
        ("num_queries", (0.1, -1)),
        ("num_queries", (0.1, np.inf)),
    ],
)
def test_prices_of_labels_must_be_amounts(name, arguments):
    with pytest.raises(InvalidInputError, match=f"`{name}` must be finite"):
        labels_worth(_value(), *arguments)

"""Evaluation on other records against a plain loop."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcascade.cascade import observations
from jaxcascade.errors import RecordsError
from jaxcascade.records import Records
from jaxcascade.tuning import dollars, evaluate, query_losses, replay_policies, verdict


@pytest.fixture
def holes(test_records):
    rng = np.random.default_rng(1)
    gone = rng.random(test_records.correct.shape) < 0.1
    cells = {
        name: np.where(gone, np.nan, getattr(test_records, name))
        for name in ("log_confidence", "correct", "cost_usd", "latency_s")
    }
    cells["correct"] = np.where(rng.random(gone.shape) < 0.1, np.nan, cells["correct"])
    # Models in another order than the frontier's.
    turned = list(reversed(test_records.models))
    return Records(queries=test_records.queries, models=test_records.models, **cells).select(turned)


def loop(frontier, records):
    """Every query of every point by hand: cost, loss, seconds, who answered."""
    at = [records.models.index(name) for name in frontier.models]
    phi = np.asarray(frontier.calibrate(records))
    cost, seconds, correct = (
        x[:, at] for x in (records.cost_usd, records.latency_s, records.correct)
    )
    table = np.full((len(frontier.points), 2, records.num_queries, 4), np.nan)
    for p, point in enumerate(frontier.points):
        for q in range(records.num_queries):
            for which in range(2):
                name, total, time = (
                    point.policy.start if which == 0 else point.best_single,
                    0.0,
                    0.0,
                )
                while True:
                    j = frontier.models.index(name)
                    if np.isnan(phi[q, j]):
                        break
                    total, time = total + cost[q, j], time + seconds[q, j]
                    action = "accept"
                    if which == 0:
                        rule = point.policy.rules[name]
                        action = rule.actions[int(np.sum(phi[q, j] > np.array(rule.breakpoints)))]
                    if action == "accept":
                        if not np.isnan(correct[q, j]):
                            wrong = 1 - correct[q, j]
                            table[p, which, q] = (
                                total + point.prices.error * wrong,
                                wrong,
                                total,
                                time,
                            )
                        break
                    name = action
    return table


def jackknife(table):
    """Standard error of the mean log ratio of losses, each query in turn weighing a little more."""
    losses, step = table[..., 0], 1e-5
    n = losses.shape[2]
    ratios = []
    for weight in (1 + step, 1 - step):
        means = losses.sum(axis=2, keepdims=True) + (weight - 1) * losses
        ratios.append(np.log(means[:, 0] / means[:, 1]).mean(axis=0))
    influence = (ratios[0] - ratios[1]) / (2 * step)
    return np.sqrt(n / (n - 1) * np.sum(influence**2))


@pytest.mark.parametrize("which", ["complete", "holes"])
def test_evaluation_matches_a_plain_loop(frontier, test_records, holes, which):
    records = test_records if which == "complete" else holes
    found = evaluate(frontier, records)
    table = loop(frontier, records)
    for p in range(len(frontier.points)):
        both = ~np.isnan(table[p, :, :, 0]).any(axis=0)
        assert found.num_queries[p] == both.sum()
        mine, single = table[p, 0, both], table[p, 1, both]
        np.testing.assert_allclose(found.loss[p], mine[:, 0].mean(), rtol=1e-10)
        np.testing.assert_allclose(found.single_loss[p], single[:, 0].mean(), rtol=1e-10)
        np.testing.assert_allclose(
            [found.outcome.error[p], found.outcome.cost_usd[p], found.outcome.latency_s[p]],
            mine[:, 1:].mean(axis=0),
            rtol=1e-10,
        )
        gain = single[:, 0] - mine[:, 0]
        error = gain.std(ddof=1) / np.sqrt(both.sum())
        np.testing.assert_allclose(found.gain_standard_error[p], error, rtol=1e-8, atol=1e-18)
    overall = jackknife(table) if which == "complete" else None
    if overall is not None:
        np.testing.assert_allclose(found.log_ratio_standard_error, overall, rtol=1e-6)
    np.testing.assert_allclose(found.ratio, found.loss / found.single_loss)
    np.testing.assert_allclose(found.mean_ratio, np.exp(np.log(found.ratio).mean()))


def test_singles_are_each_models_own_means(frontier, holes):
    found = evaluate(frontier, holes).singles
    for at, name in enumerate(frontier.models):
        j = holes.models.index(name)
        usable = ~np.isnan(holes.correct[:, j])
        np.testing.assert_allclose(found.error[at], 1 - holes.correct[usable, j].mean(), rtol=1e-10)
        np.testing.assert_allclose(found.cost_usd[at], holes.cost_usd[usable, j].mean(), rtol=1e-10)


def test_query_losses_are_unknown_where_a_label_is(frontier, holes):
    result = replay_policies(frontier, holes)
    columns = zip(*(p.prices for p in frontier.points), strict=True)
    losses = query_losses(result, type(frontier.points[0].prices)(*map(np.array, columns)))
    table = loop(frontier, holes)
    np.testing.assert_allclose(losses, table[:, 0, :, 0], rtol=1e-10)
    assert observations(holes).correct.shape == jnp.asarray(holes.correct).shape


def test_records_without_labels_cannot_be_judged_but_can_be_replayed(frontier, test_records):
    bare = Records(
        test_records.queries,
        test_records.models,
        test_records.log_confidence,
        np.full_like(test_records.correct, np.nan),
        test_records.cost_usd,
        test_records.latency_s,
    )
    with pytest.raises(RecordsError, match="Point 0 of the frontier cannot be judged: only 0"):
        evaluate(frontier, bare)
    result = replay_policies(frontier, bare)
    assert np.all(np.isfinite(result.cost_usd))
    assert np.all(np.isnan(result.correct))


def test_verdict_of_each_source(frontier, test_records):
    held_out, tested = verdict(frontier), verdict(frontier, evaluate(frontier, test_records))
    assert held_out.source == "held-out training queries"
    assert tested.source == "test queries"
    assert "Best single model" in tested.text
    nothing = verdict(frontier._replace(held_out=None))
    assert nothing.source == "nothing"
    assert np.isnan(nothing.saving)


def test_verdict_pays_only_beyond_two_standard_errors(frontier):
    assert any(len(p.policy.rules) > 1 for p in frontier.points)
    single, error = np.full(5, 1.0), np.full(5, 0.05)
    clear = frontier.held_out._replace(
        policy_loss=np.full(5, 0.89),
        single_loss=single,
        gain_standard_error=error,
        log_ratio_standard_error=0.05,
    )
    found = verdict(frontier._replace(held_out=clear))
    assert found.pays
    assert found.text.startswith("A cascade pays")
    np.testing.assert_allclose(found.saving, 0.11, atol=1e-12)
    for saved in found.pays:
        np.testing.assert_allclose([saved.saving, saved.standard_error], [0.11, 0.05])
    unclear = clear._replace(policy_loss=np.full(5, 0.91))
    found = verdict(frontier._replace(held_out=unclear))
    assert not found.pays
    assert found.text.startswith("No cascade clearly pays")
    np.testing.assert_allclose([found.saving, found.saving_standard_error], [0.09, 0.91 * 0.05])
    # All prices together may say what none says alone.
    found = verdict(frontier._replace(held_out=unclear._replace(log_ratio_standard_error=0.04)))
    assert not found.pays
    assert found.text.startswith("A cascade pays on the whole")
    assert "9.0% (standard error 3.6%) less" in found.text


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "$0"), (0.5, "$0.500"), (999.6, "$1,000"), (float("inf"), "$inf"), (1e-20, "$1e-20")],
)
def test_dollars(amount, text):
    assert dollars(amount) == text

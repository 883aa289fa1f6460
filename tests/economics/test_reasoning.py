"""The simulator against the printed table, quadrature by SciPy, and its own closed forms."""

import jax
import numpy as np
import pytest
from scipy import integrate, stats

from jaxcascade.economics import (
    DEEPSEEK_R1,
    LLAMA_405B,
    O3,
    QWEN3_235B,
    bootstrap_weights,
    cost_drag,
    expected_drags,
    fail_fast_policy,
    latency_drag,
    simulated_records,
    token_confidence_correlation,
)
from jaxcascade.economics.reasoning import MEAN_INPUT_TOKENS
from jaxcascade.errors import InvalidInputError

MODELS = (LLAMA_405B, QWEN3_235B, DEEPSEEK_R1, O3)


@pytest.fixture(scope="module")
def many():
    return simulated_records(jax.random.key(4), 30_000, MODELS)


def test_means_are_those_of_table_4_1(many):
    """Printed error, seconds and dollars, within four standard errors."""
    printed = [(0.306, 12.4, 0.0036), (0.028, 125.9, 0.0095), (0.058, 89.7, 0.079)]
    printed.append((0.038, 67.6, 0.019))
    for j, expected in enumerate(printed):
        cells = (1.0 - many.correct[:, j], many.latency_s[:, j], many.cost_usd[:, j])
        for values, mean in zip(cells, expected, strict=True):
            assert values.mean() == pytest.approx(mean, abs=4 * values.std() / np.sqrt(30_000))


def test_costs_and_seconds_follow_from_tokens(many):
    prompt, answer = many.extra["input_tokens"], many.extra["output_tokens"]
    for j, model in enumerate(MODELS):
        dollars = prompt[:, j] * model.input_usd_per_million
        dollars = (dollars + answer[:, j] * model.output_usd_per_million) / 1e6
        np.testing.assert_allclose(many.cost_usd[:, j], dollars, rtol=1e-12)
        seconds = model.overhead_s + answer[:, j] / model.tokens_per_s
        np.testing.assert_allclose(many.latency_s[:, j], seconds, rtol=1e-12)
    assert np.all(prompt == prompt[:, :1])
    assert prompt.mean() == pytest.approx(MEAN_INPUT_TOKENS, rel=0.01)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_chance_of_error_averages_to_its_mean(model):
    mean, _ = integrate.quad(
        lambda z: stats.norm.pdf(z) * model.error_probability(np.array(z)), -12, 12
    )
    assert mean == pytest.approx(model.error, rel=1e-6)


def test_confidence_and_tokens_have_the_stated_laws(many):
    difficulty = many.extra["difficulty"][:, 0]
    for j, model in enumerate(MODELS):
        log_odds = many.log_confidence[:, j] - np.log(-np.expm1(many.log_confidence[:, j]))
        slope, centre, *_ = stats.linregress(difficulty, log_odds)
        assert slope == pytest.approx(-model.confidence_slope, abs=0.04)
        assert centre == pytest.approx(model.confidence_center, abs=0.04)
        assert log_odds.std() == pytest.approx(model.confidence_scale, rel=0.02)
        log_tokens = np.log(many.extra["output_tokens"][:, j])
        assert stats.linregress(difficulty, log_tokens).slope == pytest.approx(
            model.token_slope, abs=0.015
        )
        assert log_tokens.std() == pytest.approx(model.log_token_spread, rel=0.02)


def test_groups_are_fifths_of_the_difficulty(many):
    names, counts = np.unique(many.group, return_counts=True)
    assert names.tolist() == [f"level {i}" for i in range(1, 6)]
    np.testing.assert_allclose(counts / 30_000, 0.2, atol=0.01)
    errors = [1 - many.correct[many.group == name].mean(axis=0) for name in names]
    assert np.all(np.diff(errors, axis=0) > 0)


def test_the_longest_answers_hold_most_errors(many):
    """As reported for Qwen3: from 3 % to below 1 % when 7.5 % are deferred."""
    tokens, wrong = many.extra["output_tokens"][:, 1], 1 - many.correct[:, 1]
    kept = tokens < np.quantile(tokens, 0.925)
    assert wrong[kept].mean() < 0.01 < 0.025 < wrong.mean()


@pytest.mark.parametrize("slope", [0.6, 0.0, -0.6], ids=["positive", "none", "negative"])
def test_the_drag_has_the_sign_and_the_size_of_the_closed_form(slope):
    """A slope of tokens below 0 is a model that writes less where it is harder."""
    reasoning = QWEN3_235B._replace(token_slope=slope)
    records = simulated_records(jax.random.key(8), 8_000, (LLAMA_405B, reasoning))
    rule = fail_fast_policy(records, records.confidence, utilisation=0.6, rejection=0.1)
    edges = rule.rules[LLAMA_405B.name].breakpoints
    expected = expected_drags(LLAMA_405B, reasoning, *edges)
    correlation = token_confidence_correlation(reasoning, LLAMA_405B)
    assert np.sign(expected[0].total) == -np.sign(correlation)
    weight = bootstrap_weights(jax.random.key(9), 8_000, 300)
    for measure, truth in zip((latency_drag, cost_drag), expected, strict=True):
        drawn = measure(records, records.confidence, rule, weight)
        for part in ("share", "naive", "no_easy", "no_hardest", "total", "actual"):
            draws, value = getattr(drawn, part), getattr(truth, part)
            low, high = np.quantile(draws, [0.0005, 0.9995])
            assert low <= value <= high, part


def test_the_closed_form_is_the_integral_over_the_joint_normal_law():
    fail_up_to, pass_up_to = 0.2, 0.7
    found, _ = expected_drags(LLAMA_405B, QWEN3_235B, fail_up_to, pass_up_to)

    def given(z: float) -> tuple[float, float]:
        """Chance of being passed on, and the mean seconds, at one difficulty."""
        centre = LLAMA_405B.confidence_center - LLAMA_405B.confidence_slope * z
        ends = stats.norm.cdf(
            [np.log(p / (1 - p)) for p in (fail_up_to, pass_up_to)],
            centre,
            LLAMA_405B.confidence_spread,
        )
        middle = np.log(QWEN3_235B.mean_tokens) - 0.5 * QWEN3_235B.log_token_spread**2
        tokens = np.exp(middle + QWEN3_235B.token_slope * z + 0.5 * QWEN3_235B.token_spread**2)
        return ends[1] - ends[0], QWEN3_235B.overhead_s + tokens / QWEN3_235B.tokens_per_s

    def mean(value) -> float:
        return integrate.quad(lambda z: stats.norm.pdf(z) * value(*given(z)), -10, 10)[0]

    assert found.share == pytest.approx(mean(lambda passed, _: passed), rel=1e-6)
    assert found.actual == pytest.approx(mean(lambda passed, s: passed * s), rel=1e-6)


@pytest.mark.parametrize("ends", [(0.0, 1.0), (0.0, 0.0), (0.5, 0.5)])
def test_who_passes_on_all_or_nothing_has_no_drag(ends):
    for drag in expected_drags(LLAMA_405B, QWEN3_235B, *ends):
        assert drag.total == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"error": 0.0}, "`error` of .* strictly between 0 and 1; got 0.0"),
        ({"cost_usd": 1e-6}, "`cost_usd` of .* more than 120 input tokens"),
        ({"latency_s": 0.1}, "`latency_s` of .* above its `overhead_s`, 0.5"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(change, message):
    with pytest.raises(InvalidInputError, match=message):
        simulated_records(jax.random.key(0), 10, (LLAMA_405B._replace(**change),))


def test_at_least_one_query():
    with pytest.raises(InvalidInputError, match="`num_queries` must be at least 1; got 0"):
        simulated_records(jax.random.key(0), 0)

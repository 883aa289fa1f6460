"""A simulator of models that reason and models that do not, on queries of common difficulty.

Difficulty is standard normal. A model's output tokens are log-normal and grow with it, its chance
of being wrong is logistic in it, and its confidence p(true) is logit-normal and falls with it.
Seconds are tokens over speed, dollars follow from token prices. Given the difficulty, models are
independent, and so are a model's tokens, confidence and answer. Means are those of the table of
the thesis; how strongly each thing follows difficulty is our choice, see `SimulatedModel`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.scipy.stats import norm
from jaxtyping import Array, Float

from jaxcascade.economics.drags import Drag
from jaxcascade.errors import InvalidInputError
from jaxcascade.records import Records

MEAN_INPUT_TOKENS = 120.0
_INPUT_SPREAD = 0.4
NUM_LEVELS = 5
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


class SimulatedModel(NamedTuple):
    """One model: what it does on average, and how that follows difficulty.

    Attributes:
        name: Of the model.
        error: Probability of a wrong answer, in (0, 1).
        latency_s: Mean seconds per call.
        cost_usd: Mean dollars per call.
        input_usd_per_million: Price of input tokens.
        output_usd_per_million: Price of output tokens.
        error_slope: Change of the log-odds of being wrong with one unit of difficulty.
        token_slope: Change of log(output tokens) with one unit of difficulty.
        token_spread: Standard deviation of log(output tokens) given the difficulty.
        confidence_center: Log-odds of p(true) at average difficulty.
        confidence_slope: Fall of the log-odds of p(true) with one unit of difficulty.
        confidence_spread: Standard deviation of the log-odds of p(true) given the difficulty.
        overhead_s: Seconds before the first token.
    """

    name: str
    error: float
    latency_s: float
    cost_usd: float
    input_usd_per_million: float
    output_usd_per_million: float
    error_slope: float
    token_slope: float
    token_spread: float
    confidence_center: float
    confidence_slope: float
    confidence_spread: float
    overhead_s: float = 0.5

    @property
    def mean_tokens(self) -> float:
        """Mean output tokens, which the mean cost and the prices imply."""
        paid_for_input = MEAN_INPUT_TOKENS * self.input_usd_per_million
        return (1e6 * self.cost_usd - paid_for_input) / self.output_usd_per_million

    @property
    def tokens_per_s(self) -> float:
        """Speed, which the mean latency implies."""
        return self.mean_tokens / (self.latency_s - self.overhead_s)

    @property
    def log_token_spread(self) -> float:
        """Standard deviation of log(output tokens) over all queries."""
        return float(np.hypot(self.token_slope, self.token_spread))

    @property
    def confidence_scale(self) -> float:
        """Standard deviation of the log-odds of p(true) over all queries."""
        return float(np.hypot(self.confidence_slope, self.confidence_spread))

    def error_probability(self, difficulty: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Probability of a wrong answer at each difficulty; its mean over queries is `error`."""
        low, high = -60.0, 60.0
        for _ in range(80):  # bisection, to the last bit
            middle = 0.5 * (low + high)
            mean = _WEIGHTS @ _logistic(middle + self.error_slope * _NODES)
            low, high = (middle, high) if mean < self.error else (low, middle)
        return _logistic(low + self.error_slope * difficulty)


# Error, seconds and dollars: table 4.1 of the thesis. Token prices: its table .3. The slopes of
# Qwen3 are such that the 7.5 % of queries with the longest answers hold two thirds of its errors,
# as reported (arXiv:2507.14406, abstract: from 3 % to below 1 %).
LLAMA_405B = SimulatedModel(
    "llama3.1-405b", 0.306, 12.4, 0.0036, 3.0, 3.0, 3.0, 0.35, 0.3, 1.2, 2.0, 1.0
)
QWEN3_235B = SimulatedModel(
    "qwen3-235b", 0.028, 125.9, 0.0095, 0.22, 0.88, 3.0, 0.6, 0.25, 4.0, 1.2, 1.2
)
DEEPSEEK_R1 = SimulatedModel(
    "deepseek-r1", 0.058, 89.7, 0.079, 3.0, 8.0, 2.5, 0.6, 0.25, 3.5, 1.2, 1.2
)
O3 = SimulatedModel("o3", 0.038, 67.6, 0.019, 2.0, 8.0, 2.5, 0.8, 0.35, 4.0, 1.2, 1.2)


def simulated_records(
    key: Array, num_queries: int, models: Sequence[SimulatedModel] = (LLAMA_405B, QWEN3_235B)
) -> Records:
    """Draws runs of every model on the same queries.

    Args:
        key: Random key.
        num_queries: At least 1.
        models: Cheapest first, by custom.

    Returns:
        Records with p(true) as confidence; `input_tokens`, `output_tokens` and `difficulty` (the
        same for all models) as further columns; and fifths of the difficulty, "level 1" the
        easiest, as groups.

    Raises:
        InvalidInputError: There are no queries, or a model's parameters contradict each other.

    Example:
        >>> import jax
        >>> records = simulated_records(jax.random.key(0), 1000)
        >>> records
        Records(1000 queries, 2 models: "llama3.1-405b", "qwen3-235b")
        >>> sorted(records.extra)
        ['difficulty', 'input_tokens', 'output_tokens']
    """
    if num_queries < 1:
        raise InvalidInputError(f"`num_queries` must be at least 1; got {num_queries}.")
    for model in models:
        _check(model)
    query_key, prompt_key, model_key = jax.random.split(key, 3)
    difficulty = _normal(query_key, num_queries)
    prompt = _normal(prompt_key, num_queries)
    mean = np.log(MEAN_INPUT_TOKENS) - 0.5 * _INPUT_SPREAD**2
    input_tokens = np.round(np.exp(mean + _INPUT_SPREAD * prompt))
    keys = jax.random.split(model_key, len(models))
    runs = [_run(*pair, difficulty) for pair in zip(keys, models, strict=True)]
    log_confidence, correct, output_tokens = (np.stack(c, axis=1) for c in zip(*runs, strict=True))

    def each(name: str) -> Float[np.ndarray, " k"]:
        return np.array([getattr(model, name) for model in models])

    everyone = np.ones(len(models))
    dollars = input_tokens[:, None] * each("input_usd_per_million")
    dollars = (dollars + output_tokens * each("output_usd_per_million")) / 1e6
    level = 1 + np.floor(NUM_LEVELS * np.asarray(norm.cdf(difficulty))).astype(int)
    return Records(
        queries=np.arange(num_queries),
        models=tuple(model.name for model in models),
        log_confidence=log_confidence,
        correct=correct,
        cost_usd=dollars,
        latency_s=each("overhead_s") + output_tokens / each("tokens_per_s"),
        group=np.array([f"level {min(one, NUM_LEVELS)}" for one in level]),
        extra={
            "input_tokens": np.outer(input_tokens, everyone),
            "output_tokens": output_tokens,
            "difficulty": np.outer(difficulty, everyone),
        },
    )


def token_confidence_correlation(reasoning: SimulatedModel, fast: SimulatedModel) -> float:
    """Correlation of one model's log(tokens) with the other's log-odds of p(true).

    It decides the sign and the size of the drags: below 0, queries of which the fast model doubts
    take the reasoning model longer; at 0 there is no drag.
    """
    common = -reasoning.token_slope * fast.confidence_slope
    return common / (reasoning.log_token_spread * fast.confidence_scale)


def expected_drags(
    fast: SimulatedModel, reasoning: SimulatedModel, fail_up_to: float, pass_up_to: float
) -> tuple[Drag, Drag]:
    """Returns the latency drag and the cost drag of the simulated population, in closed form.

    For a standard normal w and log T = m + s (rho w + sqrt(1 - rho²) e),
    E[T; w < b] = E[T] Φ(b - s rho).

    Args:
        fast: The model that is asked first.
        reasoning: The model that queries are passed on to.
        fail_up_to: p(true) up to which a query goes to a person, in [0, 1].
        pass_up_to: p(true) up to which a query goes to the reasoning model, in [0, 1].
    """
    rho = token_confidence_correlation(reasoning, fast)
    with np.errstate(divide="ignore"):
        levels = np.array([fail_up_to, pass_up_to])
        edges = (np.log(levels) - np.log1p(-levels) - fast.confidence_center) / (
            fast.confidence_scale
        )
    below = np.asarray(norm.cdf(edges))
    heavy = np.asarray(norm.cdf(edges - reasoning.log_token_spread * rho))
    share = below[1] - below[0]
    # Parts relative to the mean of what grows with the tokens; the rest has no drag.
    no_easy = share * (heavy[1] / below[1] - 1.0) if below[1] > 0 else 0.0
    no_hardest = heavy[1] - heavy[0] - share - no_easy
    tokens_usd = reasoning.mean_tokens * reasoning.output_usd_per_million / 1e6
    means = (
        (reasoning.latency_s, reasoning.latency_s - reasoning.overhead_s),
        (reasoning.cost_usd, tokens_usd),
    )
    latency, cost = (
        Drag(*map(float, (share, share * mean, growing * no_easy, growing * no_hardest)))
        for mean, growing in means
    )
    return latency, cost


def _run(key: Array, model: SimulatedModel, difficulty: Float[np.ndarray, " n"]):
    """Draws the logarithm of p(true), right answers and output tokens of one model."""
    token_key, confidence_key, answer_key = jax.random.split(key, 3)
    n = len(difficulty)
    middle = np.log(model.mean_tokens) - 0.5 * model.log_token_spread**2
    spread = model.token_spread * _normal(token_key, n)
    tokens = np.exp(middle + model.token_slope * difficulty + spread)
    doubt = model.confidence_slope * difficulty
    noise = model.confidence_spread * _normal(confidence_key, n)
    log_odds = model.confidence_center - doubt + noise
    wrong = np.asarray(jax.random.uniform(answer_key, (n,))) < model.error_probability(difficulty)
    return -np.logaddexp(0.0, -log_odds), 1.0 - wrong, np.maximum(np.round(tokens), 1.0)


def _normal(key: Array, num: int) -> Float[np.ndarray, " n"]:
    return np.asarray(jax.random.normal(key, (num,)), float)


def _logistic(x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return np.exp(-np.logaddexp(0.0, -x))


def _check(model: SimulatedModel) -> None:
    if not 0 < model.error < 1:
        raise InvalidInputError(
            f'`error` of "{model.name}" must lie strictly between 0 and 1; got {model.error}.'
        )
    if not model.mean_tokens > 0:
        raise InvalidInputError(
            f'`cost_usd` of "{model.name}" must be more than {MEAN_INPUT_TOKENS:.0f} input tokens '
            f"cost; got {model.cost_usd}. Raise it, or lower the token prices."
        )
    if not model.latency_s > model.overhead_s:
        raise InvalidInputError(
            f'`latency_s` of "{model.name}" must be above its `overhead_s`, {model.overhead_s}; '
            f"got {model.latency_s}."
        )

"""A built-in example: nine models on four-way multiple choice, made up from published facts.

Nothing is copied from recorded runs. Each model's confidence follows a latent signal, made of an
ease that all models share, a chain that runs from the smallest model of a pool to the largest, and
noise; its answer is right if signal and luck suffice, or by a lucky guess. The signal is then bent
to the law published for the model.

Sources of the constants:
    Accuracy: Zellinger and Thomson (2025), arXiv:2501.09345, table 1 (MMLU).
    Certain: share of answers with a confidence of exactly 1, as the vendor's interface rounds it,
        measured in the MMLU test data published with the article.
    Prices: list prices of Fireworks AI (Llama, Qwen) and OpenAI (GPT), end of 2024, as there.
    Groups: Hendrycks et al. (2021), arXiv:2009.03300: questions per subject area in the MMLU test
        set; humanities and STEM are harder for language models than the social sciences.
    Law of confidence, skill, latency and the strengths of dependence: two or three digits each,
        chosen so that deciles, areas under the ROC curve, Kendall's tau (.2 to .6, highest between
        neighbours in size) and medians look like those of runs recorded on MMLU.
    Seed: of the first hundred, one whose splits come close to the published accuracies.

Known to differ from recorded runs: dependence on hard queries is too strong (neighbours share .23
to .47 of their lowest tenth instead of .14 to .38), Kendall's tau between the two pools is off by
up to .11 and that of the two middle Llamas by .15, confidences of the Qwen models start too low,
the largest Llama reaches 1 where real runs stay near .98, the latency of the GPT models lacks its
heavy tail, and training and test queries are of one kind.
"""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from jaxcascade.errors import InvalidInputError
from jaxcascade.records.table import Records

_ROWS = {"train": range(300), "test": range(300, 1800)}
_POPULATION = 10_000  # queries that are drawn, so that ranks among them are nearly exact
_SEED = 17  # of the first hundred, one whose splits are close to the published accuracies
_CHOICES = 4


class _Model(NamedTuple):
    """What is known of one model.

    With s = -log(1 - confidence), the signal of calibration, (s - s_min) / (ceiling - s_min) is
    logit-normal with `center` and `spread`; s_min is that of a uniform guess.
    """

    name: str
    accuracy: float
    certain: float
    input_usd_per_million: float
    output_usd_per_million: float
    output_tokens: int
    latency_s: float
    latency_spread: float
    ceiling: float
    center: float
    spread: float
    skill: float  # correlation of confidence with the quality of the answer
    common: float  # share of the signal's variation that other models have too


_LLAMA = (
    _Model("llama3.2-1b", 0.425, 0.0, 0.1, 0.1, 1, 0.13, 0.2, 15.0, -3.5, 0.95, 0.53, 0.33),
    _Model("llama3.2-3b", 0.572, 0.0, 0.1, 0.1, 1, 0.13, 0.2, 15.0, -2.7, 1.45, 0.74, 0.75),
    _Model("llama3.1-8b", 0.634, 0.0, 0.2, 0.2, 1, 0.14, 0.2, 15.0, -2.5, 1.50, 0.81, 0.85),
    _Model("llama3.1-70b", 0.815, 0.0, 0.9, 0.9, 1, 0.25, 0.2, 15.0, -1.0, 1.40, 0.77, 0.93),
    _Model("llama3.1-405b", 0.852, 0.0, 3.0, 3.0, 1, 0.36, 0.2, 15.0, 0.0, 1.45, 0.79, 0.93),
)
_OTHERS = (
    _Model("gpt-4o-mini", 0.749, 0.457, 0.15, 0.6, 1, 0.34, 0.4, 15.6, 1.6, 3.0, 0.79, 0.92),
    _Model(
        "qwen2.5-32b-coder-instruct", 0.753, 0.0, 0.9, 0.9, 2, 0.16, 0.2, 13.0, 0.2, 1.9, 0.73, 0.88
    ),
    _Model("qwen2.5-72b-instruct", 0.820, 0.0, 0.9, 0.9, 2, 0.26, 0.3, 14.0, 1.1, 1.9, 0.74, 0.90),
    _Model("gpt-4o", 0.836, 0.227, 2.5, 10.0, 1, 0.36, 0.4, 15.6, 1.5, 3.1, 0.75, 0.93),
)
_GROUPS = {"humanities": 0.335, "social sciences": 0.219, "STEM": 0.215, "other": 0.231}
_EASE = {"humanities": -0.05, "social sciences": 0.35, "STEM": -0.3, "other": 0.02}

_CHAIN_SHARE = 0.3  # share of what models have in common that runs along the chain of a pool
_CHAIN_STEP = 0.6  # correlation of the chain from one model to the next
_SKEW = 0.4  # log-spread of what models share: 0 would be Gaussian dependence
_LUCK_SHARE = 0.9  # share of what confidence does not tell that is common to all models
_PROMPT_TOKENS = (100, 62.0, 0.85)  # at least; median and log-spread of what comes on top


def example_records(split: str = "train") -> Records:
    """Makes the built-in example: nine models on multiple choice, in a few hundredths of a second.

    Five Llama models in the order of their size, then four others; 300 queries to fit on and 1,500
    to test on, always the same.

    Args:
        split: `train` or `test`.

    Returns:
        Recorded runs with confidence, correctness, dollars, seconds, tokens and groups.

    Raises:
        InvalidInputError: `split` is neither.

    References:
        Zellinger and Thomson (2025), arXiv:2501.09345, for the facts it is made from.

    Examples:
        >>> train = example_records("train")
        >>> train.num_queries, train.models[0], train.models[-1]
        (300, 'llama3.2-1b', 'gpt-4o')
        >>> {name: round(share, 2) for name, share in train.summary().certain.items() if share}
        {'gpt-4o-mini': 0.45, 'gpt-4o': 0.22}
    """
    if split not in _ROWS:
        raise InvalidInputError(f'`split` must be "train" or "test"; got {split!r}.')
    return _population(np.random.Generator(np.random.PCG64(_SEED))).take(np.array(_ROWS[split]))


def _population(rng: np.random.Generator) -> Records:
    """Records of every query there is, of which the splits are pieces."""
    models = _LLAMA + _OTHERS
    group = rng.choice(list(_GROUPS), size=_POPULATION, p=list(_GROUPS.values()))
    signal = _signals(rng, _ease(rng, group))
    tokens = _input_tokens(rng, _POPULATION)
    output = np.array([float(model.output_tokens) for model in models])
    latency = np.array([model.latency_s for model in models])
    spread = np.array([model.latency_spread for model in models])
    return Records(
        queries=np.array([f"query-{i:04d}" for i in range(_POPULATION)], dtype=object),
        models=tuple(model.name for model in models),
        log_confidence=np.stack(
            [_log_confidence(model, signal[:, j]) for j, model in enumerate(models)], axis=1
        ),
        correct=_correct(rng, models, signal),
        cost_usd=_cost_usd(models, tokens),
        latency_s=latency * np.exp(spread * _noise(rng, signal)),
        group=group.astype(object),
        extra={
            "input_tokens": np.repeat(tokens[:, None], len(models), axis=1),
            "output_tokens": np.repeat(output[None, :], len(tokens), axis=0),
        },
    )


def _ease(rng: np.random.Generator, group: Shaped[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """How easy each query is for all models: standard normal but for the groups."""
    means = np.array([_EASE[name] for name in group])
    return means + np.sqrt(1 - np.var(means)) * rng.standard_normal(len(group))


def _signals(rng: np.random.Generator, ease: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n k"]:
    """Standard normal signals, one per model; their order is that of the confidences.

    What models share is skewed to the right, which ties them on easy queries and leaves them apart
    on hard ones, as in recorded runs (and in the Gumbel copula of the article).
    """
    columns = []
    for pool in (_LLAMA, _OTHERS):
        chain = rng.standard_normal(len(ease))
        for model in pool:
            shared = _skewed(_mixed(_CHAIN_SHARE, chain, ease))
            columns.append(_mixed(model.common, shared, rng.standard_normal(len(ease))))
            chain = _mixed(_CHAIN_STEP**2, chain, rng.standard_normal(len(ease)))
    return _normal_scores(np.stack(columns, axis=1))


def _skewed(normal: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """A shifted log-normal with mean 0 and variance 1, in the same order."""
    square = np.exp(_SKEW**2)
    return (np.exp(_SKEW * normal) / np.sqrt(square) - 1) / np.sqrt(square - 1)


def _normal_scores(values: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Each column bent to a standard normal by its ranks."""
    n = len(values)
    scores = np.array([NormalDist().inv_cdf((i + 0.5) / n) for i in range(n)])
    return scores[values.argsort(axis=0).argsort(axis=0)]


def _correct(
    rng: np.random.Generator, models: tuple[_Model, ...], signal: Float[np.ndarray, "n k"]
) -> Float[np.ndarray, "n k"]:
    """Whether each model knows the answer, or else guesses it: one guess in four is right.

    What decides beside the signal, and the guess, are mostly common to all models, so that queries
    which reach the second model are harder for it than its calibration says, as in recorded runs.
    """
    skill = np.array([model.skill for model in models])
    common = _LUCK_SHARE * np.array([model.common for model in models])
    luck, guess = (
        _mixed(common, rng.standard_normal((len(signal), 1)), _noise(rng, signal)) for _ in range(2)
    )
    knows = [(model.accuracy - 1 / _CHOICES) / (1 - 1 / _CHOICES) for model in models]
    bar = np.array([NormalDist().inv_cdf(1 - share) for share in knows])
    known = _mixed(skill**2, signal, luck) > bar
    return (known | (guess > NormalDist().inv_cdf(1 - 1 / _CHOICES))).astype(np.float64)


def _mixed(share, one, other):
    """Of two independent standard normals, the one with this share of the variance from `one`."""
    return np.sqrt(share) * one + np.sqrt(1 - share) * other


def _noise(rng: np.random.Generator, like: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    return rng.standard_normal(like.shape)


def _log_confidence(model: _Model, signal: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Bends a standard normal signal to the model's law of confidence."""
    lowest = -np.log1p(-1 / _CHOICES)
    position = 1 / (1 + np.exp(-(model.center + model.spread * signal)))
    confidence_signal = lowest + (model.ceiling - lowest) * position
    below_one = np.log1p(-np.exp(-confidence_signal))
    if model.certain == 0:
        return below_one
    return np.where(signal > NormalDist().inv_cdf(1 - model.certain), 0.0, below_one)


def _cost_usd(
    models: tuple[_Model, ...], input_tokens: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n k"]:
    per_input = np.array([model.input_usd_per_million for model in models])
    output = np.array([model.output_usd_per_million * model.output_tokens for model in models])
    return (input_tokens[:, None] * per_input + output) / 1e6


def _input_tokens(rng: np.random.Generator, num_queries: int) -> Float[np.ndarray, " n"]:
    least, median, spread = _PROMPT_TOKENS
    return np.round(least + median * np.exp(spread * rng.standard_normal(num_queries)))

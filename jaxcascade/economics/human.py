"""Ask, and fail fast or ask: a person takes the queries that models doubt.

A reasoning model alone: "Ask". Behind a fast model that answers what it is sure of and hands what
it doubts most straight to the person: "Fail fast, or ask" (arXiv:2507.14406). Both are policies.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, Float

from jaxcascade.cascade import Policy, Rule
from jaxcascade.errors import InvalidInputError, RecordsError
from jaxcascade.records import Records


def confidence_from_tokens(records: Records, model: str, typical_tokens: float) -> Records:
    """Puts the length of a model's answers in the place of its confidence: longer is less sure.

    The confidence becomes 1 / (1 + tokens / typical_tokens), whose log-odds are linear in
    log(tokens). Everything that works on confidences then works on lengths.

    Args:
        records: With `output_tokens`.
        model: Whose confidence to replace.
        typical_tokens: Length that becomes one half; the same on training and other records.

    Raises:
        InvalidInputError: The length is not above 0.
        RecordsError: `output_tokens` is missing, or not above 0 in a run of the model.
        UnknownModelError: There is no such model.

    Example:
        >>> import jax
        >>> from jaxcascade.economics import simulated_records
        >>> records = simulated_records(jax.random.key(0), 100)
        >>> by_length = confidence_from_tokens(records, "qwen3-235b", 10_000.0)
        >>> bool(by_length.extra["output_tokens"][0, 1] > 10_000) == bool(
        ...     by_length.confidence[0, 1] < 0.5)
        True
    """
    column = records.model_index(model)
    if not (typical_tokens > 0 and np.isfinite(typical_tokens)):
        raise InvalidInputError(f"`typical_tokens` must be above 0; got {typical_tokens}.")
    if "output_tokens" not in records.extra:
        raise RecordsError(
            "Uncertainty by length needs the column `output_tokens`, which the records lack. "
            "Record it, or go by confidence."
        )
    tokens = records.extra["output_tokens"][:, column]
    asked = records.asked[:, column]
    if not np.all(tokens[asked] > 0):
        raise RecordsError(
            f'`output_tokens` must be above 0 in every run of "{model}"; it is not in '
            f"{int((~(tokens[asked] > 0)).sum())} of them."
        )
    log_confidence = records.log_confidence.copy()
    log_confidence[asked, column] = -np.log1p(tokens[asked] / typical_tokens)
    return Records(
        records.queries,
        records.models,
        log_confidence,
        records.correct,
        records.cost_usd,
        records.latency_s,
        records.group,
        records.extra,
    )


def ask_policy(
    records: Records,
    confidence: Float[Array | np.ndarray, "n k"],
    *,
    rejection: float,
    model: str | None = None,
) -> Policy:
    """Learns "Ask": a person takes the share of the queries that one model is least sure of.

    Args:
        records: Whose models `confidence` is of; labels are not needed.
        confidence: Raw, calibrated or any other measure that grows with certainty.
        rejection: Share of the queries, in [0, 1].
        model: By default the last of the records.

    Raises:
        InvalidInputError: The share lies outside [0, 1].
        RecordsError: The model was never asked.
    """
    name = records.models[-1] if model is None else model
    cells = _known(confidence, [records.model_index(name)], [name])
    return Policy(name, {name: _rejecting(cells[:, 0], rejection)})


def fail_fast_policy(
    records: Records,
    confidence: Float[Array | np.ndarray, "n k"],
    *,
    utilisation: float,
    rejection: float,
    models: tuple[str, str] | None = None,
) -> Policy:
    """Learns "Fail fast, or ask" from the confidences of two models.

    With Q the quantiles of the fast model's confidence, up to Q(u r) the person takes the query,
    up to Q(u r + 1 - u) the reasoning model, above the fast model answers. Of the queries passed
    on the person takes the share r that the reasoning model is least sure of, so that the person
    gets u r + (1 - u) r = r. Confidences equal to a quantile lie below it: where they repeat, at
    least the share asked for is held back, and more where ties force it.

    Args:
        records: See `ask_policy`.
        confidence: See `ask_policy`.
        utilisation: Share u of the queries that the reasoning model is spared, in [0, 1].
        rejection: Share r of the queries that the person takes, in [0, 1].
        models: The fast and the reasoning model; by default the two of the records.

    Raises:
        InvalidInputError: A share lies outside [0, 1], or the models are not told.
        RecordsError: No query was put to both.

    References:
        Zellinger and Thomson (2025), arXiv:2507.14406.

    Example:
        >>> import jax
        >>> from jaxcascade.economics import simulated_records
        >>> records = simulated_records(jax.random.key(0), 1000)
        >>> rule = fail_fast_policy(records, records.confidence, utilisation=0.5, rejection=0.1)
        >>> [action for model in rule.order() for action in rule.rules[model].actions]
        ['abstain', 'qwen3-235b', 'accept', 'abstain', 'accept']
    """
    require_share("utilisation", utilisation)
    require_share("rejection", rejection)
    fast, reasoning = names = two_models(records, models)
    cells = _known(confidence, [records.model_index(name) for name in names], names)
    first, second = cells.T
    fail_up_to = _quantile(first, utilisation * rejection)
    pass_up_to = _quantile(first, utilisation * rejection + 1.0 - utilisation)
    rules = {fast: _rule((fail_up_to, pass_up_to), ("abstain", reasoning, "accept"))}
    if reasoning in rules[fast].actions:
        passed = (first > fail_up_to) & (first <= pass_up_to)
        rules[reasoning] = _rejecting(second[passed], rejection)
    return Policy(fast, rules)


def rule_policy(
    records: Records,
    confidence: Float[Array | np.ndarray, "n k"],
    utilisation: float,
    rejection: float,
) -> Policy:
    """Learns Ask at a utilisation of 0, else Fail fast or ask, over two models, the fast first."""
    if utilisation == 0:
        return ask_policy(records, confidence, rejection=rejection)
    return fail_fast_policy(records, confidence, utilisation=utilisation, rejection=rejection)


def two_models(records: Records, models: tuple[str, str] | None) -> tuple[str, str]:
    """Returns the fast and the reasoning model.

    Raises:
        InvalidInputError: They are not told, and the records do not hold just two.
    """
    names = tuple(records.models if models is None else models)
    if len(names) != 2 or names[0] == names[1]:
        raise InvalidInputError(
            "`models` must name the fast and the reasoning model, two different ones; got "
            + ", ".join(f'"{name}"' for name in names)
            + "."
        )
    return names[0], names[1]


def require_share(name: str, value: float) -> None:
    """Raises InvalidInputError unless the value lies in [0, 1]."""
    if not 0 <= value <= 1:
        raise InvalidInputError(f"`{name}` must be a share in [0, 1]; got {value}.")


def _known(
    confidence: Float[Array | np.ndarray, "n k"], columns: list[int], names: Sequence[str]
) -> Float[np.ndarray, "m c"]:
    cells = np.asarray(confidence)[:, columns]
    cells = cells[~np.isnan(cells).any(axis=1)]
    if len(cells) == 0:
        raise RecordsError(f"No query was put to {' and '.join(names)}. Record some.")
    return cells


def _quantile(values: Float[np.ndarray, " n"], share: float) -> float:
    """The least value that at least this share does not exceed; -inf for none, inf for all."""
    # Shares such as 0.5 * 0.2 + 1 - 0.5 miss their place among the ranks by a rounding.
    rank = int(np.ceil(share * len(values) - 1e-9))
    if rank <= 0:
        return -np.inf
    if share >= 1.0:
        return np.inf
    # The logarithm of a confidence of 0 is no breakpoint; the least number holds it as well.
    return max(float(np.sort(values)[rank - 1]), np.finfo(float).min)


def _rejecting(confidence: Float[np.ndarray, " n"], rejection: float) -> Rule:
    require_share("rejection", rejection)
    return _rule((_quantile(confidence, rejection),), ("abstain", "accept"))


def _rule(edges: tuple[float, ...], actions: tuple[str, ...]) -> Rule:
    """A rule without its empty intervals."""
    bounds = (-np.inf, *edges, np.inf)
    kept = [i for i in range(len(actions)) if bounds[i] < bounds[i + 1]]
    return Rule(tuple(float(bounds[i]) for i in kept[1:]), tuple(actions[i] for i in kept))

"""Keyed splits by query, such that each model keeps right and wrong answers in every part.

Queries are ordered by the share of models that got them right, ties at random, and dealt out
evenly along that order. Where a model is so good or so bad that a part is still left without a
wrong or a right answer, though it has enough for all parts, pairs of queries are swapped until no
swap helps: a best effort, since the models' wishes may collide.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int, PRNGKeyArray

from jaxcascade.errors import InvalidInputError, RecordsError
from jaxcascade.records.table import Records
from jaxcascade.records.wording import counted

_MAX_SWAPS = 200
_MAX_DRAWS = 16


def split(key: PRNGKeyArray, records: Records, fraction: float) -> tuple[Records, Records]:
    """Splits the queries into a part to fit on and a part to test on.

    Args:
        key: Typed key; the same key gives the same split.
        records: Recorded runs of at least two queries.
        fraction: Share of the queries in the first part, in (0, 1); each part gets one at least.

    Returns:
        The two parts, each in the order of `records`.

    Raises:
        InvalidInputError: `fraction` lies outside (0, 1), or `key` is no typed key.
        RecordsError: There are fewer than two queries.

    Examples:
        >>> import jax
        >>> from jaxcascade.records import example_records
        >>> train, test = split(jax.random.key(0), example_records("train"), 0.5)
        >>> train.num_queries, test.num_queries
        (150, 150)
    """
    if not 0 < fraction < 1:
        raise InvalidInputError(f"`fraction` must lie strictly between 0 and 1; got {fraction!r}.")
    _require_queries(records, 2)
    n = records.num_queries
    first = min(max(round(n * fraction), 1), n - 1)
    # Systematic sampling: along the order, every n/first-th query goes to the first part.
    steps = np.arange(n + 1) * first // n
    dealt = np.where(np.diff(steps) > 0, 0, 1)
    part = _dealt(key, records, dealt)
    return records.take(np.flatnonzero(part == 0)), records.take(np.flatnonzero(part == 1))


def folds(key: PRNGKeyArray, records: Records, num_folds: int) -> Int[np.ndarray, " n"]:
    """Assigns each query to a fold for cross-validation; sizes differ by one at most.

    Args:
        key: Typed key; the same key gives the same folds.
        records: Recorded runs.
        num_folds: Number of folds, from 2 to the number of queries.

    Returns:
        Fold of each query, from 0.

    Raises:
        InvalidInputError: `num_folds` is below 2, or `key` is no typed key.
        RecordsError: There are fewer queries than folds.

    Examples:
        >>> import jax, numpy as np
        >>> from jaxcascade.records import example_records
        >>> np.bincount(folds(jax.random.key(0), example_records("train"), 7)).tolist()
        [43, 43, 43, 43, 43, 43, 42]
    """
    if num_folds < 2:
        raise InvalidInputError(f"`num_folds` must be at least 2; got {num_folds}.")
    _require_queries(records, num_folds)
    return _dealt(key, records, np.arange(records.num_queries) % num_folds)


def bootstrap(key: PRNGKeyArray, records: Records) -> Records:
    """Draws as many queries with replacement, all models of a query together.

    Of sixteen draws it returns the first in which every model keeps right and wrong answers, as far
    as it has them, or else the one that loses the fewest; with more than a few of each the first
    draw will do, and the bootstrap is the plain one.

    Args:
        key: Typed key; the same key gives the same draw.
        records: Recorded runs.

    Returns:
        Records of the queries drawn; `queries` repeats.

    Raises:
        InvalidInputError: `key` is no typed key.
        RecordsError: There are no queries.
    """
    _require_typed(key)
    _require_queries(records, 1)
    n = records.num_queries
    draws = np.asarray(jax.random.randint(key, (_MAX_DRAWS, n), 0, n))
    outcomes = _outcomes(records)
    kept = [outcomes[draw].any(axis=0).sum() for draw in draws]
    return records.take(draws[int(np.argmax(kept))])


def _dealt(
    key: PRNGKeyArray, records: Records, places: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """Part of each query, the parts being dealt out along the order of difficulty."""
    _require_typed(key)
    shuffled = np.asarray(jax.random.permutation(key, records.num_queries))
    right = records.labelled & (records.correct == 1)
    labels = records.labelled.sum(axis=1)
    share = np.where(labels > 0, right.sum(axis=1) / np.maximum(labels, 1), -1.0)
    order = shuffled[np.argsort(share[shuffled], kind="stable")]
    part = np.empty(records.num_queries, dtype=np.int64)
    part[order] = places
    return _repaired(part, _outcomes(records))


def _outcomes(records: Records) -> Bool[np.ndarray, "n f"]:
    """What should be found in every part: each model's right and wrong answers, f = 2 k."""
    return np.concatenate([records.correct == 1, records.correct == 0], axis=1)


def _repaired(
    part: Int[np.ndarray, " n"], outcomes: Bool[np.ndarray, "n f"]
) -> Int[np.ndarray, " n"]:
    """Swaps queries between parts as long as that leaves fewer outcomes missing."""
    num_parts = int(part.max()) + 1
    wanted = outcomes.sum(axis=0) >= num_parts
    outcomes = outcomes[:, wanted].astype(np.int64)
    part = part.copy()
    for _ in range(_MAX_SWAPS):
        counts = np.stack([outcomes[part == p].sum(axis=0) for p in range(num_parts)])
        swap = next(_swaps(part, outcomes, counts), None)
        if swap is None:
            break
        one, other = swap
        part[one], part[other] = part[other], part[one]
    return part


def _swaps(part, outcomes, counts):
    """Yields pairs of queries whose swap leaves fewer outcomes missing in their two parts."""
    for poor, outcome in zip(*np.nonzero(counts == 0), strict=True):
        partners = np.flatnonzero(part == poor)
        for donor in np.flatnonzero(outcomes[:, outcome]):
            moved = outcomes[donor] - outcomes[partners]
            rich = counts[part[donor]]
            before = ((counts[poor] == 0).astype(int) + (rich == 0)).sum()
            after = (counts[poor] + moved == 0).sum(axis=1) + (rich - moved == 0).sum(axis=1)
            if after.min() < before:
                yield donor, partners[int(after.argmin())]


def _require_queries(records: Records, least: int) -> None:
    if records.num_queries < least:
        raise RecordsError(
            f"`records` must have at least {counted(least, 'query', 'queries')} for this; "
            f"they have {records.num_queries}."
        )


def _require_typed(key: PRNGKeyArray) -> None:
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise InvalidInputError(
            "`key` must be a typed key, as jax.random.key(seed) makes it; got an array of "
            f"{key.dtype} (jax.random.PRNGKey is the old form)."
        )

"""What each model does on its own: the table that every comparison starts from."""

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float

from jaxcascade.errors import InvalidInputError
from jaxcascade.records import Records

_AMOUNTS = ("cost_usd", "latency_s", "input_tokens", "output_tokens")
_LATE = 0.99


def baseline_table(records: Records) -> pa.Table:
    """Lays out error, seconds, dollars and tokens of each model, on its own runs.

    Models may have been asked different queries; to compare them on the same ones, see
    `single_ledger`.

    Args:
        records: Labelled runs; each mean is over the runs where the amount is known.

    Returns:
        One row per model, in the records' order: `model`, `num_queries` asked, `num_labelled` of
        them, `error` and `error_standard_error`, and means `cost_usd`; with seconds also
        `latency_s` and `latency_p99_s`, which 1 % of the runs exceed; with tokens also
        `input_tokens` and `output_tokens`. NaN where nothing is known.

    Raises:
        InvalidInputError: A column of tokens does not hold numbers.

    References:
        Zellinger and Thomson (2025), arXiv:2507.14406, table of baselines.

    Example:
        >>> from jaxcascade.records import example_records
        >>> table = baseline_table(example_records("test").select(["gpt-4o", "llama3.2-1b"]))
        >>> [round(error, 3) for error in table["error"].to_pylist()]
        [0.156, 0.572]
    """
    labelled = records.asked & records.labelled
    count = labelled.sum(axis=0)
    error = _mean(1.0 - records.correct, labelled)
    columns: dict[str, np.ndarray | pa.Array] = {
        "model": pa.array(records.models, pa.string()),
        "num_queries": records.asked.sum(axis=0),
        "num_labelled": count,
        "error": error,
        "error_standard_error": np.sqrt(error * (1.0 - error) / np.maximum(count, 1)),
    }
    for name in _AMOUNTS:
        cells = _cells(records, name)
        if cells is None:
            continue
        known = records.asked & ~np.isnan(cells)
        columns[name] = _mean(cells, known)
        if name == "latency_s":
            columns["latency_p99_s"] = _late(cells, known)
    return pa.table(columns)


def _cells(records: Records, name: str) -> Float[np.ndarray, "n k"] | None:
    if name not in records.extra:
        return getattr(records, name, None)
    cells = records.extra[name]
    if not np.issubdtype(cells.dtype, np.number):
        raise InvalidInputError(
            f"`{name}` must be a column of numbers; it holds others. Correct it, or drop it."
        )
    return cells


def _mean(
    cells: Float[np.ndarray, "n k"], known: Bool[np.ndarray, "n k"]
) -> Float[np.ndarray, " k"]:
    count = known.sum(axis=0)
    total = np.where(known, cells, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _late(
    cells: Float[np.ndarray, "n k"], known: Bool[np.ndarray, "n k"]
) -> Float[np.ndarray, " k"]:
    columns = zip(cells.T, known.T, strict=True)
    return np.array([np.quantile(c[u], _LATE) if u.any() else np.nan for c, u in columns])

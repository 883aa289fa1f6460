"""What the values of recorded runs must satisfy, and what is said when they do not.

Each check takes whole columns and speaks of the first or worst row that fails. Rows are counted
from 0 and leave out the header of a file.
"""

import math
from collections import Counter

import numpy as np
from jaxtyping import Bool, Float

from jaxcascade.errors import RecordsError
from jaxcascade.records.parsing import Rows
from jaxcascade.records.table import Records
from jaxcascade.records.wording import close_match, counted, listing, quoted

AGREEMENT = 1e-6
"""How far `confidence` may lie from the exponential of `log_confidence`."""


def require_confidence(
    confidence: Float[np.ndarray, " r"] | None,
    log_confidence: Float[np.ndarray, " r"] | None,
    rows: Rows,
) -> Float[np.ndarray, " r"]:
    """Checks the confidences and returns their logarithms, the given ones where there are any."""
    if confidence is not None:
        _require_range(confidence, rows)
    if log_confidence is not None:
        _require(
            log_confidence > 0,
            log_confidence,
            rows,
            "`log_confidence` must be at most 0 (a natural logarithm)",
            "above 0",
            "largest",
            "Are these probabilities? Pass them as `confidence`.",
        )
    if confidence is not None and log_confidence is not None:
        _require_agreement(confidence, log_confidence, rows)
    found = _logarithm(confidence, log_confidence, len(rows.query))
    name = "confidence" if confidence is not None else "log_confidence"
    _require_known(found, rows, name, "Leave out the row of a model that was not asked.")
    return found


def _logarithm(confidence, log_confidence, num_rows: int) -> Float[np.ndarray, " r"]:
    """Given logarithms, and those of the confidences where none is given.

    `log` and not `log1p(confidence - 1)`: both are exact near 1, where the difference of two
    floats is exact, but the latter loses every digit of a confidence below 1e-16.
    """
    found = np.full(num_rows, np.nan) if log_confidence is None else log_confidence
    if confidence is None:
        return found
    with np.errstate(divide="ignore"):
        return np.where(np.isnan(found), np.log(confidence), found)


def _require_range(confidence: Float[np.ndarray, " r"], rows: Rows) -> None:
    expected = "`confidence` must lie in [0, 1]"
    known = confidence[~np.isnan(confidence)]
    highest = known.max(initial=0.0)
    remedy = "Are these log-probabilities? Pass them as `log_confidence`."
    if known.min(initial=1.0) >= 0:
        if highest <= 1 + AGREEMENT:
            remedy = "This looks like rounding: set them to 1."
        elif 2 < highest <= 100:
            remedy = "Are these percentages? Divide them by 100."
    _require(confidence > 1, confidence, rows, expected, "above 1", "largest", remedy)
    _require(confidence < 0, confidence, rows, expected, "below 0", "smallest", remedy)


def _require_agreement(confidence, log_confidence, rows: Rows) -> None:
    difference = np.abs(confidence - np.exp(log_confidence))
    bad = difference > AGREEMENT
    if bad.any():
        row = int(np.nanargmax(difference))
        raise RecordsError(
            f"`confidence` must be the exponential of `log_confidence` to {AGREEMENT:g}; "
            f"{counted(int(bad.sum()), 'row')} disagree, most of all {rows.place(row)}: "
            f"{float(confidence[row])!r} against exp({float(log_confidence[row])!r}) = "
            f"{math.exp(log_confidence[row])!r}. Drop the column that is wrong; "
            "`log_confidence` must be a natural logarithm."
        )


def require_correct(correct: Float[np.ndarray, " r"], rows: Rows) -> None:
    """Checks that labels are 0, 1 or missing."""
    bad = ~(np.isnan(correct) | (correct == 0) | (correct == 1))
    _require(
        bad,
        correct,
        rows,
        "`correct` must be 0, 1 or missing",
        "other than these",
        "first",
        "Grade each answer as right (1) or wrong (0); a partial credit needs a cut-off.",
    )


def require_amounts(
    name: str, amounts: Float[np.ndarray, " r"], rows: Rows, *, missing: bool = False
) -> None:
    """Checks that dollars, seconds or counts are finite and not negative; zero is fine.

    Args:
        name: Name of the column.
        amounts: Its values.
        rows: Whose row is whose.
        missing: Whether a value may be missing.

    Raises:
        RecordsError: A value is negative, infinite, or missing where it must not be.
    """
    expected = f"`{name}` must be a finite number, at least 0"
    remedy = "Correct these rows or leave them out."
    _require(amounts < 0, amounts, rows, expected, "below 0", "smallest", remedy)
    _require(np.isinf(amounts), amounts, rows, expected, "not finite", "first", remedy)
    if not missing:
        _require_known(amounts, rows, name, "Fill it in; a call that was free costs 0.")


def _require_known(values: Float[np.ndarray, " r"], rows: Rows, name: str, remedy: str) -> None:
    expected = f"`{name}` must be given in every row"
    _require(np.isnan(values), values, rows, expected, "missing or NaN", None, remedy)


def _require(
    bad: Bool[np.ndarray, " r"],
    values: Float[np.ndarray, " r"],
    rows: Rows,
    expected: str,
    kind: str,
    worst: str | None,
    remedy: str,
) -> None:
    """Raises if any row is bad: what was expected, which model has how many, the worst, what to do.

    `worst` says which of the bad values to show: `largest`, `smallest`, `first`, or none.
    """
    positions = np.flatnonzero(bad)
    if not len(positions):
        return
    pick = {"largest": np.argmax, "smallest": np.argmin}.get(worst or "", lambda _: 0)
    row = int(positions[pick(values[positions])])
    counts = Counter(rows.model[positions].tolist())
    model = rows.model[row]
    shown = f", the {worst} {float(values[row])!r}" if worst else ""
    others = [name for name in counts if name != model]
    also = f"; likewise {listing(others)}" if others else ""
    raise RecordsError(
        f"{expected}; model {quoted(model)} has {counted(counts[model], 'value')} {kind}{shown}"
        f"{also}. {remedy} See {rows.place(row)}."
    )


def require_labels(records: Records) -> Records:
    """Checks that every model has labels, which a fit needs and a replay does not.

    Args:
        records: Recorded runs.

    Returns:
        The same records.

    Raises:
        RecordsError: A model has no labelled answer.

    Examples:
        >>> from jaxcascade.records import example_records
        >>> require_labels(example_records("train")).num_models
        9
    """
    bare = [records.models[j] for j in np.flatnonzero(~np.any(records.labelled, axis=0))]
    if bare:
        match = None if records.labelled.any() else close_match("correct", list(records.extra))
        hint = f" Did you mean {quoted(match)}? Rename it to `correct`." if match else ""
        raise RecordsError(
            f"`correct` must be given for some answers of each model before anything can be "
            f"fitted; {listing(bare)} {'has' if len(bare) == 1 else 'have'} no labels. Grade some "
            f"answers, or leave the model out.{hint}"
        )
    return records

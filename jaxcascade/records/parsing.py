"""From what a column holds to floats, or to the value that is no number and where it stands."""

import json
import math
from collections.abc import Callable
from decimal import Decimal
from numbers import Number
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from jaxcascade.errors import RecordsError
from jaxcascade.records.wording import quoted

_BLANK = {"", "na", "n/a", "#n/a", "nan", "null", "none"}
_BOOLEAN = {"true": 1.0, "false": 0.0}
_LONGEST_INTEGER = 300


def json_value(text: str, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """Reads JSON that a stranger may have written.

    Whole numbers with more digits than a float can hold become infinite, as others do.

    Args:
        text: One JSON value.
        parse_constant: Called with NaN, Infinity or -Infinity.

    Raises:
        json.JSONDecodeError: The text is not JSON, or nested too deeply.
    """

    def whole(digits: str) -> int | float:
        return int(digits) if len(digits) <= _LONGEST_INTEGER else float(digits)

    try:
        return json.loads(text, parse_int=whole, parse_constant=parse_constant)
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", text, 0) from None


class Rows(NamedTuple):
    """Whose row is whose, to say where a value stands.

    Attributes:
        query: Identity of the query of each row.
        model: Name of the model of each row.
    """

    query: Shaped[np.ndarray, " r"]
    model: Shaped[np.ndarray, " r"]

    def place(self, row: int) -> str:
        """Says which row is meant, in words."""
        return (
            f"row {row} (model {quoted(self.model[row])}, query {quoted(self.query[row])}; "
            "rows count from 0)"
        )


def numbers(
    name: str, values: Shaped[np.ndarray, " r"], rows: Rows, *, from_text: bool = False
) -> Float[np.ndarray, " r"]:
    """Turns a column into floats, missing values into NaN.

    Args:
        name: Name of the column, for the message.
        values: Floats already, or any objects.
        rows: Whose row is whose.
        from_text: Whether the file knows nothing but text, so that text that spells a number is
            one.

    Returns:
        One float per row.

    Raises:
        RecordsError: A value is no number.
    """
    if values.dtype != object:
        return values.astype(np.float64)
    found = np.empty(len(values))
    for row, value in enumerate(values):
        number = _number(value, boolean=name == "correct", from_text=from_text)
        if number is None:
            expected = "0, 1, true, false or missing" if name == "correct" else "a number"
            text = not from_text and isinstance(value, str)
            remedy = " Convert the column from text to numbers." if text else ""
            raise RecordsError(
                f"`{name}` must be {expected}; {rows.place(row)} holds {value!r}, of type "
                f"{type(value).__name__}.{remedy}"
            )
        found[row] = number
    return found


def _number(value: object, *, boolean: bool, from_text: bool) -> float | None:
    """The value as a float, NaN if it is missing, None if it is no number."""
    if value is None:
        return math.nan
    if isinstance(value, bool | np.bool_):
        return float(value) if boolean else None
    if isinstance(value, str) and from_text:
        text = value.strip().lower()
        if text in _BLANK:
            return math.nan
        if boolean and text in _BOOLEAN:
            return _BOOLEAN[text]
        try:
            return float(text)
        except ValueError:
            return None
    real = isinstance(value, Decimal) or (
        isinstance(value, Number) and not isinstance(value, complex | np.complexfloating)
    )
    return float(value) if real else None  # pyright: ignore[reportArgumentType]

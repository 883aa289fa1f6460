"""Any dataframe as plain columns: float64 with NaN, or objects with None."""

import math
from collections.abc import Sequence
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Shaped

from jaxcascade.errors import RecordsError

IDENTITIES = ("query", "model", "group")
_EXACT_INTEGER = 2**53


def objects(values: Sequence[object]) -> Shaped[np.ndarray, " r"]:
    """Puts values into a one-dimensional array of objects, tuples and lists unopened."""
    found = np.empty(len(values), dtype=object)
    for position, value in enumerate(values):
        found[position] = value
    return found


def blanks_to_none(values: Shaped[np.ndarray, " r"]) -> Shaped[np.ndarray, " r"]:
    """Empty text as a missing value: CSV cannot tell the two apart."""
    return objects([None if isinstance(value, str) and not value else value for value in values])


def eager_frame(source: Any) -> nw.DataFrame:
    """Any dataframe behind the one interface that narwhals gives all of them."""
    try:
        frame = nw.from_native(source)
        return frame.collect() if isinstance(frame, nw.LazyFrame) else frame
    except nw.exceptions.DuplicateError as error:
        raise RecordsError(f"The names of the columns must be distinct: {error}.") from error
    except TypeError as error:
        raise RecordsError(
            "`source` must be a path or a dataframe (pandas, polars, pyarrow or another that "
            f"narwhals knows); got {type(source).__name__}."
        ) from error


def columns_of(frame: nw.DataFrame) -> dict[str, Shaped[np.ndarray, " r"]]:
    """Columns by name: identities and text as objects, numbers as float64."""
    return {str(name): _column(frame[name], name) for name in frame.columns}


def _column(series: nw.Series, name: str) -> Shaped[np.ndarray, " r"]:
    """Numbers as float64 with NaN, all else as objects with None."""
    if name not in IDENTITIES and series.dtype.is_numeric() and _fits_float(series):
        return pc.cast(series.to_arrow(), pa.float64()).to_numpy(zero_copy_only=False)
    missing = series.is_null().to_list()
    values = zip(series.to_list(), missing, strict=True)
    return objects([None if gone or _is_nan(value) else value for value, gone in values])


def _fits_float(series: nw.Series) -> bool:
    """Whether float64 holds these numbers: whole ones must not be too large for it."""
    known = series.drop_nulls()
    if not series.dtype.is_integer() or not len(known):
        return True
    return known.min() >= -_EXACT_INTEGER and known.max() <= _EXACT_INTEGER


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def floats_if_plain(values: Shaped[np.ndarray, " r"]) -> Shaped[np.ndarray, " r"]:
    """Floats for a column of an untyped file that holds numbers only."""
    plain = all(value is None or type(value) in (int, float) for value in values)
    small = plain and all(
        abs(value) <= _EXACT_INTEGER for value in values if isinstance(value, int)
    )
    some = any(value is not None for value in values)
    return values.astype(np.float64) if some and small else values

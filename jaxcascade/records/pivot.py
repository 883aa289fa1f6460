"""From a long table, one row per call, to records, one row per query."""

from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer, Shaped

from jaxcascade.errors import RecordsError
from jaxcascade.records.frames import IDENTITIES, blanks_to_none, objects
from jaxcascade.records.layout import (
    missing_column,
    require_columns,
    require_distinct,
    require_one_group,
    require_present,
    require_rows,
)
from jaxcascade.records.parsing import Rows, numbers
from jaxcascade.records.prices import TokenPrices, token_cost_usd
from jaxcascade.records.table import TOKEN_COLUMNS, Records
from jaxcascade.records.validation import require_amounts, require_confidence, require_correct

NUMBERS = ("confidence", "log_confidence", "correct", "cost_usd", "latency_s", *TOKEN_COLUMNS)


class _Cells(NamedTuple):
    """Where each row of the long table goes."""

    query: Integer[np.ndarray, " r"]
    model: Integer[np.ndarray, " r"]
    shape: tuple[int, int]

    def place(self, values: Shaped[np.ndarray, " r"]) -> Shaped[np.ndarray, "n k"]:
        numeric = values.dtype != object
        cells = np.full(self.shape, np.nan if numeric else None, float if numeric else object)
        cells[self.query, self.model] = values
        return cells


def records_from_columns(
    columns: dict[str, Shaped[np.ndarray, " r"]],
    *,
    prices: TokenPrices | None = None,
    from_text: bool = False,
) -> Records:
    """Validates the columns of a long table and pivots them.

    Args:
        columns: Columns by name: floats with NaN, or objects with None, for missing values.
        prices: Dollars per million tokens, for a table without `cost_usd`.
        from_text: Whether the file knows nothing but text.

    Returns:
        The records.

    Raises:
        RecordsError: The table cannot be used as it is.
        UnknownModelError: The prices lack a model.
    """
    names = list(columns)
    for needed in (("query",), ("model",), ("confidence", "log_confidence")):
        require_columns(names, needed)
    require_rows(len(columns["query"]))
    rows = _rows(columns)
    queries, of_query = _numbered("query", rows.query)
    names_of_models, of_model = _numbered("model", rows.model)
    models = tuple(str(name) for name in names_of_models)
    require_distinct(rows, of_query * len(models) + of_model)
    cells = _Cells(of_query, of_model, (len(queries), len(models)))
    values = {
        name: numbers(name, columns[name], rows, from_text=from_text)
        for name in NUMBERS
        if name in columns
    }
    checked = _checked(values, rows, names, prices)
    return Records(
        queries=objects(queries),
        models=models,
        group=_groups(columns, rows, queries),
        extra=_extra(columns, values, cells),
        **{name: cells.place(column) for name, column in checked.items()},
    )


def _rows(columns) -> Rows:
    query, model = (blanks_to_none(columns[name]) for name in ("query", "model"))
    require_present("query", query)
    require_present("model", model)
    return Rows(query=query, model=objects([str(name) for name in model]))


def _numbered(name: str, values: Shaped[np.ndarray, " r"]):
    """Distinct values in the order of first appearance, and the place of each row's in it."""
    seen: dict[Hashable, int] = {}
    try:
        place = np.array([seen.setdefault(value, len(seen)) for value in values], dtype=np.int64)
    except TypeError as error:
        raise RecordsError(
            f"`{name}` must be text, a number or something else that can be hashed: {error}."
        ) from error
    return list(seen), place


def _groups(columns, rows: Rows, queries: list) -> Shaped[np.ndarray, " n"] | None:
    if "group" not in columns:
        return None
    found = require_one_group(rows.query, blanks_to_none(columns["group"]))
    return objects([found.get(query) for query in queries])


def _checked(values: dict, rows: Rows, names: list[str], prices: TokenPrices | None) -> dict:
    """The cells that every table of records has, range-checked."""
    correct = values.get("correct", np.full(len(rows.query), np.nan))
    require_correct(correct, rows)
    checked = {
        "log_confidence": require_confidence(
            values.get("confidence"), values.get("log_confidence"), rows
        ),
        "correct": correct,
        "cost_usd": _cost_usd(values, rows, names, prices),
    }
    if "latency_s" in values:
        require_amounts("latency_s", values["latency_s"], rows, missing=True)
        checked["latency_s"] = values["latency_s"]
    return checked


def _cost_usd(values: dict, rows: Rows, names: list[str], prices: TokenPrices | None):
    if "cost_usd" in values:
        require_amounts("cost_usd", values["cost_usd"], rows)
        return values["cost_usd"]
    if prices is None:
        remedy = (
            " It has token counts: pass a price table as `prices`."
            if all(name in values for name in TOKEN_COLUMNS)
            else " Add dollars per call, or token counts and a price table."
        )
        raise missing_column(names, ("cost_usd",), remedy)
    for name in TOKEN_COLUMNS:
        require_columns(names, (name,), " The price table needs both token counts.")
        require_amounts(name, values[name], rows)
    return token_cost_usd(rows.model, *(values[name] for name in TOKEN_COLUMNS), prices=prices)


def _extra(columns, values: dict, cells: _Cells) -> dict[str, np.ndarray]:
    kept = {name: column for name, column in columns.items() if name not in (*IDENTITIES, *NUMBERS)}
    kept |= {name: values[name] for name in TOKEN_COLUMNS if name in values}
    return {name: cells.place(column) for name, column in kept.items()}

"""What a long table must have before its values are looked at: columns, rows, and one row per cell.

Rows are counted from 0 and leave out the header of a file.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Integer, Shaped

from jaxcascade.errors import MissingColumnError, RecordsError
from jaxcascade.records.parsing import Rows
from jaxcascade.records.table import TOKEN_COLUMNS
from jaxcascade.records.wording import close_match, counted, listing, quoted


def require_columns(names: Sequence[str], needed: Sequence[str], remedy: str = "") -> None:
    """Checks that at least one of some columns is there.

    Args:
        names: Columns of the table.
        needed: Names of which one must be among them; the first is the usual one.
        remedy: What else to say if none is.

    Raises:
        MissingColumnError: None of them is there.
    """
    if not set(names) & set(needed):
        raise missing_column(names, needed, remedy)


def missing_column(
    names: Sequence[str], needed: Sequence[str], remedy: str = ""
) -> MissingColumnError:
    """The error for a column that is not there, with the name that may be meant by it."""
    taken = {"query", "model", "confidence", "correct", "cost_usd", *TOKEN_COLUMNS}
    match = close_match(needed[0], [name for name in names if name not in taken])
    hint = f" Did you mean {quoted(match)}? Rename it to `{needed[0]}`." if match else ""
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        hint = " The file seems not to be separated by commas: save it with commas."
    alternative = "".join(f" (or `{name}`)" for name in needed[1:])
    return MissingColumnError(
        f"The column `{needed[0]}`{alternative} is missing; the table has {listing(names)}."
        f"{hint}{remedy}"
    )


def require_rows(num_rows: int) -> None:
    """Checks that the table is not empty."""
    if num_rows == 0:
        raise RecordsError(
            "The table has columns but no rows; expected one row per query and model."
        )


def require_present(name: str, values: Shaped[np.ndarray, " r"]) -> None:
    """Checks that no row lacks its query or its model."""
    blank = [row for row, value in enumerate(values) if value is None]
    if blank:
        raise RecordsError(
            f"`{name}` must be given in every row; it is missing in "
            f"{counted(len(blank), 'row')}, the first of them row {blank[0]} (counting from 0)."
        )


def require_distinct(rows: Rows, cells: Integer[np.ndarray, " r"]) -> None:
    """Checks that no model answers a query twice; `cells` numbers the cell of each row."""
    _, first, count = np.unique(cells, return_index=True, return_counts=True)
    if np.all(count == 1):
        return
    row = int(first[count > 1].min())
    again = int(np.flatnonzero(cells == cells[row])[1])
    raise RecordsError(
        f"Each query and model may have one row; {counted(int((count > 1).sum()), 'pair')} "
        f"repeated, first model {quoted(rows.model[row])} on query {quoted(rows.query[row])} in "
        f"the rows {row} and {again} (counting from 0). Keep one of them, or, if they are samples, "
        "give each sample its own `query`."
    )


def require_one_group(
    query: Shaped[np.ndarray, " r"], group: Shaped[np.ndarray, " r"]
) -> dict[object, object]:
    """Checks that a query has one group, and returns the group of each query that has one."""
    found: dict[object, object] = {}
    for row, (name, value) in enumerate(zip(query, group, strict=True)):
        if value is not None and found.setdefault(name, value) != value:
            raise RecordsError(
                f"`group` must be the same in all rows of a query; query {quoted(name)} is in "
                f"{quoted(found[name])} and, in row {row} (counting from 0), in {quoted(value)}."
            )
    return found

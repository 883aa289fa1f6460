"""What all verbs print with: lines, notes, tables."""

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jaxcascade.reports.markup import Column

_MIN_WIDTH = 120


def line(text: str) -> None:
    """Prints a line."""
    console().print(escape(text))


def remarks(lines: list[str]) -> None:
    """Prints what the user should know, one note a line."""
    for text in lines:
        line(f"Note: {text}")


def console() -> Console:
    """Writes to standard output; when that is no terminal, wide enough not to break the tables."""
    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal and console.width < _MIN_WIDTH:
        return Console(highlight=False, width=_MIN_WIDTH)
    return console


def table(*columns: str) -> Table:
    """Returns an empty table: words to the left, numbers to the right."""
    found = Table(box=None, header_style="bold", pad_edge=False)
    for number, column in enumerate(columns):
        found.add_column(column, justify="left" if number == 0 or column == "policy" else "right")
    return found


def columns(found: Sequence[Column]) -> None:
    """Prints columns of equal length, as a report shows them."""
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for column in found:
        words = column.kind in ("words", "policy", "price")
        shown.add_column(column.head, justify="left" if words else "right")
    for cells in zip(*(column.cells for column in found), strict=True):
        shown.add_row(*map(escape, cells))
    console().print(shown)


def percent(share: float) -> str:
    """Writes a share in percent; nothing where it is not known."""
    return "" if np.isnan(share) else f"{100 * share:.1f} %"

"""What all verbs print with: lines, notes, tables."""

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

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


def percent(share: float) -> str:
    """Writes a share in percent; nothing where it is not known."""
    return "" if np.isnan(share) else f"{100 * share:.1f} %"

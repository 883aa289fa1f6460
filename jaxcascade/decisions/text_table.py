"""Plain text in columns, for results that print themselves; rooms below have richer tables."""

from collections.abc import Iterable, Sequence


def text_table(rows: Iterable[Sequence[str]]) -> str:
    """Lines up columns of text.

    Example:
        >>> print(text_table([("group", "rate"), ("a", "0.5")]))
        group  rate
        a      0.5
    """
    rows = list(rows)
    width = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(size) for cell, size in zip(row, width, strict=True)) for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)

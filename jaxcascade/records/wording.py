"""How the room's error messages name things: quoting, short lists, close matches."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

_SHOWN = 12


def quoted(name: object) -> str:
    """Puts double quotes around a name, so that spaces and commas in it can be seen."""
    return f'"{name}"'


def listing(names: Iterable[object], shown: int = _SHOWN) -> str:
    """Joins quoted names by commas and says how many were left out.

    Args:
        names: What to list.
        shown: How many to show at most.

    Returns:
        The text of the list.

    Examples:
        >>> listing(["a", "b, c", "d"], shown=2)
        '"a", "b, c" and 1 more'
    """
    every = [quoted(name) for name in names]
    text = ", ".join(every[:shown])
    left_out = len(every) - shown
    return f"{text} and {left_out} more" if left_out > 0 else text


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Writes a count with its noun in the right number: `1 row`, `2 rows`."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def close_match(name: str, known: Sequence[str]) -> str | None:
    """Finds the known name that a mistyped one most likely means, if there is one.

    Args:
        name: What was asked for.
        known: What there is.

    Returns:
        The closest of `known`, by its letters without regard to case, or None.

    Examples:
        >>> close_match("confidence", ["query", "conf", "model"])
        'conf'
    """
    by_lower = {other.lower(): other for other in reversed(known)}
    found = get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.5)
    return by_lower[found[0]] if found else None

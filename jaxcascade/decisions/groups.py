"""Items by group: labels of any kind as positions."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, Int, Shaped

from jaxcascade.economics.segments import group_name
from jaxcascade.errors import InvalidInputError

Labels = Sequence | Shaped[np.ndarray, " n"]
Column = Shaped[Array, " n"] | Shaped[np.ndarray, " n"] | Sequence


def group_codes(
    group: Labels, groups: Sequence[str] | None = None
) -> tuple[Int[np.ndarray, " n"], tuple[str, ...]]:
    """Returns each item's group by position, and the groups' names.

    Args:
        group: Any labels; missing ones are a group of their own.
        groups: All groups in order; by default those that occur, sorted.

    Raises:
        InvalidInputError: There is no item, or a label is not among `groups`.

    Example:
        >>> group_codes(["b", None, "a"])
        (array([2, 0, 1]), ('(none)', 'a', 'b'))
    """
    labels = [group_name(value) for value in np.asarray(group, object).tolist()]
    if not labels:
        raise InvalidInputError("`group` is empty: there must be one label per item.")
    names = tuple(sorted(set(labels)) if groups is None else groups)
    unknown = sorted(set(labels) - set(names))
    if unknown:
        raise InvalidInputError(
            f"`group` has labels that `groups` has not: {', '.join(unknown)}. Add them there, or "
            "leave `groups` out."
        )
    place = {name: at for at, name in enumerate(names)}
    return np.array([place[label] for label in labels]), names

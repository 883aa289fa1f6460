"""Queries by group: what each system does in each."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from jaxcascade.cascade import Outcome
from jaxcascade.economics.ledger import Ledger
from jaxcascade.errors import InvalidInputError, RecordsError

NO_GROUP = "(none)"


class Segments(NamedTuple):
    """What each system did in each group, over the queries that can be compared.

    Attributes:
        names: Groups, sorted; `NO_GROUP` for queries of none.
        num_queries: Comparable queries of each.
        outcome: Means, leading axes (groups, systems).
    """

    names: tuple[str, ...]
    num_queries: Int[np.ndarray, " g"]
    outcome: Outcome


def segments(ledger: Ledger) -> Segments:
    """Averages each system's outcome in each group.

    Raises:
        InvalidInputError: The records have no groups.
        RecordsError: No query can be compared.
    """
    of_query, names = groups_of(ledger)
    member = of_query == np.arange(len(names))[:, None]
    return Segments(names, member.sum(axis=1), ledger.outcomes(member.astype(float)))


def groups_of(ledger: Ledger) -> tuple[Int[np.ndarray, " n"], tuple[str, ...]]:
    """Group of each query by position, -1 where it cannot be compared; and the groups' names."""
    if ledger.group is None:
        raise InvalidInputError(
            "The records have no column `group`, which says to which segment a query belongs. "
            "Add it to the table."
        )
    known = ledger.known
    if not known.any():
        raise RecordsError(
            "No query can be compared: for each one some system lacks a labelled run of a model "
            "that it asks. Record them, or compare fewer systems."
        )
    labels = np.array([group_name(value) for value in ledger.group.tolist()])
    names, inverse = np.unique(labels[known], return_inverse=True)
    of_query = np.full(known.size, -1)
    of_query[known] = inverse
    return of_query, tuple(names.tolist())


def group_name(value: object) -> str:
    """Returns a label as text; `NO_GROUP` for a missing one."""
    missing = value is None or (isinstance(value, float) and np.isnan(value))
    return NO_GROUP if missing else str(value)

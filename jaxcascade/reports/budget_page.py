"""Budgets in a report: the mixture, what it attains, and where it lies."""

from collections.abc import Iterator
from functools import partial
from os import PathLike
from typing import NamedTuple

import numpy as np

from jaxcascade.cascade import Outcome
from jaxcascade.economics import Allocation, Limits, budget_hull
from jaxcascade.reports import assembly, markup
from jaxcascade.reports.markup import Column
from jaxcascade.tuning import dollars

_WORDS = {
    "error": "wrong, of all queries",
    "error_given_answered": "wrong, of answered queries",
    "cost_usd": "dollars per query",
    "latency_s": "seconds per query",
    "abstention": "given up",
    "late": "later than the limit",
}


class BudgetFinding(NamedTuple):
    """What there is to tell.

    Attributes:
        minimise: "cost_usd", "error", "latency_s", "abstention" or "loss".
        limits: What had to be kept.
        allocation: The best mixture.
        attained: What it does on the queries, by quantity; NaN where that is not known.
        chances: Probability that each limit holds, and all of them ("all").
        num_queries: Queries that systems were compared on.
        systems: All that there was to choose from.
        outcome: Their means; one axis, the systems.
    """

    minimise: str
    limits: Limits
    allocation: Allocation
    attained: dict[str, float]
    chances: dict[str, float]
    num_queries: int
    systems: tuple[str, ...]
    outcome: Outcome


def write_budget_report(path: str | PathLike, found: BudgetFinding) -> None:
    """Writes a report as one HTML file that needs nothing else, whole or not at all.

    Raises:
        FileFormatError: The folder does not exist.
    """
    assembly.write_page(path, "The best within limits", _parts(found))


def _parts(found: BudgetFinding) -> Iterator[str]:
    from jaxcascade.reports.rejection_figures import error_budget

    yield markup.text("p", budget_verdict(found), "verdict")
    yield markup.table(mixture_columns(found))
    yield markup.table(limit_columns(found))
    hull = budget_hull(found.systems, found.outcome)
    shown = (found.systems, found.outcome, hull, found.allocation, found.limits)
    yield from assembly.figures({"error-budget": partial(error_budget, *shown)})


def mixture_columns(found: BudgetFinding) -> list[Column]:
    """A row per system of the mixture."""
    systems, shares = found.allocation.mixture
    return [
        Column("system", systems, "policy"),
        Column("share of queries", [f"{100 * share:.1f} %" for share in shares]),
    ]


def limit_columns(found: BudgetFinding) -> list[Column]:
    """A row per quantity that is known: its limit, what is attained, and what the limit costs."""
    given, prices = found.limits.given(), found.allocation.shadow_prices._asdict()
    names = [name for name in _WORDS if not np.isnan(found.attained.get(name, np.nan))]

    def limited(cell: dict[str, str]) -> list[str]:
        return [cell.get(name, "") for name in names]

    return [
        Column("on average", [_WORDS[name] for name in names], "words"),
        Column("limit", limited({name: _amount(name, limit) for name, limit in given.items()})),
        Column("attained", [_amount(name, found.attained[name]) for name in names]),
        Column("one unit more saves", limited({name: f"{prices[name]:.4g}" for name in given})),
        Column("chance to hold", limited({name: f"{found.chances[name]:.0%}" for name in given})),
    ]


def budget_verdict(found: BudgetFinding) -> str:
    """What was minimised, and how surely all limits hold."""
    unit = "dollars" if found.minimise in ("cost_usd", "loss") else _WORDS[found.minimise]
    return (
        f"Minimised: {found.minimise}, to {found.allocation.value:.4g}. Savings are in {unit}, per "
        "unit of the limit. All limits hold at once with a probability of "
        f"{found.chances['all']:.0%}, by the bootstrap over {found.num_queries} queries; on the "
        "queries that a mixture was chosen on this is flattering."
    )


def _amount(name: str, value: float) -> str:
    if name == "cost_usd":
        return dollars(value)
    return f"{value:.2f}" if name == "latency_s" else f"{100 * value:.1f} %"

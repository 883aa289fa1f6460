"""The verb `budget`: the best mixture of policies within limits."""

import argparse
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from jaxcascade.cascade import Outcome, Prices
from jaxcascade.cli import exchange, terminal
from jaxcascade.economics import (
    Allocation,
    Ledger,
    Limits,
    best_within,
    bootstrap_weights,
    candidate_ledger,
    cautious_within,
    chance_within,
    error_given_answered,
    late_share,
)
from jaxcascade.errors import InvalidInputError
from jaxcascade.records import remarks
from jaxcascade.reports.budget_page import (
    BudgetFinding,
    budget_verdict,
    limit_columns,
    mixture_columns,
    write_budget_report,
)
from jaxcascade.tuning import load_frontier

_NUM_DRAWS = 1000
_QUANTITIES = {
    "cost": "cost_usd",
    "error": "error",
    "latency": "latency_s",
    "abstention": "abstention",
}


def budget(arguments: argparse.Namespace) -> None:
    """Finds the best mixture within limits."""
    exchange.check_writable(arguments.report, arguments.json)
    limits, minimise = _limits(arguments), _minimised(arguments)
    frontier, records = load_frontier(arguments.frontier), exchange.read_table(arguments)
    with exchange.progress_shown() as progress:
        progress("replaying policies")
        ledger = candidate_ledger(frontier, records)
        ledger.outcomes()  # says so, if no query can be compared
        ledger = ledger.take(ledger.known)
        progress("searching within the limits")
        found = _search(ledger, limits, minimise, arguments)
        if arguments.report:
            progress("drawing the report")
            write_budget_report(arguments.report, found)
    if not exchange.write_json(arguments.json, _content(found)):
        terminal.remarks(remarks(records))
        terminal.columns(mixture_columns(found))
        terminal.columns(limit_columns(found))
        terminal.line(budget_verdict(found))
        if arguments.report:
            terminal.line(f"Report written to {arguments.report}")


def _search(
    ledger: Ledger, limits: Limits, minimise: str | Prices, arguments: argparse.Namespace
) -> BudgetFinding:
    # The same weights for means and for late queries.
    weight = bootstrap_weights(jax.random.key(arguments.seed), ledger.queries.size, _NUM_DRAWS)
    draws = ledger.outcomes(weight)
    late = late_draws = None
    if arguments.latency_quantile:
        seconds = arguments.latency_quantile[1]
        late, late_draws = late_share(ledger, seconds), late_share(ledger, seconds, weight)
    if arguments.chance is None:
        found = best_within(ledger.systems, ledger.outcomes(), limits, minimise, late)
    else:
        found = cautious_within(
            ledger.systems, draws, limits, minimise, late_draws, arguments.chance
        )
    chances = chance_within(found.mixture, ledger.systems, draws, limits, late_draws)
    return BudgetFinding(
        "loss" if isinstance(minimise, Prices) else minimise,
        limits,
        found,
        _attained(found.mixture.outcome(ledger), found, ledger, late),
        chances,
        ledger.queries.size,
        ledger.systems,
        ledger.outcomes(),
    )


def _attained(
    outcome: Outcome, found: Allocation, ledger: Ledger, late: Float[np.ndarray, " s"] | None
) -> dict[str, float]:
    values = {name: float(getattr(outcome, name)) for name in _QUANTITIES.values()}
    values["error_given_answered"] = float(error_given_answered(outcome))
    if late is not None:
        rows = [ledger.position(name) for name in found.mixture.systems]
        values["late"] = float(late[rows] @ found.mixture.shares)
    return values


def _limits(arguments: argparse.Namespace) -> Limits:
    asked = {
        "error": arguments.error,
        "error_given_answered": arguments.error_given_answered,
        "cost_usd": arguments.cost,
        "latency_s": arguments.latency,
        "abstention": arguments.abstention,
    }
    given = {name: limit for name, limit in asked.items() if limit is not None}
    if arguments.latency_quantile:
        level, seconds = arguments.latency_quantile
        if not 0 < level < 1 or not seconds >= 0:
            raise InvalidInputError(
                "`--latency-quantile LEVEL S` needs a level between 0 and 1 and seconds of at "
                f"least 0; got {level:g} {seconds:g}."
            )
        given["late"] = 1.0 - level
    if not given:
        raise InvalidInputError(
            "There is no limit. Give one or more of --error, --error-given-answered, --cost, "
            "--latency, --latency-quantile and --abstention."
        )
    for name, limit in given.items():
        if not 0 <= limit < np.inf:
            flag = "--" + name.removesuffix("_usd").removesuffix("_s").replace("_", "-")
            raise InvalidInputError(f"`{flag}` must be at least 0 and finite; got {limit:g}.")
    return Limits(**given)


def _minimised(arguments: argparse.Namespace) -> str | Prices:
    chosen = arguments.minimise
    if chosen is None:
        only_cost = arguments.cost is not None and arguments.error is None
        chosen = "error" if only_cost and arguments.error_given_answered is None else "cost"
    asked = (arguments.price_error, arguments.price_latency, arguments.price_abstention)
    if chosen != "loss":
        if any(price is not None for price in asked):
            raise InvalidInputError("Prices need `--minimise loss`; nothing else is priced.")
        return _QUANTITIES[chosen]
    if arguments.price_error is None:
        raise InvalidInputError("`--minimise loss` needs a price of an error: add `--price-error`.")
    if any(price is not None and not price >= 0 for price in asked):
        raise InvalidInputError("Prices must be at least 0 dollars.")
    error, latency, abstention = asked
    return Prices(error, latency or 0.0, np.inf if abstention is None else abstention)


def _content(found: BudgetFinding) -> dict[str, Any]:
    allocation = found.allocation
    return {
        "minimise": found.minimise,
        "value": allocation.value,
        "kind": allocation.kind,
        "mixture": [
            {"system": name, "share": float(share)}
            for name, share in zip(*allocation.mixture, strict=True)
        ],
        "limits": found.limits.given(),
        "attained": {name: exchange.plain(value) for name, value in found.attained.items()},
        "shadow_prices": {
            name: price
            for name, price in allocation.shadow_prices._asdict().items()
            if name in found.limits.given()
        },
        "binding": list(allocation.binding),
        "chance_within": found.chances,
        "num_queries": found.num_queries,
    }

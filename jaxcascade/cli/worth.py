"""The verb `worth`: which system is the best at given prices, how surely, and who knows it errs."""

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcascade.cascade import Outcome
from jaxcascade.cli import exchange, terminal
from jaxcascade.economics import (
    RECOMMENDED,
    BeliefChoice,
    BreakEven,
    Choice,
    Ledger,
    LogNormalPrice,
    PriceBelief,
    SelfKnowledge,
    base_cost,
    best_system,
    best_under_belief,
    bootstrap_outcomes,
    break_even_steps,
    deferral_curve,
    frontier_map,
    lognormal_from_quantiles,
    policy_ledger,
    self_knowledge,
    single_ledger,
)
from jaxcascade.errors import InvalidInputError
from jaxcascade.posterior import Band, pointwise_band
from jaxcascade.records import Records, remarks
from jaxcascade.reports.economic_page import EconomicMaterial, write_economics_report
from jaxcascade.reports.markup import Column
from jaxcascade.tuning import Frontier, dollars, load_frontier

_LEVEL = 0.9
_QUERIES = 1000
_ELICITED = (0.05, 0.5, 0.95)
_SHOWN_RATE = 0.2


class _Priced(NamedTuple):
    """Dollars per error, second and abstention."""

    error: float
    latency: float
    abstention: float


class _Found(NamedTuple):
    """All that is shown."""

    ledger: Ledger
    draws: Outcome
    prices: _Priced
    loss: Band
    choice: Choice
    steps: tuple[BreakEven, ...]
    knowledge: tuple[SelfKnowledge, ...]
    belief: LogNormalPrice | None
    believed: BeliefChoice | None


def worth(arguments: argparse.Namespace) -> None:
    """Says what systems are worth at given prices."""
    exchange.check_writable(arguments.report, arguments.json)
    belief = _belief(arguments.elicit_error)
    prices = _prices(arguments, belief)
    metrics = _metric_prices(arguments.metric)
    frontiers = [load_frontier(path) for path in arguments.frontier or ()]
    frontiers.sort(key=lambda frontier: float(frontier.points[0].prices.latency))
    records = exchange.read_table(arguments)
    with exchange.progress_shown() as progress:
        progress("replaying systems")
        ledger, notes = _ledger(records, _nearest(frontiers, prices.latency), prices, metrics)
        found = _judged(arguments, ledger, records, prices, belief, progress)
        if arguments.report:
            progress("drawing the report")
            _write_report(arguments, found, records, frontiers)
    if not exchange.write_json(arguments.json, _content(found)):
        terminal.remarks([*remarks(records), *notes])
        for _, columns in _tables(found):
            terminal.columns(columns)
        for text in _verdict(found):
            terminal.line(text)
        if arguments.report:
            terminal.line(f"Report written to {arguments.report}")


def _judged(
    arguments: argparse.Namespace,
    ledger: Ledger,
    records: Records,
    prices: _Priced,
    belief: LogNormalPrice | None,
    progress: Callable[[str], None],
) -> _Found:
    of_means, of_steps, of_models = jax.random.split(jax.random.key(arguments.seed), 3)
    progress("drawing weights of queries")
    draws = bootstrap_outcomes(of_means, ledger, arguments.draws)
    base = base_cost(draws, prices.latency, prices.abstention)
    choice = best_system(draws, *prices)
    progress("comparing systems")
    steps = break_even_steps(
        of_steps,
        ledger,
        latency_price=prices.latency,
        abstention_price=prices.abstention,
        num_draws=arguments.draws,
        level=_LEVEL,
    )
    progress("asking who knows when it is wrong")
    knowledge = self_knowledge(
        of_models, records, rates=[_SHOWN_RATE], num_draws=arguments.draws, level=_LEVEL
    )
    believed = None
    if belief is not None:
        of_prices = PriceBelief(belief, prices.latency, prices.abstention)
        believed = best_under_belief(ledger.outcomes(), of_prices)
    loss = pointwise_band(base + prices.error * np.asarray(draws.error), _LEVEL)
    return _Found(ledger, draws, prices, loss, choice, steps, knowledge, belief, believed)


def _nearest(frontiers: list[Frontier], latency_price: float) -> Frontier | None:
    """The frontier tuned at the price of a second that is nearest."""
    if not frontiers:
        return None
    return min(frontiers, key=lambda f: abs(float(f.points[0].prices.latency) - latency_price))


def _ledger(
    records: Records, frontier: Frontier | None, prices: _Priced, metrics: dict[str, float]
) -> tuple[Ledger, list[str]]:
    """Single models, and the frontier's recommendation at the price where it asks several."""
    kinds = dict.fromkeys(metrics, "calls")
    ledger, notes = single_ledger(records, metrics=kinds), []
    if frontier is not None:
        point = frontier.at_price(prices.error)
        if point.prices.latency != prices.latency:
            notes.append(
                f"The frontier was tuned at {dollars(float(point.prices.latency))} per second, not "
                f"{dollars(prices.latency)}."
            )
        if len(point.policy.rules) == 1:
            notes.append(f"The frontier recommends {point.policy.start} alone at this price.")
        else:
            known = np.asarray(frontier.calibrate(records))
            blank = np.full(records.num_queries, np.nan)
            at = {name: known[:, j] for j, name in enumerate(frontier.models)}
            confidence = np.stack([at.get(name, blank) for name in records.models], axis=1)
            policy = {RECOMMENDED: point.policy}
            ledger = ledger.join(policy_ledger(records, confidence, policy, metrics=kinds))
            notes.append(f'"{RECOMMENDED}" by the frontier is {point.policy.describe()}.')
    dropped = records.num_queries - int(ledger.known.sum())
    if dropped:
        notes.append(
            f"{dropped} of {records.num_queries} queries do not count when systems are compared: "
            "some model lacks a labelled run."
        )
    return ledger.charged(metrics), notes


def _belief(words: list[float] | None) -> LogNormalPrice | None:
    if words is None:
        return None
    if not 0 < words[0] < words[1] < words[2] < np.inf:
        raise InvalidInputError(
            "`--elicit-error LOW MIDDLE HIGH` needs three increasing prices above 0 dollars, which "
            f"an error costs less than with 5, 50 and 95 %; got {words}."
        )
    return lognormal_from_quantiles(_ELICITED, words)


def _prices(arguments: argparse.Namespace, belief: LogNormalPrice | None) -> _Priced:
    if arguments.draws < 50:
        raise InvalidInputError(f"`--draws` must be at least 50; got {arguments.draws}.")
    error = arguments.price_error
    if error is None:
        if belief is None:
            raise InvalidInputError(
                "What is an error worth? Give `--price-error USD`, or what you believe of it with "
                "`--elicit-error LOW MIDDLE HIGH`."
            )
        error = belief.mean
    for name, price in (("error", error), ("latency", arguments.price_latency)):
        if not 0 <= price < np.inf:
            raise InvalidInputError(
                f"`--price-{name}` must be a finite price, at least 0 dollars; got {price}."
            )
    if not arguments.price_abstention >= 0:
        raise InvalidInputError(
            f"`--price-abstention` must be at least 0 dollars; got {arguments.price_abstention}."
        )
    return _Priced(error, arguments.price_latency, arguments.price_abstention)


def _metric_prices(words: list[str] | None) -> dict[str, float]:
    found = {}
    for word in words or ():
        name, _, price = word.rpartition("=")
        try:
            found[name] = float(price)
        except ValueError:
            name = ""
        if not name or not np.isfinite(found[name]):
            raise InvalidInputError(
                f"`--metric NAME=USD` needs a column and its price in dollars; got {word}."
            )
    return found


def _verdict(found: _Found) -> list[str]:
    names, choice = found.ledger.systems, found.choice
    best, runner_up = int(choice.best), int(choice.runner_up)
    lines = [
        f"At {_at_prices(found.prices)}, {names[best]} loses the least: "
        f"{dollars(_QUERIES * float(choice.expected_loss[best]))} on 1,000 queries. It is the best "
        f"with a probability of {choice.probability[best]:.0%}; to be sure which one is would be "
        f"worth {dollars(_QUERIES * float(choice.regret))} on 1,000 queries."
    ]
    if best != runner_up:
        more = float(choice.expected_loss[runner_up] - choice.expected_loss[best])
        lines.append(f"Next is {names[runner_up]}, which loses {dollars(_QUERIES * more)} more.")
    if found.belief is not None and found.believed is not None:
        low, high = (dollars(found.belief.quantile(level)) for level in _ELICITED[::2])
        lines.append(
            f"If an error costs {low} to {high}, {names[found.believed.best]} is the best choice; "
            "to know the price would be worth "
            f"{dollars(_QUERIES * found.believed.perfect_information)} on 1,000 queries."
        )
    return lines


def _at_prices(prices: _Priced) -> str:
    text = f"{dollars(prices.error)} per error"
    if prices.latency > 0:
        text += f" and {dollars(prices.latency)} per second"
    if np.isfinite(prices.abstention):
        text += f" and {dollars(prices.abstention)} per abstention"
    return text


def _tables(found: _Found) -> list[tuple[str, list[Column]]]:
    tables = [("Systems", _system_columns(found))]
    if found.steps:
        tables.append(("From which price of an error on", _step_columns(found.steps)))
    return [*tables, ("Who knows when it is wrong", _knowledge_columns(found.knowledge))]


def _system_columns(found: _Found) -> list[Column]:
    draws, levels = found.draws, f"{_LEVEL:.0%}"
    error, cost = (pointwise_band(part, _LEVEL) for part in (draws.error, draws.cost_usd))
    rows = range(len(found.ledger.systems))
    expected = _QUERIES * np.asarray(found.choice.expected_loss)
    columns = [
        Column("system", list(found.ledger.systems), "policy"),
        Column("loss per 1,000", [dollars(float(expected[s])) for s in rows]),
        Column(levels, [_dollar_range(found.loss, s) for s in rows]),
        Column("best", [f"{found.choice.probability[s]:.0%}" for s in rows]),
        Column("wrong", [f"{np.mean(draws.error, axis=0)[s]:.1%}" for s in rows]),
        Column(levels, [f"{100 * error.low[s]:.1f} to {error.high[s]:.1%}" for s in rows]),
        Column("cost per 1,000", [_dollar_range(cost, s) for s in rows]),
    ]
    if found.ledger.has_latency:
        seconds = pointwise_band(draws.latency_s, _LEVEL)
        ends = [f"{seconds.low[s]:.3g} to {seconds.high[s]:.3g}" for s in rows]
        columns.append(Column("seconds", ends))
    if np.any(np.asarray(draws.abstention) > 0):
        given_up = np.mean(draws.abstention, axis=0)
        columns.append(Column("abstained", [f"{given_up[s]:.1%}" for s in rows]))
    return columns


def _step_columns(steps: tuple[BreakEven, ...]) -> list[Column]:
    return [
        Column("better from there on", [step.accurate for step in steps], "policy"),
        Column("than", [step.other for step in steps], "policy"),
        Column("price of an error", [dollars(step.price) for step in steps]),
        Column(f"{_LEVEL:.0%}", [f"{_end(step.low)} to {_end(step.high)}" for step in steps]),
        Column("never", [f"{step.p_other_dominates + step.p_exchanged:.1%}" for step in steps]),
        Column("always", [f"{step.p_accurate_dominates:.1%}" for step in steps]),
    ]


def _knowledge_columns(rows: tuple[SelfKnowledge, ...]) -> list[Column]:
    rate = f"{_SHOWN_RATE:.0%}"
    return [
        Column("model", [row.model for row in rows], "policy"),
        Column("knows when it is wrong", [row.verdict for row in rows]),
        Column("AUROC", [_number(row.auroc) for row in rows]),
        Column("from", [_number(float(row.auroc_band.low)) for row in rows]),
        Column("to", [_number(float(row.auroc_band.high)) for row in rows]),
        Column(
            f"errors beyond chance in {rate} passed on", [f"{row.reduction[0]:.1%}" for row in rows]
        ),
        Column(
            "of the most possible",
            ["" if np.isnan(row.attained[0]) else f"{row.attained[0]:.0%}" for row in rows],
        ),
    ]


def _dollar_range(band: Band, at: int) -> str:
    low, high = (dollars(_QUERIES * float(part[at])) for part in (band.low, band.high))
    return low if low == high else f"{low} to {high}"


def _end(price: float) -> str:
    return dollars(price) if np.isfinite(price) else "never"


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"


def _write_report(
    arguments: argparse.Namespace, found: _Found, records: Records, frontiers: list[Frontier]
) -> None:
    curve, mean = None, found.ledger.outcomes()
    cost, error = (np.asarray(part)[: records.num_models] for part in (mean.cost_usd, mean.error))
    small, big = int(np.lexsort((error, cost))[0]), int(error.argmin())
    if small != big:
        key = jax.random.fold_in(jax.random.key(arguments.seed), 1)
        names, rates = records.models, np.linspace(0.0, 1.0, 41)
        curve = deferral_curve(key, records, names[small], names[big], rates, num_draws=500)
    cascades = None
    if len(frontiers) > 1:
        key = jax.random.fold_in(jax.random.key(arguments.seed), 2)
        cascades = frontier_map(key, frontiers, records, num_draws=arguments.draws)
    material = EconomicMaterial(found.ledger.systems, found.draws, *found.prices, curve, cascades)
    write_economics_report(arguments.report, _verdict(found), _tables(found), material)


def _content(found: _Found) -> dict[str, Any]:
    """Returns everything as JSON can hold it."""
    names, plain = found.ledger.systems, exchange.plain
    content = {
        "prices": {name: plain(price) for name, price in found.prices._asdict().items()},
        "num_queries": int(found.ledger.known.sum()),
        "level": _LEVEL,
        "best": names[int(found.choice.best)],
        "runner_up": names[int(found.choice.runner_up)],
        "regret": plain(found.choice.regret),
        "tail_regret": plain(found.choice.tail_regret),
        "systems": _system_rows(found),
        "break_even": [_step_row(step) for step in found.steps],
        "self_knowledge": [_knowledge_row(row) for row in found.knowledge],
    }
    if found.belief is None or found.believed is None:
        return content
    return content | {
        "belief": {
            "median": found.belief.quantile(0.5),
            "mean": found.belief.mean,
            "best": names[found.believed.best],
            "probability_best": dict(zip(names, found.believed.probability.tolist(), strict=True)),
            "perfect_information": found.believed.perfect_information,
        }
    }


def _system_rows(found: _Found) -> list[dict[str, Any]]:
    mean = found.ledger.outcomes()
    columns = {
        "loss": found.choice.expected_loss,
        "loss_low": found.loss.low,
        "loss_high": found.loss.high,
        "probability_best": found.choice.probability,
        "error": mean.error,
        "abstention": mean.abstention,
        "cost_usd": mean.cost_usd,
        "latency_s": mean.latency_s,
    }
    return [
        {"system": system} | {name: exchange.plain(cells[s]) for name, cells in columns.items()}
        for s, system in enumerate(found.ledger.systems)
    ]


def _step_row(step: BreakEven) -> dict[str, Any]:
    row = {name: exchange.plain(v) for name, v in step._asdict().items() if name != "fieller"}
    ends = None if step.fieller is None else [exchange.plain(end) for end in step.fieller]
    return row | {"fieller": ends}


def _knowledge_row(row: SelfKnowledge) -> dict[str, Any]:
    plain = exchange.plain
    return {
        "model": row.model,
        "knows_when_wrong": row.verdict,
        "auroc": plain(row.auroc),
        "auroc_low": plain(row.auroc_band.low),
        "auroc_high": plain(row.auroc_band.high),
        "passed_on": _SHOWN_RATE,
        "error_reduction": plain(row.reduction[0]),
        "share_of_most_possible": plain(row.attained[0]),
    }

"""The verb `monitor`: are new records still like those that a frontier was tuned on?"""

import argparse
from typing import Any

import jax
from rich.markup import escape

from jaxcascade.cli import exchange, terminal
from jaxcascade.economics import Monitoring, Watch
from jaxcascade.economics import monitor as monitor_frontier
from jaxcascade.records import Records
from jaxcascade.tuning import Frontier, load_frontier

# Below this share of the queries, which ones a model was asked is likely to depend on others.
_FEW = 0.9


def monitor(arguments: argparse.Namespace) -> None:
    """Tests new records for drift, and with labels for calibration."""
    exchange.check_writable(arguments.json)
    frontier, records = load_frontier(arguments.frontier), exchange.read_table(arguments)
    with exchange.progress_shown() as progress:
        progress("comparing with training")
        found = monitor_frontier(
            jax.random.key(arguments.seed),
            frontier,
            records,
            alpha=arguments.alpha,
            margin=arguments.margin,
            in_order=arguments.in_order,
        )
    if not exchange.write_json(arguments.json, content(found) | {"in_order": arguments.in_order}):
        terminal.remarks(_remarks(frontier, records, found))
        _show(found, arguments.in_order)


def content(found: Monitoring) -> dict[str, Any]:
    """Returns what was found as JSON can hold it."""
    calibration = found.calibration
    return {
        "drift": found.drift.alarm,
        "alpha": found.drift.alpha,
        "num_queries": int(found.order.size),
        "models": [
            {"model": name, "drift": alarm} | row
            for name, alarm, row in zip(
                found.models, found.drift.alarms, _rows(found.drift), strict=True
            )
        ],
        "calibration": None
        if calibration is None
        else {
            "holds": not calibration.alarm,
            "margin": found.margin,
            "models": [
                {"model": name, "holds": not alarm} | row
                for name, alarm, row in zip(
                    found.models, calibration.alarms, _rows(calibration), strict=True
                )
            ],
        },
    }


def _rows(watch: Watch) -> list[dict[str, Any]]:
    return [
        {
            "e_value": float(watch.e_value[j]),
            "largest_e_value": float(watch.largest[j]),
            "first_alarm": int(alarm) if alarm > 0 else None,
            "num_queries": int(watch.count[j]),
        }
        for j, alarm in enumerate(watch.first_alarm)
    ]


def _remarks(frontier: Frontier, records: Records, found: Monitoring) -> list[str]:
    absent = [name for name in frontier.models if name not in found.models]
    lines = [f'"{name}" has no runs here and was not judged.' for name in absent]
    for name, count in zip(found.models, found.drift.count, strict=True):
        if count < _FEW * records.num_queries:
            lines.append(
                f'"{name}" was asked only {int(count)} of {records.num_queries} queries. If that '
                "was because another model doubted, its confidence differs for that reason alone."
            )
    return lines


def _show(found: Monitoring, in_order: bool) -> None:
    names = ("model", "queries", "evidence of drift", "alarm after")
    columns = list(_cells(found.drift))
    if found.calibration is not None:
        names += ("labels", "against calibration", "alarm after")
        columns += _cells(found.calibration)
    table = terminal.table(*names)
    for row in zip(map(escape, found.models), *columns, strict=True):
        table.add_row(*row)
    terminal.console().print(table)
    watch = found.drift
    order = "in the order of the file" if in_order else "in random order"
    terminal.line(
        f"Evidence is the largest e-value on the way, {order}; an alarm takes "
        f"{len(found.models) / watch.alpha:.0f}. Chance of any false one: at most {watch.alpha:g}."
    )
    drifted = [name for name, alarm in zip(found.models, watch.alarms, strict=True) if alarm]
    if drifted:
        terminal.line(f"Drift: the confidence of {', '.join(drifted)} is not as in training.")
    else:
        terminal.line("No drift found: confidence may still be as in training.")
    if found.calibration is not None:
        alarms = zip(found.models, found.calibration.alarms, strict=True)
        failing = ", ".join(name for name, alarm in alarms if alarm)
        within = f"{100 * found.margin:g} percentage points"
        terminal.line(
            f"Calibration fails: {failing} right more or less often than announced, by over "
            f"{within}."
            if failing
            else f"Calibration may still hold within {within}."
        )


def _cells(watch: Watch) -> tuple[list[str], list[str], list[str]]:
    return (
        [str(count) for count in watch.count],
        [f"{value:.3g}" for value in watch.largest],
        ["" if alarm < 0 else str(alarm) for alarm in watch.first_alarm],
    )

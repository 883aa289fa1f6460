"""The verb `monitor`: are new records still like those that a frontier was tuned on?"""

import argparse
from typing import Any

import jax

from jaxcascade.cli import exchange, terminal
from jaxcascade.economics import Monitoring, Watch
from jaxcascade.economics import monitor as monitor_frontier
from jaxcascade.records import Records
from jaxcascade.reports.drift_page import (
    drift_columns,
    drift_note,
    drift_verdict,
    write_drift_report,
)
from jaxcascade.tuning import Frontier, load_frontier

# Below this share of the queries, which ones a model was asked is likely to depend on others.
_FEW = 0.9


def monitor(arguments: argparse.Namespace) -> None:
    """Tests new records for drift, and with labels for calibration."""
    exchange.check_writable(arguments.report, arguments.json)
    frontier, records = load_frontier(arguments.frontier), exchange.read_table(arguments)
    in_order = arguments.in_order
    with exchange.progress_shown() as progress:
        progress("comparing with training")
        found = monitor_frontier(
            jax.random.key(arguments.seed),
            frontier,
            records,
            alpha=arguments.alpha,
            margin=arguments.margin,
            in_order=in_order,
        )
        if arguments.report:
            progress("drawing the report")
            write_drift_report(arguments.report, found, in_order=in_order)
    if not exchange.write_json(arguments.json, content(found) | {"in_order": in_order}):
        terminal.remarks(_remarks(frontier, records, found))
        terminal.columns(drift_columns(found))
        for text in (drift_note(found, in_order=in_order), *drift_verdict(found)):
            terminal.line(text)
        if arguments.report:
            terminal.line(f"Report written to {arguments.report}")


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

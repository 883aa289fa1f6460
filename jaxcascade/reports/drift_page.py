"""Drift in a report: the answer, the evidence by model, and its course."""

from collections.abc import Iterator
from functools import partial
from os import PathLike

from jaxcascade.economics import Monitoring, Watch
from jaxcascade.reports import assembly, markup
from jaxcascade.reports.markup import Column


def write_drift_report(path: str | PathLike, found: Monitoring, *, in_order: bool) -> None:
    """Writes a report as one HTML file that needs nothing else, whole or not at all.

    Args:
        path: Where the file shall be.
        found: See `monitor`.
        in_order: Whether the queries were looked at in the order of the file.

    Raises:
        FileFormatError: The folder does not exist.
    """
    parts = drift_parts(found, in_order=in_order)
    assembly.write_page(path, "Is the traffic still like training?", parts)


def drift_parts(found: Monitoring, *, in_order: bool) -> Iterator[str]:
    """The answer, a row per model, and the evidence over queries."""
    from jaxcascade.reports import drift_figures

    yield from (markup.text("p", line, "verdict") for line in drift_verdict(found))
    yield markup.table(drift_columns(found))
    yield markup.text("p", drift_note(found, in_order=in_order), "note")
    yield from assembly.figures({"drift": partial(drift_figures.drift_evidence, found)})


def drift_verdict(found: Monitoring) -> list[str]:
    """Whether confidence is as in training and, with labels, whether calibration holds."""
    drifted = [name for name, alarm in zip(found.models, found.drift.alarms, strict=True) if alarm]
    lines = [
        f"Drift: the confidence of {', '.join(drifted)} is not as in training."
        if drifted
        else "No drift found: confidence may still be as in training."
    ]
    if found.calibration is not None:
        alarms = zip(found.models, found.calibration.alarms, strict=True)
        failing = ", ".join(name for name, alarm in alarms if alarm)
        within = f"{100 * found.margin:g} percentage points"
        lines.append(
            f"Calibration fails: {failing} right more or less often than announced, by over "
            f"{within}."
            if failing
            else f"Calibration may still hold within {within}."
        )
    return lines


def drift_note(found: Monitoring, *, in_order: bool) -> str:
    """How to read the evidence."""
    order = "in the order of the file" if in_order else "in random order"
    needed = len(found.models) / found.drift.alpha
    return (
        f"Evidence is the largest e-value on the way, {order}; an alarm takes {needed:.0f}. Chance "
        f"of any false one: at most {found.drift.alpha:g}."
    )


def drift_columns(found: Monitoring) -> list[Column]:
    """A row per model: evidence, and the query at which it became an alarm."""
    columns = [
        Column("model", found.models, "words"),
        *_watched(found.drift, "queries", "evidence of drift"),
    ]
    if found.calibration is not None:
        columns += _watched(found.calibration, "labels", "against calibration")
    return columns


def _watched(watch: Watch, what: str, evidence: str) -> list[Column]:
    return [
        Column(what, [str(count) for count in watch.count]),
        Column(evidence, [f"{value:.3g}" for value in watch.largest]),
        Column("alarm after", ["" if a < 0 else str(a) for a in watch.first_alarm]),
    ]

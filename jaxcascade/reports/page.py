"""The report: one file with the verdict, the tables and the figures."""

from collections.abc import Iterator, Sequence
from os import PathLike

import jax
import numpy as np

from jaxcascade.cascade import CascadeModel
from jaxcascade.economics import monitor, segment_frontier
from jaxcascade.errors import RecordsError
from jaxcascade.records import Records
from jaxcascade.reports import assembly, markup
from jaxcascade.reports.drift_page import drift_parts
from jaxcascade.reports.markup import Column
from jaxcascade.reports.segment_page import segment_parts
from jaxcascade.reports.tables import ModelRow, PolicyRow, model_rows, policy_rows
from jaxcascade.tuning import Evaluation, Frontier, dollars, verdict

_QUERIES = 1000
_NO_BREAK, _JOINED = "\N{NO-BREAK SPACE}", "\N{WORD JOINER}"


def write_report(
    path: str | PathLike,
    frontier: Frontier,
    records: Records,
    *,
    model: CascadeModel | None = None,
    evaluation: Evaluation | None = None,
    title: str | None = None,
) -> None:
    """Writes a report as one HTML file that needs nothing else, whole or not at all.

    Args:
        path: Where the file shall be.
        frontier: See `tune`.
        records: The training records, or those of the evaluation.
        model: The fitted joint model, where `records` are those it was fitted to.
        evaluation: The evaluation of the frontier on `records`.
        title: Heading of the page.

    Raises:
        FileFormatError: The folder does not exist.
        UnknownModelError: The records lack a model that a policy asks.
    """
    title = "Cascade report" if title is None else title
    assembly.write_page(path, title, _parts(frontier, records, model, evaluation))


def _parts(
    frontier: Frontier,
    records: Records,
    model: CascadeModel | None,
    evaluation: Evaluation | None,
) -> Iterator[str]:
    rows = model_rows(frontier, records)
    yield markup.text("p", verdict(frontier, evaluation).text, "verdict")
    yield markup.text("p", _facts(frontier, records, evaluation), "facts")
    yield from _policy_section(frontier, policy_rows(frontier, evaluation), evaluation is not None)
    yield from _model_section(rows)
    yield from _figure_section(frontier, records, rows, model, evaluation)
    if evaluation is not None:
        yield from _later_sections(frontier, records)


def _facts(frontier: Frontier, records: Records, evaluation: Evaluation | None) -> str:
    summary = records.summary()
    kind = "training" if evaluation is None else "test"
    prices = frontier.error_prices
    return (
        f"{summary.num_queries:,} {kind} queries, {len(frontier.models)} models, "
        f"{summary.num_missing:,} missing runs, {summary.num_unlabelled:,} without a label; "
        f"{len(prices)} prices of an error from {dollars(prices.min())} to "
        f"{dollars(prices.max())}."
    )


def _policy_section(frontier: Frontier, rows: Sequence[PolicyRow], evaluated: bool) -> list[str]:
    where = "test" if evaluated else "training"
    judged = "on test queries" if evaluated else "on held-out training queries"
    gives_up = any(row.abstention > 0 for row in rows)
    of_all = ", of all queries" if gives_up else ""
    columns = [
        Column("Price of an error", [price_range(row) for row in rows], "price"),
        Column("Policy", [row.policy.replace("; ", ";\n") for row in rows], "policy"),
        Column(f"Error expected{of_all}", [percent(row.expected_error) for row in rows]),
        *_sure_columns(frontier, rows),
        Column(f"Error in {where}{of_all}", [percent(row.error) for row in rows]),
    ]
    if gives_up:
        of_answered = [percent(row.error_given_answered) for row in rows]
        columns.append(Column(f"Error in {where}, of answered ones", of_answered))
    columns.append(Column("Cost of 1,000 queries", [dollars(_QUERIES * r.cost_usd) for r in rows]))
    columns += _latency_column(rows)
    if gives_up:
        columns.append(Column("Abstained", [percent(row.abstention) for row in rows]))
    columns.append(Column("Saved on 1,000 queries", [gain(row) for row in rows], "gain"))
    return [
        markup.text("h2", "Recommended policies"),
        markup.table(columns),
        markup.text(
            "p",
            "Each line is a range of prices over which the same models are asked in the same way; "
            "its thresholds and numbers are those of the middle of the range. Cost"
            f", latency and error as counted on the {where} queries; savings against the best "
            f"single model {judged}, ± their standard error.{_sure_note(frontier)}",
            "note",
        ),
    ]


def _sure_columns(frontier: Frontier, rows: Sequence[PolicyRow]) -> list[Column]:
    """What the posterior says, where there is one."""
    if frontier.bands is None:
        return []
    ends = [f"{percent(row.error_low)}\nto {percent(row.error_high)}" for row in rows]
    return [
        Column(f"{frontier.bands.level:.0%} of the posterior", ends),
        Column("Better than the single model", [percent(row.beats_single) for row in rows]),
    ]


def _sure_note(frontier: Frontier) -> str:
    if frontier.bands is None:
        return ""
    longest = max(len(point.policy.rules) for point in frontier.points)
    caution = ""
    if longest > 2:
        caution = (
            " Where three or more models may be asked, what the first ones said is forgotten, and "
            "intervals of errors lie too low."
        )
    return (
        f" The posterior of the joint model puts {frontier.bands.level:.0%} of its probability on "
        "the interval of errors; it also says how probable it is that the policy loses less than "
        f"the single model.{caution}"
    )


def _latency_column(rows: Sequence[ModelRow] | Sequence[PolicyRow]) -> list[Column]:
    if not any(np.isfinite(row.latency_s) for row in rows):
        return []
    return [Column("Latency", [seconds(row.latency_s) for row in rows])]


def _model_section(rows: Sequence[ModelRow]) -> list[str]:
    columns = [
        Column("Model", [row.model for row in rows], "words"),
        Column("Labelled", [f"{row.num_labelled:,}" for row in rows]),
        Column("Accuracy", [percent(row.accuracy) for row in rows]),
        Column("Cost of 1,000 queries", [dollars(_QUERIES * row.cost_usd) for row in rows]),
        *_latency_column(rows),
        Column("ECE", [percent(row.ece) for row in rows]),
        Column("AUROC", [number(row.auroc) for row in rows]),
        Column("Brier", [number(row.brier) for row in rows]),
        Column("Certain", [percent(row.certain) for row in rows]),
        Column(
            "Signal",
            ["informative" if row.informative else "no better than chance" for row in rows],
            "words",
        ),
    ]
    return [
        markup.text("h2", "Models"),
        markup.table(columns),
        markup.text(
            "p",
            "ECE (expected calibration error, over tenths of the queries) and Brier (mean squared "
            "error) judge the calibrated confidence, lower is better; AUROC is the probability "
            "that a right answer has more confidence than a wrong one; certain is the share of "
            "recorded confidences of exactly 1; a signal is informative where the AUROC is "
            "more than 1.96 standard errors above one half.",
            "note",
        ),
    ]


def _figure_section(
    frontier: Frontier,
    records: Records,
    rows: tuple[ModelRow, ...],
    model: CascadeModel | None,
    evaluation: Evaluation | None,
) -> list[str]:
    # Here, because it loads matplotlib, which a user who wants no report does not wait for.
    from jaxcascade.reports.gallery import makers
    from jaxcascade.reports.material import Material

    confidence = np.asarray(frontier.calibrate(records))
    arranged = frontier.arrange(records)
    material = Material(frontier, arranged, confidence, rows, model, evaluation)
    return [markup.text("h2", "Figures"), *assembly.figures(makers(material))]


def _later_sections(frontier: Frontier, records: Records) -> Iterator[str]:
    """What records that were not used for tuning tell besides: drift, and groups of queries."""
    if frontier.reference is not None:
        yield markup.text("h2", "Is the traffic still like training?")
        found = monitor(jax.random.key(0), frontier, records)
        yield from drift_parts(found, in_order=False)
    if records.group is not None:
        yield markup.text("h2", "One policy for all, or one per group?")
        try:
            found = segment_frontier(jax.random.key(0), frontier, records)
        except RecordsError as error:  # too few queries to judge
            yield markup.text("p", str(error), "note")
        else:
            yield from segment_parts(found)


def price_range(row: PolicyRow) -> str:
    """Writes the range of prices of a row."""
    low, high = dollars(row.lowest_price), dollars(row.highest_price)
    return low if low == high else f"{low}\nto {high}"


def gain(row: PolicyRow) -> str:
    """Writes what a row saves, with its standard error, as a share of the loss, against whom."""
    rival = f"against {row.best_single}"
    if np.isnan(row.gain_usd):
        return f"–\n{rival}"
    if row.gain_usd == row.gain_standard_error == 0:
        return f"0\n{rival}"
    sign = f"−{_JOINED}" if row.gain_usd < 0 else ""
    amount, error = (dollars(_QUERIES * abs(x)) for x in (row.gain_usd, row.gain_standard_error))
    return f"{sign}{amount}{_NO_BREAK}±{_NO_BREAK}{error}\n{sign}{abs(row.saving):.1%}\n{rival}"


def percent(share: float) -> str:
    """Writes a share; a dash where it is not known."""
    return "–" if np.isnan(share) else f"{share:.1%}"


def seconds(amount: float) -> str:
    """Writes seconds; a dash where they are not known."""
    return "–" if np.isnan(amount) else f"{amount:.2f} s"


def number(value: float) -> str:
    """Writes a measure with three digits; a dash where it is not known."""
    return "–" if np.isnan(value) else f"{value:.3f}"

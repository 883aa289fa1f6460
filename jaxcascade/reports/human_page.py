"""The report of models with a person behind them: one file with tables and figures."""

from collections.abc import Iterator, Sequence
from os import PathLike
from typing import NamedTuple

import pyarrow as pa

from jaxcascade.cascade import Policy
from jaxcascade.economics import LoopCurves
from jaxcascade.records import Records
from jaxcascade.reports import assembly, markup
from jaxcascade.reports.markup import Column


class SystemRow(NamedTuple):
    """What one system with a person does, per query unless it says otherwise.

    Attributes:
        name: Of the system.
        policy: In words.
        error: Share of wrong answers, the person's among them.
        human_share: Share of the queries that the person answers.
        human_error: Share of wrong answers among those.
        model_usd: Dollars for calls of models.
        human_usd: Dollars for the person.
        latency_s: Mean seconds until the answer, the person's among them.
        loss_usd: Everything at its price.
        saving: Of the loss against the rules' best, as a share.
        saving_standard_error: Of the same.
        reviewers: People needed on a busy day.
    """

    name: str
    policy: str
    error: float
    human_share: float
    human_error: float
    model_usd: float
    human_usd: float
    latency_s: float
    loss_usd: float
    saving: float
    saving_standard_error: float
    reviewers: int


class HumanMaterial(NamedTuple):
    """What the report shows.

    Attributes:
        verdict: The answer, in a sentence or two.
        facts: Where the numbers come from.
        systems: One row each.
        savings: See `economics.savings_table`.
        drags: See `economics.drag_table`.
        notes: What else to know, a paragraph each.
        records: Those that the systems were judged by.
        rule: "Fail fast, or ask", whose drag is drawn, on the raw confidences.
        curves: Of the rules.
    """

    verdict: str
    facts: str
    systems: Sequence[SystemRow]
    savings: pa.Table
    drags: pa.Table
    notes: Sequence[str]
    records: Records
    rule: Policy
    curves: LoopCurves


def write_human_report(path: str | PathLike, material: HumanMaterial) -> None:
    """Writes a report as one HTML file that needs nothing else, whole or not at all.

    Raises:
        FileFormatError: The folder does not exist.
    """
    assembly.write_page(path, "Models with a person behind them", _parts(material))


def _parts(material: HumanMaterial) -> Iterator[str]:
    yield markup.text("p", material.verdict, "verdict")
    yield markup.text("p", material.facts, "facts")
    yield markup.text("h2", "Systems")
    yield markup.table(system_columns(material.systems))
    yield markup.text("h2", "What fail fast, or ask saves over ask")
    yield markup.table(savings_columns(material.savings))
    yield markup.text("h2", "Latency drag and cost drag")
    yield markup.table(drag_columns(material.drags))
    yield from (markup.text("p", note, "note") for note in material.notes)
    yield markup.text("h2", "Figures")
    yield from _figures(material)


def system_columns(rows: Sequence[SystemRow]) -> list[Column]:
    """The table of systems as text."""
    return [
        Column("system", [row.name for row in rows], "words"),
        Column("policy", [row.policy.replace("; ", ";\n") for row in rows], "policy"),
        Column("wrong", [f"{row.error:.1%}" for row in rows]),
        Column("by a person", [f"{row.human_share:.1%}" for row in rows]),
        Column("cost", [f"${row.model_usd + row.human_usd:.4f}" for row in rows]),
        Column("seconds", [f"{row.latency_s:.0f}" for row in rows]),
        Column("loss", [f"${row.loss_usd:.4f}" for row in rows]),
        Column("saved", [_saved(row) for row in rows]),
        Column("reviewers", [f"{row.reviewers}" for row in rows]),
    ]


def savings_columns(table: pa.Table) -> list[Column]:
    """The table of `economics.savings_table` as text, with intervals."""
    rows = table.to_pylist()
    names = {
        "auarc": "AUARC",
        "auarc_change": "change of AUARC",
        "latency_change": "change of latency",
        "cost_change": "change of cost",
    }
    return [
        Column("spared", [f"{row['utilisation']:.0%}" for row in rows]),
        *(
            Column(head, [_interval(row, name, "{:.1%}") for row in rows])
            for name, head in names.items()
        ),
    ]


def drag_columns(table: pa.Table) -> list[Column]:
    """The table of `economics.drag_table` as text, with intervals."""
    rows = table.to_pylist()
    units = {"latency_s": "seconds", "cost_usd": "dollars"}
    digits = {"latency_s": "{:.1f}", "cost_usd": "{:.4f}"}
    names = {"drag": "drag", "no_easy": "no easy ones", "no_hardest": "no hardest ones"}
    return [
        Column("amount", [units[row["amount"]] for row in rows], "words"),
        Column("spared", [f"{row['utilisation']:.0%}" for row in rows]),
        *(
            Column(head, [digits[row["amount"]].format(row[name]) for row in rows])
            for name, head in (("naive", "naive"), ("actual", "actual"))
        ),
        *(
            Column(head, [_interval(row, name, digits[row["amount"]]) for row in rows])
            for name, head in names.items()
        ),
    ]


def _interval(row: dict, name: str, digits: str) -> str:
    value, low, high = (digits.format(row[f"{name}{end}"]) for end in ("", "_low", "_high"))
    return f"{value}\n{low} to {high}"


def _saved(row: SystemRow) -> str:
    if row.saving == row.saving_standard_error == 0:
        return "0"
    return f"{row.saving:.1%} ± {row.saving_standard_error:.1%}"


def _figures(material: HumanMaterial) -> list[str]:
    # Here, because it loads matplotlib, which a user who wants no report does not wait for.
    from jaxcascade.reports import human_figures

    records, rule = material.records, material.rule
    makers = {
        "tokens": lambda: human_figures.tokens_by_difficulty(records),
        "correctness": lambda: human_figures.correctness_by_tokens(records),
        "drag": lambda: human_figures.drag_by_confidence(records, records.confidence, rule),
        "rejection": lambda: human_figures.rejection_curves(material.curves),
    }
    return assembly.figures(makers)

"""The report of candidates, raters and a phone screen: one file with tables and figures."""

from collections.abc import Iterator, Sequence
from os import PathLike
from typing import NamedTuple

from jaxcascade.reports import assembly, markup
from jaxcascade.reports.markup import Column


class Estimate(NamedTuple):
    """A mean over simulations and its 95 % interval."""

    value: float
    low: float
    high: float


class MethodRow(NamedTuple):
    """What one method does; dollars are of 1,000 candidates.

    Attributes:
        name: Of the method.
        cost_usd: The sum of the next three.
        missed_usd: For the fit that are rejected.
        interviews_usd: For the unfit that are interviewed.
        screens_usd: For phone screens.
        spread_usd: Cost that 5 % of the simulations stay below, and 5 % exceed.
        screened: Share of the candidates that are screened.
        interviewed: Share that is interviewed.
        missed: Share of the fit that is rejected.
        rate_gap: Share interviewed of the first group minus that of the second.
        missed_gap: Share of the fit that is rejected in the second group, minus the first's.
    """

    name: str
    cost_usd: Estimate
    missed_usd: float
    interviews_usd: float
    screens_usd: float
    spread_usd: tuple[float, float]
    screened: float
    interviewed: float
    missed: float
    rate_gap: Estimate
    missed_gap: Estimate


class SavingRow(NamedTuple):
    """What one method saves against the baseline; negative where it costs more.

    Attributes:
        name: Of the method.
        saved_usd: Of 1,000 candidates' cost, by differences within each simulation.
        saved_share: The same, of the baseline's cost.
        cheaper: Share of the simulations in which the method costs less.
    """

    name: str
    saved_usd: Estimate
    saved_share: Estimate
    cheaper: float


class PartRow(NamedTuple):
    """What one part of a method contributes to what all save, in percent.

    Attributes:
        name: Of the part.
        left_out: What is lost without it alone.
        shapley: What it adds on average over all orders in which parts can be added.
    """

    name: str
    left_out: Estimate
    shapley: Estimate


class ComparisonRow(NamedTuple):
    """One result of the paper, in words, and the same here; nothing where there is none."""

    result: str
    paper: str
    here: str


class Notes(NamedTuple):
    """What to know of each table."""

    methods: str
    savings: str
    parts: str
    comparison: str


class ScreeningMaterial(NamedTuple):
    """What the report shows.

    Attributes:
        verdict: The answer, in a sentence or two.
        facts: Where the numbers come from.
        methods: One row each.
        baseline: The method that the others are compared with.
        savings: Of the best of the others.
        parts: Of the whole method; last their sum.
        comparison: With the paper.
        notes: One on each table.
    """

    verdict: str
    facts: str
    methods: Sequence[MethodRow]
    baseline: str
    savings: Sequence[SavingRow]
    parts: Sequence[PartRow]
    comparison: Sequence[ComparisonRow]
    notes: Notes


class Section(NamedTuple):
    """A table with its title and what to know of it."""

    title: str
    columns: list[Column]
    note: str


def write_screening_report(path: str | PathLike, material: ScreeningMaterial) -> None:
    """Writes a report as one HTML file that needs nothing else, whole or not at all.

    Raises:
        FileFormatError: The folder does not exist.
    """
    assembly.write_page(path, "Raters, a phone screen, and what mistakes cost", _parts(material))


def _parts(material: ScreeningMaterial) -> Iterator[str]:
    yield markup.text("p", material.verdict, "verdict")
    yield markup.text("p", material.facts, "facts")
    for section in sections(material):
        yield markup.text("h2", section.title)
        yield markup.table(section.columns)
        yield markup.text("p", section.note, "note")
    yield markup.text("h2", "Figures")
    yield from _figures(material)


def sections(material: ScreeningMaterial) -> list[Section]:
    """The tables, in the order in which they are shown."""
    notes = material.notes
    return [
        Section("Methods", method_columns(material.methods), notes.methods),
        Section(f'Against "{material.baseline}"', saving_columns(material.savings), notes.savings),
        Section("What each part contributes", part_columns(material.parts), notes.parts),
        Section("Beside the paper", comparison_columns(material.comparison), notes.comparison),
    ]


def method_columns(rows: Sequence[MethodRow]) -> list[Column]:
    """The table of methods as text: costs in thousands of dollars, gaps in points."""
    return [
        Column("method", [row.name for row in rows], "words"),
        Column("cost\n($1,000)", [_plus_minus(row.cost_usd, 1e-3, 0) for row in rows]),
        Column("middle\n90 %", [_thousands(row.spread_usd) for row in rows]),
        Column("screened", [f"{row.screened:.1%}" for row in rows]),
        Column("interviewed", [f"{row.interviewed:.1%}" for row in rows]),
        Column("fit\nmissed", [f"{row.missed:.1%}" for row in rows]),
        Column("gap\ninterviewed", [_plus_minus(row.rate_gap, 100, 1) for row in rows]),
        Column("gap\nmissed", [_plus_minus(row.missed_gap, 100, 1) for row in rows]),
    ]


def saving_columns(rows: Sequence[SavingRow]) -> list[Column]:
    """The table of savings as text, with intervals."""
    return [
        Column("method", [row.name for row in rows], "words"),
        Column("saved ($1,000)", [f"{row.saved_usd.value / 1000:,.0f}" for row in rows]),
        Column("95 % interval", [_thousands(row.saved_usd[1:]) for row in rows]),
        Column("saved", [f"{row.saved_share.value:.1%}" for row in rows]),
        Column(
            "95 % interval",
            [f"{row.saved_share.low:.1%} to {row.saved_share.high:.1%}" for row in rows],
        ),
        Column("cheaper in", [f"{row.cheaper:.0%}" for row in rows]),
    ]


def part_columns(rows: Sequence[PartRow]) -> list[Column]:
    """The table of contributions as text, in percent, with intervals."""
    found = [Column("part", [row.name for row in rows], "words")]
    for head, estimates in (
        ("left out", [row.left_out for row in rows]),
        ("Shapley", [row.shapley for row in rows]),
    ):
        found += [
            Column(head, [f"{one.value:.1f}%" for one in estimates]),
            Column("95 % interval", [f"{one.low:.1f} to {one.high:.1f}" for one in estimates]),
        ]
    return found


def comparison_columns(rows: Sequence[ComparisonRow]) -> list[Column]:
    """The table of the paper's results and ours as text."""
    return [
        Column("result", [row.result for row in rows], "words"),
        Column("paper", [row.paper for row in rows], "words"),
        Column("here", [row.here for row in rows], "words"),
    ]


def _plus_minus(estimate: Estimate, times: float, digits: int) -> str:
    half = times * (estimate.high - estimate.low) / 2
    # Adding zero makes a rounded minus zero a plain one.
    value = round(times * estimate.value, digits) + 0.0
    return f"{value:,.{digits}f} ± {half:,.{digits}f}"


def _thousands(ends: Sequence[float]) -> str:
    return " to ".join(f"{end / 1000:,.0f}" for end in ends)


def _figures(material: ScreeningMaterial) -> list[str]:
    # Here, because it loads matplotlib, which a user who wants no report does not wait for.
    from jaxcascade.reports import screening_figures

    methods, baseline = material.methods, material.baseline
    makers = {
        "cost": lambda: screening_figures.cost_by_method(methods, baseline),
        "composition": lambda: screening_figures.cost_composition(methods),
        "gaps": lambda: screening_figures.gaps_by_method(methods),
        "ablation": lambda: screening_figures.contributions(material.parts[:-1]),
    }
    return assembly.figures(makers)

"""The page on raters and a phone screen, and its figures, against the numbers that they show."""

import numpy as np
import pytest

from jaxcascade.errors import FileFormatError
from jaxcascade.reports import screening_figures
from jaxcascade.reports.screening_page import (
    ComparisonRow,
    Estimate,
    MethodRow,
    Notes,
    PartRow,
    SavingRow,
    ScreeningMaterial,
    method_columns,
    part_columns,
    saving_columns,
    sections,
    write_screening_report,
)
from jaxcascade.reports.style import COLOURS, drawing


def around(value: float, half: float) -> Estimate:
    return Estimate(value, value - half, value + half)


def method(name: str, missed: float, interviews: float, screens: float, gap: float) -> MethodRow:
    total = missed + interviews + screens
    return MethodRow(
        name,
        around(total, 2e4),
        missed,
        interviews,
        screens,
        (0.8 * total, 1.2 * total),
        0.25,
        0.5,
        0.125,
        around(gap, 0.01),
        around(-gap, 0.02),
    )


METHODS = (
    method("interview all", 0, 2e6, 0, 0),
    method("reject <all>", 8e6, 0, 0, -1e-5),
    method("one rater", 3e5, 3.5e5, 8e4, 0.058),
)
SAVINGS = (
    SavingRow("pool", around(-2.25e4, 1e4), around(-0.032, 0.013), 0.38),
    SavingRow("best", around(1.295e6, 5e3), around(0.41, 0.02), 1.0),
)
PARTS = (
    PartRow("costs", around(20.31, 0.75), around(50.2, 0.5)),
    PartRow("raters", around(-0.4, 0.2), around(-3.0, 0.2)),
    PartRow("sum", around(31.1, 1.0), around(100.0, 0.0)),
)
MATERIAL = ScreeningMaterial(
    "It pays & more.",
    "Simulated.",
    METHODS,
    "one rater",
    SAVINGS,
    PARTS,
    [ComparisonRow("sum of parts", "114%", "31.1%")],
    Notes("on methods", "on savings", "on parts", "on the paper"),
)


def cells(columns) -> list[list[str]]:
    return [list(column.cells) for column in columns]


def test_methods_are_told_in_thousands_and_points():
    found = cells(method_columns(METHODS))
    assert found[1] == ["2,000 ± 20", "8,000 ± 20", "730 ± 20"]
    assert found[2] == ["1,600 to 2,400", "6,400 to 9,600", "584 to 876"]
    assert found[3:6] == [["25.0%"] * 3, ["50.0%"] * 3, ["12.5%"] * 3]
    # No minus before a zero that was rounded.
    assert found[6] == ["0.0 ± 1.0", "0.0 ± 1.0", "5.8 ± 1.0"]
    assert found[7] == ["0.0 ± 2.0", "0.0 ± 2.0", "-5.8 ± 2.0"]


def test_savings_and_parts_are_told_with_intervals():
    assert cells(saving_columns(SAVINGS))[1:] == [
        ["-22", "1,295"],
        ["-32 to -12", "1,290 to 1,300"],
        ["-3.2%", "41.0%"],
        ["-4.5% to -1.9%", "39.0% to 43.0%"],
        ["38%", "100%"],
    ]
    assert cells(part_columns(PARTS))[1:3] == [
        ["20.3%", "-0.4%", "31.1%"],
        ["19.6 to 21.1", "-0.6 to -0.2", "30.1 to 32.1"],
    ]


def test_the_page_has_every_table_with_its_note_and_every_figure(tmp_path):
    path = tmp_path / "r.html"
    write_screening_report(path, MATERIAL)
    page = path.read_text()
    places = [page.index(f"<h2>{section.title.replace(chr(34), '&quot;')}</h2>")
              for section in sections(MATERIAL)]  # fmt: skip
    notes = [page.index(note) for note in MATERIAL.notes]
    assert sorted([*places, *notes]) == [
        x for pair in zip(places, notes, strict=True) for x in pair
    ]
    assert "It pays &amp; more." in page
    assert "reject &lt;all&gt;" in page
    for name in ("cost", "composition", "gaps", "ablation"):
        assert f'<figure id="{name}">' in page
    with pytest.raises(FileFormatError, match="no folder"):
        write_screening_report(tmp_path / "nowhere" / "r.html", MATERIAL)


def test_costs_are_drawn_with_intervals_and_the_baseline_across():
    with drawing():
        figure = screening_figures.cost_by_method(METHODS, "one rater").figure
        figure.draw_without_rendering()
    (ax,) = figure.axes
    strokes = [line for line in ax.get_lines() if line.get_marker() == "|"]
    for position, (row, stroke) in enumerate(zip(METHODS, strokes, strict=True)):
        assert stroke.get_xydata().tolist() == [[row.cost_usd.value, position]]
        assert stroke.get_color() == COLOURS[position == 2]
        spread, interval = ax.collections[2 * position : 2 * position + 2]
        np.testing.assert_allclose(spread.get_segments()[0][:, 0], row.spread_usd)
        np.testing.assert_allclose(interval.get_segments()[0][:, 0], row.cost_usd[1:])
    (across,) = (line for line in ax.get_lines() if line.get_linestyle() == "--")
    assert list(across.get_xdata()) == [7.3e5, 7.3e5]
    assert [label.get_text() for label in ax.get_yticklabels()] == [row.name for row in METHODS]
    assert ax.get_xscale() == "log"
    ticks = [label.get_text() for label in ax.get_xticklabels()]
    assert "$1,000,000" in ticks


def test_parts_of_costs_are_stacked_for_methods_that_are_not_too_dear():
    with drawing():
        figure = screening_figures.cost_composition(METHODS).figure
        figure.draw_without_rendering()
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["interview all", "one rater"]
    bars = [[(bar.get_x(), bar.get_width()) for bar in group] for group in ax.containers]
    assert bars == [
        [(0, 0), (0, 3e5)],
        [(0, 2e6), (3e5, 3.5e5)],
        [(2e6, 0), (6.5e5, 8e4)],
    ]
    assert [text.get_text() for text in ax.texts] == ["$2,000,000", "$730,000"]
    assert ax.get_xlim()[1] > 2e6


def test_gaps_are_drawn_side_by_side():
    with drawing():
        figure = screening_figures.gaps_by_method(METHODS).figure
        figure.draw_without_rendering()
    for ax, gaps in zip(
        figure.axes,
        ([row.rate_gap for row in METHODS], [row.missed_gap for row in METHODS]),
        strict=True,
    ):
        points = [line for line in ax.get_lines() if line.get_marker() == "o"]
        assert [line.get_xdata()[0] for line in points] == [gap.value for gap in gaps]
        for lines, gap in zip(ax.collections, gaps, strict=True):
            np.testing.assert_allclose(lines.get_segments()[0][:, 0], gap[1:])
    left, right = ([text.get_text() for text in ax.get_yticklabels()] for ax in figure.axes)
    assert left == [row.name for row in METHODS]
    assert set(right) == {""}


def test_both_kinds_of_shares_stand_side_by_side():
    with drawing():
        figure = screening_figures.contributions(PARTS[:-1]).figure
        figure.draw_without_rendering()
    (ax,) = figure.axes
    kinds = ([row.left_out for row in PARTS[:-1]], [row.shapley for row in PARTS[:-1]])
    for number, (bars, estimates) in enumerate(zip(ax.containers, kinds, strict=True)):
        assert [bar.get_width() for bar in bars] == [one.value for one in estimates]
        for at, one in enumerate(estimates):
            segment = ax.collections[2 * number + at].get_segments()[0]
            np.testing.assert_allclose(segment[:, 0], one[1:])
            bar = bars[at]
            assert segment[0, 1] == pytest.approx(bar.get_y() + bar.get_height() / 2)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["left out", "Shapley"]

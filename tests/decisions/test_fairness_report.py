"""A table of metrics: its rows by name, and what it prints."""

import pytest

from jaxcascade.decisions.fairness_report import GAP, Fairness, FairnessRow
from jaxcascade.errors import InvalidInputError

NAN = float("nan")
TABLE = Fairness(
    (
        FairnessRow("favourable_rate", "a", 0.25, 0.1, 0.4, 40, True),
        FairnessRow("favourable_rate", "b", 0.0, 0.0, 0.2, 9, False),
        FairnessRow("demographic_parity", GAP, 0.25, 0.0, 0.5, 40, False, 0.08, 0.7),
        FairnessRow("expected_cost_usd", "a", 8530.0, 8000.0, 9000.0, 40, True),
        FairnessRow("expected_cost_gap_usd", GAP, NAN, NAN, NAN, 40, False),
    ),
    0.9,
)


def test_it_prints_a_readable_table():
    head, *lines = str(TABLE).splitlines()
    assert head.split() == [
        "metric", "group", "estimate", "90%", "interval", "count", "by", "chance", "P(beyond)",
    ]  # fmt: skip
    assert lines[0].split() == ["favourable_rate", "a", "0.250", "[0.100,", "0.400]", "40"]
    assert "0.000 (not enough data)" in lines[1]
    assert "0.250 (groups left out)" in lines[2]
    assert lines[2].split()[-2:] == ["0.080", "0.700"]
    assert "8,530.00" in lines[3]
    assert "not enough data" in lines[4]
    assert "nan" not in str(TABLE)
    assert len({line.find("[") for line in lines} - {-1}) == 1


def test_an_unknown_row_says_which_there_are():
    assert TABLE.row("demographic_parity").beyond == 0.7
    with pytest.raises(InvalidInputError, match="there are demographic_parity, expected_cost"):
        TABLE.row("parity")

"""What an audit prints: its caveats, and a table for each kind of row that there is."""

from jaxcascade.decisions.audit_report import Audit, GroupAudit, PositionAudit, SegmentAudit

SEGMENT = SegmentAudit(
    ("gpt", "clerk"), 100, "b", "a", 0.5, 0.4, 0.6, 0.95, 0.85, 0.7, 0.2, 0.0125, 0.04999
)
GROUP = GroupAudit(("gpt", "clerk"), "b", 100, 20, 0.2, 0.15, 0.25, 0.5, 0.22, 0.28, 0.01, 0.02)
POSITION = PositionAudit(("gpt", "clerk"), "0", 100, 0.4, 0.35, 0.45, 0.25)


def test_it_prints_its_caveats_and_tables():
    notes, segments, groups, positions = str(
        Audit((SEGMENT,), (GROUP,), (POSITION,), 1, 0.9)
    ).split("\n\n")
    assert "rank 1 or better. Intervals: 90%" in notes
    assert "no truth, so only rates are compared" in notes
    assert segments.splitlines()[1].split() == [
        "gpt", "/", "clerk", "100", "0.500", "[0.400,", "0.600]", "0.950", "b", "/", "a",
        "0.850", "(0.700)", "0.200", "0.0125", "0.0500",
    ]  # fmt: skip
    assert groups.splitlines()[1].split() == [
        "gpt", "/", "clerk", "b", "20/100", "0.200", "[0.150,", "0.250]", "0.500",
        "[0.220,", "0.280]", "0.0100", "0.0200",
    ]  # fmt: skip
    assert positions.splitlines()[1].split() == [
        "gpt", "/", "clerk", "0", "100", "0.400", "[0.350,", "0.450]", "0.250",
    ]  # fmt: skip


def test_one_segment_has_no_name_and_places_need_not_be_known():
    alone = Audit((SEGMENT._replace(segment=()),), (GROUP,), (), 2, 0.9)
    assert "\nall " in str(alone)
    assert "position" not in str(alone)

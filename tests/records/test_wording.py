import pytest

from jaxcascade.records.wording import close_match, counted, listing, quoted


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("confidence", ["query", "conf"], "conf"),
        ("confidence", ["Confidence", "conf"], "Confidence"),
        ("large", ["small", "Large"], "Large"),
        ("large", ["x", "y"], None),
        ("large", [], None),
    ],
)
def test_close_match_finds_what_is_meant(name, known, expected):
    assert close_match(name, known) == expected


def test_lists_are_quoted_and_cut():
    assert listing(["a", "b, c"]) == '"a", "b, c"'
    assert listing(range(5), shown=3) == '"0", "1", "2" and 2 more'
    assert quoted("大") == '"大"'
    assert (counted(1, "row"), counted(2, "row"), counted(0, "query", "queries")) == (
        "1 row",
        "2 rows",
        "0 queries",
    )

"""Labels as positions, missing and unknown ones among them."""

import pytest

from jaxcascade.decisions.groups import group_codes
from jaxcascade.errors import InvalidInputError


def test_a_missing_label_is_a_group():
    codes, names = group_codes(["b", None, float("nan"), "a", 3])
    assert names == ("(none)", "3", "a", "b")
    assert codes.tolist() == [3, 0, 0, 2, 1]


def test_groups_are_in_the_order_given_and_need_not_occur():
    codes, names = group_codes(["a", "b"], ["c", "b", "a"])
    assert names == ("c", "b", "a")
    assert codes.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("labels", "groups", "words"),
    [([], None, "one label per item"), (["a", "b"], ["a"], "labels that `groups` has not: b")],
)
def test_what_has_no_position(labels, groups, words):
    with pytest.raises(InvalidInputError, match=words):
        group_codes(labels, groups)

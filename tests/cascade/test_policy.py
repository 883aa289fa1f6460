import os
import subprocess
import sys

import numpy as np
import pytest

from jaxcascade.cascade import ABSTAIN, ACCEPT, Policy, PolicyArrays, Rule, stack_policies
from jaxcascade.errors import PolicyError

END = Rule((), ("accept",))


@pytest.mark.parametrize(
    ("start", "rules", "message"),
    [
        ("a", {"a": Rule((0.5,), ("accept",))}, "one action more than breakpoints; it has 1"),
        ("a", {"a": Rule((0.5, 0.5), ("abstain",) * 3)}, r'"a" must be finite and increase'),
        ("a", {"a": Rule((0.6, 0.5), ("abstain",) * 3)}, r"must be finite and increase"),
        ("a", {"a": Rule((np.nan,), ("abstain", "accept"))}, r"must be finite and increase; got"),
        ("a", {"a": Rule((np.inf,), ("abstain", "accept"))}, r"must be finite and increase"),
        ("a", {"a": Rule((0.5,), ("b", "accept"))}, r'can ask "b" but has no rule'),
        ("b", {"a": END}, r'can ask "b" but has no rule'),
        ("a", {"a": END, "b": END}, r'rule for "b" but never asks it'),
        ("a", {"a": Rule((0.5,), ("a", "accept"))}, r'ask a model twice: "a" > "a"'),
        (
            "a",
            {"a": Rule((0.5,), ("b", "accept")), "b": Rule((0.5,), ("a", "accept"))},
            r'could ask a model twice: "[ab]" > "[ab]" > "[ab]"',
        ),
        ("a", {}, r'can ask "a" but has no rule'),
    ],
)  # fmt: skip
def test_a_policy_that_contradicts_itself_is_refused(start, rules, message):
    with pytest.raises(PolicyError, match=message):
        Policy(start, rules)


@pytest.mark.parametrize("thresholds", [[], [0.1, 0.2]])
def test_a_threshold_cascade_needs_one_threshold_fewer_than_models(thresholds):
    with pytest.raises(PolicyError, match=rf"one fewer than the 2 models; got {len(thresholds)}"):
        Policy.threshold_cascade(["a", "b"], thresholds)


def test_arrays_need_every_model_and_a_possible_order():
    policy = Policy.threshold_cascade(["a", "b"], [0.5])
    with pytest.raises(PolicyError, match=r'asks "b", which is not among the models'):
        policy.to_arrays(["a", "c"])
    with pytest.raises(PolicyError, match=r'must list "a" before the models it passes on to'):
        policy.to_arrays(["b", "a"])


DIAMOND = Policy(
    "a",
    {
        "a": Rule((0.2, 0.5, 0.9), ("abstain", "b", "c", "accept")),
        "b": Rule((0.3,), ("d", "accept")),
        "c": Rule((0.4,), ("d", "accept")),
        "d": Rule((0.1,), ("abstain", "accept")),
    },
)


def test_order_puts_each_model_after_those_that_pass_on_to_it():
    order = DIAMOND.order()
    assert sorted(order) == ["a", "b", "c", "d"]
    assert order[0] == "a"
    assert order[-1] == "d"
    assert Policy.single("x").order() == ("x",)
    assert Policy.threshold_cascade(["c", "b", "a"], [0.1, 0.2]).order() == ("c", "b", "a")


def test_arrays_by_hand():
    arrays = DIAMOND.to_arrays(("a", "c", "b", "unused", "d"), 4)
    assert arrays.start == 0
    assert arrays.breakpoints.tolist()[0] == [0.2, 0.5, 0.9, np.inf]
    assert arrays.breakpoints.tolist()[3] == [np.inf] * 4
    assert arrays.actions.tolist()[0] == [ABSTAIN, 2, 1, ACCEPT, ACCEPT]
    assert arrays.actions.tolist()[1][:2] == [4, ACCEPT]
    assert arrays.actions.tolist()[4][:2] == [ABSTAIN, ACCEPT]


@pytest.mark.parametrize("width", [None, 3, 7])
def test_arrays_round_trip(width):
    models = ("a", "b", "c", "d")
    assert Policy.from_arrays(DIAMOND.to_arrays(models, width), models) == DIAMOND


def test_from_arrays_merges_intervals_and_drops_what_is_not_reached():
    arrays = PolicyArrays(
        np.array(1),
        np.array([[0.5, np.inf, np.inf], [0.2, 0.4, 0.6], [np.inf] * 3]),
        np.array([[2, ACCEPT, ACCEPT, ACCEPT], [2, 2, ABSTAIN, ABSTAIN], [ACCEPT] * 4]),
    )
    policy = Policy.from_arrays(arrays, ("a", "b", "c"))
    assert policy == Policy("b", {"b": Rule((0.4,), ("c", "abstain")), "c": END})


def test_from_arrays_leaves_out_models_whose_answer_is_never_used():
    """A threshold at infinity always passes on; what passes to it may as well go on at once."""
    inf = np.inf
    arrays = PolicyArrays(np.array(0), np.full((2, 1), inf), np.array([[1, ACCEPT], [ACCEPT] * 2]))
    assert Policy.from_arrays(arrays, ("a", "b")) == Policy.single("b")
    between = PolicyArrays(
        np.array(0),
        np.array([[0.3, 0.6], [inf, inf], [0.5, inf]]),
        np.array([[1, 2, ACCEPT], [2, ACCEPT, ACCEPT], [ABSTAIN, ACCEPT, ACCEPT]]),
    )
    assert Policy.from_arrays(between, ("a", "b", "c")) == Policy(
        "a", {"a": Rule((0.6,), ("c", "accept")), "c": Rule((0.5,), ("abstain", "accept"))}
    )


def test_from_arrays_leaves_out_a_model_that_becomes_idle_when_another_is_left_out():
    """Model a passes to b or d, and b always to d: so a always ends at d, and is not needed."""
    inf = np.inf
    arrays = PolicyArrays(
        np.array(0),
        np.array([[0.3], [inf], [inf]]),
        np.array([[1, 2], [2, ACCEPT], [ACCEPT, ACCEPT]]),
    )
    assert Policy.from_arrays(arrays, ("a", "b", "d")) == Policy.single("d")


def test_from_arrays_with_a_threshold_below_everything_never_passes_on():
    breakpoints = np.array([[-np.inf], [np.inf]])
    arrays = PolicyArrays(np.array(0), breakpoints, np.array([[1, ACCEPT], [ACCEPT] * 2]))
    policy = Policy.from_arrays(arrays, ("a", "b"))
    assert policy == Policy.single("a")


def test_stacks_share_a_width_that_is_a_power_of_two():
    short, long = (
        Policy.single("a"),
        Policy("a", {"a": Rule(tuple(np.arange(9.0)), ("accept",) * 10)}),
    )
    assert stack_policies([short, short], ["a"]).breakpoints.shape == (2, 1, 8)
    assert stack_policies([short, long], ["a"]).breakpoints.shape == (2, 1, 16)
    assert stack_policies([short, long], ["a"]).actions.shape == (2, 1, 17)


def test_describe_names_every_model_action_and_breakpoint():
    assert Policy.single("a").describe() == "a"
    words = DIAMOND.describe()
    assert words.startswith("a")
    for part in ("abstain", "to b", "to c", "to d", "0.2", "0.5", "0.9", "0.3", "0.4", "0.1"):
        assert part in words
    always = Policy("a", {"a": Rule((), ("b",)), "b": Rule((0.3,), ("abstain", "accept"))})
    assert "to b" in always.describe()


def test_equal_policies_are_equal():
    assert Policy.threshold_cascade(["a", "b"], [0.5]) == Policy(
        "a", {"a": Rule((0.5,), ("b", "accept")), "b": END}
    )


def test_order_does_not_depend_on_the_hash_seed():
    """Two models that do not pass on to each other stand in the same order in every process."""
    program = (
        "from jaxcascade.cascade import Policy, Rule\n"
        "end = Rule((), ('accept',))\n"
        "start = Rule((.2, .4, .6), ('beta', 'gamma', 'delta', 'accept'))\n"
        "print(Policy('a', {'a': start, 'beta': end, 'gamma': end, 'delta': end}).order())\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
        ).stdout
        for seed in (1, 2, 3)
    }
    assert len(found) == 1, found

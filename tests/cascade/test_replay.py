"""Replay and routing against plain loops."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcascade.cascade import (
    ABSTAIN,
    ACCEPT,
    MISSING,
    Observations,
    Policy,
    Rule,
    mean_outcome,
    replay,
    replayable,
    replayed_outcomes,
    stack_policies,
)

NAMES = ("a", "b", "c", "d")
N, K = 60, 4


def observed(seed=0):
    rng = np.random.default_rng(seed)
    confidence = np.round(rng.random((N, K)), 1)  # ties with breakpoints
    asked = rng.random((N, K)) < 0.85
    correct = (rng.random((N, K)) < confidence).astype(float)
    correct[rng.random((N, K)) < 0.15] = np.nan
    cost = rng.exponential(size=(N, K)) * [1, 2, 5, 9]
    latency = rng.exponential(size=(N, K))

    def cells(values):
        return np.where(asked, values, np.nan)

    data = Observations(
        *(jnp.asarray(cells(v)) for v in (np.log(confidence + 1e-9), correct, cost, latency))
    )
    return cells(confidence), data


CONFIDENCE, DATA = observed()
CORRECT, COST, LATENCY = (np.asarray(part) for part in DATA[1:])


def interpret(policy: dict, confidence: dict):
    """Follows the JSON form of a policy on one query."""
    at, path = policy["start"], []
    while True:
        path.append(at)
        if np.isnan(confidence[at]):
            return MISSING, path
        rule = policy["rules"][at]
        action = rule["actions"][-1]
        for edge, candidate in zip(rule["breakpoints"], rule["actions"], strict=False):
            if confidence[at] <= edge:
                action = candidate
                break
        if action == "accept":
            return ACCEPT, path
        if action == "abstain":
            return ABSTAIN, path
        at = action


@st.composite
def policies(draw):
    """JSON forms: a random order of the models, and rules that only look ahead."""
    order = draw(st.permutations(NAMES))
    edges = st.lists(
        st.sampled_from([0.0, 0.1, 0.3, 0.35, 0.5, 0.7, 0.8, 0.95, 1.0]), max_size=4, unique=True
    )
    rules = {}
    for position, name in enumerate(order):
        breakpoints = sorted(draw(edges))
        action = st.sampled_from(["accept", "abstain", *order[position + 1 :]])
        size = len(breakpoints) + 1
        rules[name] = {
            "breakpoints": breakpoints,
            "actions": draw(st.lists(action, min_size=size, max_size=size)),
        }
    reached, waiting = set(), [order[0]]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [a for a in rules[name]["actions"] if a in NAMES]
    return order, {"start": order[0], "rules": {n: r for n, r in rules.items() if n in reached}}


def built(form: dict) -> Policy:
    rules = {
        n: Rule(tuple(r["breakpoints"]), tuple(r["actions"])) for n, r in form["rules"].items()
    }
    return Policy(form["start"], rules)


def columns(order):
    at = [NAMES.index(name) for name in order]
    return (
        jnp.asarray(CONFIDENCE[:, at]),
        Observations(*(part[:, np.array(at)] for part in DATA)),
        at,
    )


@settings(max_examples=120, deadline=None)
@given(policies())
def test_random_policies_route_as_a_plain_interpreter_does(drawn):
    order, form = drawn
    confidence, data, _at = columns(order)
    result = replay(stack_policies([built(form)], order), confidence, data)
    for q in range(N):
        ended, path = interpret(form, dict(zip(NAMES, CONFIDENCE[q], strict=True)))
        found = [order[j] for j in np.asarray(result.route.path[0, q]) if j >= 0]
        assert found == path
        assert len(set(found)) == len(found)
        assert result.route.ended_by[0, q] == ended
        assert order[int(result.route.last[0, q])] == path[-1]
        asked = [NAMES.index(name) for name in path]
        if ended == MISSING:
            assert np.isnan(result.cost_usd[0, q])
            assert np.isnan(result.latency_s[0, q])
        else:
            np.testing.assert_allclose(result.cost_usd[0, q], COST[q, asked].sum(), rtol=1e-12)
            np.testing.assert_allclose(result.latency_s[0, q], LATENCY[q, asked].sum(), rtol=1e-12)
        expected = CORRECT[q, asked[-1]] if ended == ACCEPT else np.nan
        np.testing.assert_array_equal(result.correct[0, q], expected)


@settings(max_examples=60, deadline=None)
@given(policies())
def test_random_policies_survive_the_way_to_arrays_and_back(drawn):
    order, form = drawn
    policy = built(form)
    again = Policy.from_arrays(policy.to_arrays(order), order)
    grid = np.linspace(-0.05, 1.05, 45)
    for value in grid:  # the same way at every confidence, whatever was merged
        one, other = (interpret(form_of(p), dict.fromkeys(NAMES, value)) for p in (policy, again))
        # The same end at the same model; models whose answers are never used may be left out.
        assert one[0] == other[0]
        assert one[1][-1] == other[1][-1]
        assert set(other[1]) <= set(one[1])
    assert again == Policy.from_arrays(again.to_arrays(order, 9), order)
    position = {name: i for i, name in enumerate(policy.order())}
    for name, rule in policy.rules.items():
        assert all(position[a] > position[name] for a in rule.actions if a in NAMES)
    assert policy.describe().startswith(policy.start)


def form_of(policy):
    rules = {
        n: {"breakpoints": r.breakpoints, "actions": r.actions} for n, r in policy.rules.items()
    }
    return {"start": policy.start, "rules": rules}


CASCADE = {
    "start": "a",
    "rules": {
        "a": {"breakpoints": [0.2, 0.5, 0.8], "actions": ["abstain", "d", "b", "accept"]},
        "b": {"breakpoints": [0.4], "actions": ["d", "accept"]},
        "d": {"breakpoints": [], "actions": ["accept"]},
    },
}


def loop_means(form, weight):
    """Means over queries whose way is recorded and whose accepted answer is labelled."""
    total = {"error": 0.0, "abstention": 0.0, "cost_usd": 0.0, "latency_s": 0.0}
    answered, mass = [0.0] * K, 0.0
    for q in range(N):
        ended, path = interpret(form, dict(zip(NAMES, CONFIDENCE[q], strict=True)))
        asked = [NAMES.index(name) for name in path]
        if ended == MISSING or (ended == ACCEPT and np.isnan(CORRECT[q, asked[-1]])):
            continue
        mass += weight[q]
        total["cost_usd"] += weight[q] * COST[q, asked].sum()
        total["latency_s"] += weight[q] * LATENCY[q, asked].sum()
        if ended == ABSTAIN:
            total["abstention"] += weight[q]
        else:
            total["error"] += weight[q] * (1 - CORRECT[q, asked[-1]])
            answered[asked[-1]] += weight[q]
    return {n: v / mass for n, v in total.items()} | {"answered_by": np.array(answered) / mass}


def test_means_match_a_plain_loop_and_count_missing_cells_nowhere():
    weight = np.random.default_rng(2).exponential(size=N) * (np.arange(N) % 5 > 0)
    arrays = stack_policies([built(CASCADE), Policy.single("c")], NAMES)
    found = replayed_outcomes(arrays, jnp.asarray(CONFIDENCE), DATA, jnp.asarray(weight))
    single = {"start": "c", "rules": {"c": {"breakpoints": [], "actions": ["accept"]}}}
    for at, form in enumerate((CASCADE, single)):
        for name, value in loop_means(form, weight).items():
            np.testing.assert_allclose(getattr(found, name)[at], value, rtol=1e-10, atol=1e-14)


def test_mean_of_one_replay_agrees_and_replayable_counts():
    arrays = stack_policies([built(CASCADE)], NAMES)
    result = replay(arrays, jnp.asarray(CONFIDENCE), DATA)
    one = type(result)(
        type(result.route)(*(r[0] for r in result.route)), *(p[0] for p in result[1:])
    )
    found = mean_outcome(one, jnp.ones(N), K)
    for name, value in loop_means(CASCADE, np.ones(N)).items():
        np.testing.assert_allclose(getattr(found, name), value, rtol=1e-10)
    ended = np.asarray(result.route.ended_by[0])
    unlabelled = (ended == ACCEPT) & np.isnan(result.correct[0])
    assert unlabelled.any()
    assert (ended == MISSING).any()
    np.testing.assert_array_equal(replayable(result)[0], (ended != MISSING) & ~unlabelled)


def test_nothing_recorded_has_no_mean():
    empty = Observations(*(jnp.full((N, K), jnp.nan) for _ in range(4)))
    arrays = stack_policies([Policy.single("a")], NAMES)
    found = replayed_outcomes(arrays, jnp.full((N, K), jnp.nan), empty, jnp.ones(N))
    assert np.isnan(found.error[0])

"""Exchanged and weighted calls against every permutation, and p-values against plain loops."""

from itertools import permutations

import numpy as np
import pytest

from jaxcascade.decisions.groups import group_codes
from jaxcascade.decisions.resampling import (
    bootstrapped_rates,
    exchanged_hits,
    p_values,
    sorted_calls,
)


def calls_of(orders, winners):
    """Each call lists groups in order of place; the winner's place is selected."""
    size = [len(order) for order in orders]
    call = np.repeat(np.arange(len(orders)), size)
    place = np.concatenate([np.arange(n) for n in size])
    return sorted_calls(
        call, place, np.array(list("".join(orders))), place == np.array(winners)[call]
    )


def test_calls_are_sorted_by_size_from_items_in_any_order():
    call, place = np.array([7, 7, 7, 3, 3]), np.array([0, 1, 2, 0, 1])
    group, selected = np.array(list("abcde")), np.array([1, 0, 0, 0, 1], bool)
    for order in (np.arange(5), np.random.default_rng(0).permutation(5)):
        calls = sorted_calls(call[order], place[order], group[order], selected[order])
        assert calls.group.tolist() == list("deabc")
        assert calls.call.tolist() == [0, 0, 1, 1, 1]
        assert calls.selected.tolist() == [False, True, True, False, False]
        assert calls.size.tolist() == [2, 3]


def test_exchanges_are_as_likely_as_all_permutations_within_each_size():
    pairs, triples = ["ab", "ba", "ab"], ["abc", "cab"]
    winners = [0, 0, 1, 2, 2]
    law = {}
    for of_pairs in permutations(pairs):
        for of_triples in permutations(triples):
            won = [order[w] for order, w in zip(of_pairs + of_triples, winners, strict=True)]
            count = tuple(won.count(g) for g in "abc")
            law[count] = law.get(count, 0.0) + 1 / 12
    calls = calls_of(pairs + triples, winners)
    hits = exchanged_hits(
        np.random.default_rng(0), calls, group_codes(calls.group)[0], num_draws=20_000
    )
    found, times = np.unique(hits, axis=0, return_counts=True)
    shares = {tuple(row): n / 20_000 for row, n in zip(found.tolist(), times, strict=True)}
    assert shares == pytest.approx(law, abs=0.015)


def test_weights_are_those_of_calls_and_not_of_items():
    """Two of a call are both selected or both not: as uncertain as half as many items."""
    rng = np.random.default_rng(1)
    chosen = np.repeat(rng.random(400) < 0.3, 2)
    call = np.repeat(np.arange(400), 2)
    calls = sorted_calls(call, np.arange(800), np.full(800, "a"), chosen)
    draws = bootstrapped_rates(rng, calls, np.zeros(800, int), 4000)
    rate = chosen.mean()
    assert draws.mean() == pytest.approx(rate, abs=0.003)
    assert draws.std() == pytest.approx(np.sqrt(rate * (1 - rate) / 400), rel=0.06)


@pytest.mark.parametrize("one_sided", [False, True])
def test_p_values_match_plain_loops(one_sided):
    rng = np.random.default_rng(2)
    alike = rng.integers(20, 40, (60, 3)) * np.array([1.0, 0.1, 5.0])
    observed = alike[0].copy()
    observed[1] = 0.5
    own, together = p_values(observed, alike, one_sided=one_sided)

    def far(value, column):
        away = (alike[:, column].mean() - value) / alike[:, column].std()
        return away if one_sided else abs(away)

    for m in range(3):
        reached = far(observed[m], m) - 1e-9
        assert own[m] == (1 + sum(far(v, m) >= reached for v in alike[:, m])) / 61
        most = [max(far(row[j], j) for j in range(3)) for row in alike]
        assert together[m] == (1 + sum(v >= reached for v in most)) / 61


def test_what_exchanges_do_not_change_is_no_evidence():
    own, together = p_values(np.array([0.0]), np.full((50, 1), 0.5))
    assert own.tolist() == together.tolist() == [1.0]

"""Audits of ranks: a known bias is found, none is not, and the recorded audit of two models."""

from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest

from jaxcascade.decisions.audit import audit_ranks
from jaxcascade.errors import InvalidInputError

KEY = jax.random.key(0)
DATA = Path(__file__).parents[2].parent / "shared" / "data" / "hiring_ranks.parquet"
GROUPS = np.array(list("abcd"))


def ranks(seed, calls=400, favour=0.0, first=0.0, groups=GROUPS, segments=1):
    """Random orders of groups, ranked by noise: more for group "a", more for the first place."""
    rng = np.random.default_rng(seed)
    size = len(groups)
    order = rng.permuted(np.tile(groups, (calls * segments, 1)), axis=1)
    score = rng.gumbel(size=order.shape) + favour * (order == "a")
    score[:, 0] += first
    rank = (-score).argsort(axis=1).argsort(axis=1) + 1
    return {
        "model": np.repeat([f"m{s}" for s in range(segments)], calls * size),
        "query_id": np.repeat(np.arange(calls * segments), size),
        "slot": np.tile(np.arange(size), calls * segments),
        "group": order.ravel(),
        "rank": rank.ravel(),
    }


def audit(table, **options):
    return audit_ranks(KEY, table, **{"by": ("model",), "num_draws": 400} | options)


@pytest.mark.parametrize("top", [1, 2])
def test_counts_are_those_of_a_plain_count(top):
    table = ranks(0, favour=0.5, segments=2)
    found = audit(table, top=top)
    frame = pd.DataFrame(table).assign(selected=lambda rows: rows["rank"] <= top)
    rate = frame.groupby(["model", "group"]).selected.agg(["size", "sum", "mean"])
    assert [(row.segment[0], row.group) for row in found.groups] == rate.index.tolist()
    for row in found.groups:
        size, hits, mean = rate.loc[(row.segment[0], row.group)]
        assert (row.items, row.selected, row.rate) == (size, hits, pytest.approx(mean))
        highest = rate.loc[row.segment[0], "mean"].max()
        assert row.ratio == pytest.approx(mean / highest)
    for row in found.segments:
        of_segment = rate.loc[row.segment[0], "mean"]
        assert row.ratio == pytest.approx(of_segment.min() / of_segment.max())
        assert (row.lowest, row.highest) == (of_segment.idxmin(), of_segment.idxmax())
        assert row.calls == 400
    place = frame.groupby(["model", "slot"]).selected.mean()
    assert [row.rate for row in found.positions] == pytest.approx(place.tolist())
    assert [row.position for row in found.positions] == ["0", "1", "2", "3"] * 2
    assert {row.expected for row in found.positions} == {top / 4}


def test_a_known_bias_is_found_under_an_effect_of_position():
    found = audit(ranks(1, favour=0.8, first=2.0))
    favoured = found.groups[0]
    assert favoured.p_adjusted < 0.01
    assert favoured.lower > favoured.chance_upper
    (segment,) = found.segments
    assert segment.p_adjusted < 0.01
    assert segment.upper < 0.8
    assert segment.below > 0.95
    assert segment.highest == "a"
    assert found.positions[0].lower > 0.25 > found.positions[1].upper


def test_equal_treatment_is_not_called_bias_more_often_than_the_level():
    """Four segments each: one false name in any of them counts, for either table."""
    named = low = 0
    for seed in range(120):
        table = ranks(seed, calls=60, first=1.0, segments=4)
        found = audit_ranks(jax.random.key(seed), table, by=("model",), num_draws=199)
        named += min(row.p_adjusted for row in found.groups) <= 0.1
        low += min(row.p_adjusted for row in found.segments) <= 0.1
    assert 4 <= named <= 20
    assert 4 <= low <= 20


def test_plain_p_values_are_uniform_under_equal_treatment():
    p_values = np.array(
        [
            audit_ranks(jax.random.key(s), ranks(s, calls=80), by=(), num_draws=199)
            .segments[0].p_value
            for s in range(150)
        ]
    )  # fmt: skip
    for level in (0.1, 0.3, 0.5, 0.8):
        error = np.sqrt(level * (1 - level) / 150)
        assert np.mean(p_values <= level) == pytest.approx(level, abs=3 * error)


def test_an_effect_of_position_is_not_one_of_group():
    """Group a stands first twice as often as others, and the first is preferred."""
    table = ranks(2, first=3.0, calls=600)
    group = table["group"].reshape(-1, 4)
    rank = table["rank"].reshape(-1, 4)
    keep = (group[:, 0] == "a") | (np.random.default_rng(0).random(600) < 0.4)
    chosen = np.flatnonzero(keep)
    table = {
        "query_id": np.repeat(chosen, 4),
        "slot": np.tile(np.arange(4), chosen.size),
        "group": group[chosen].ravel(),
        "rank": rank[chosen].ravel(),
    }
    found = audit(table, by=())
    assert found.segments[0].ratio < 0.6
    assert found.segments[0].p_adjusted > 0.05
    assert found.groups[0].chance_lower < found.groups[0].rate < found.groups[0].chance_upper
    assert found.groups[0].chance_lower > 0.3


def test_groups_that_never_change_places_cannot_be_told_from_them():
    table = ranks(3, first=3.0)
    table["group"] = np.tile(GROUPS, 400)
    found = audit(table)
    assert found.segments[0].ratio < 0.2
    assert found.segments[0].p_value == found.segments[0].p_adjusted == 1
    assert {row.p_adjusted for row in found.groups} == {1}
    table["rank"] = np.tile([1, 2, 3, 4], 400)
    assert {row.p_value for row in audit(table).groups} == {1}


def test_by_chance_is_the_hypergeometric_law_where_calls_are_of_one_item():
    """Labels of items are permuted."""
    rng = np.random.default_rng(4)
    group = np.repeat(["x", "y"], [300, 100])
    rank = np.where(rng.random(400) < 0.2, 1, 2)
    table = {"query_id": np.arange(400), "rank": rank, "group": group}
    found = audit(table, by=(), position=None, num_draws=4000)
    hits = (rank == 1).sum()
    share = hits / 400
    spread = np.sqrt(share * (1 - share) * 300 / 399 / 100)
    low, high = found.groups[1].chance_lower, found.groups[1].chance_upper
    assert (low + high) / 2 == pytest.approx(share, abs=0.01)
    assert high - low == pytest.approx(2 * 1.645 * spread, rel=0.15)
    assert found.positions == ()
    row = found.groups[1]
    mean = row.selected / 100
    assert row.upper - row.lower == pytest.approx(
        2 * 1.645 * np.sqrt(mean * (1 - mean) / 100), rel=0.1
    )


def test_calls_of_different_sizes_exchange_orders_with_their_like():
    table = ranks(5, calls=200, favour=1.0)
    other = ranks(6, calls=100)
    short = {name: values[other["slot"] < 2] for name, values in other.items()}
    pair = short["rank"].reshape(-1, 2)
    short["rank"] = np.where(pair == pair.min(axis=1, keepdims=True), 1, 2).ravel()
    short["query_id"] = short["query_id"] + 1000
    both = {name: np.concatenate([table[name], short[name]]) for name in table}
    rows = np.random.default_rng(0).permutation(both["rank"].size)
    found = audit({name: values[rows] for name, values in both.items()})
    assert found.segments[0].calls == 300
    assert sum(row.selected for row in found.groups) == 300
    assert found.groups[0].p_adjusted < 0.01
    assert found == audit(both), "rows may come in any order"
    alone = {name: values[::4] for name, values in ranks(9, calls=100, groups=GROUPS).items()}
    alone |= {"group": np.full(100, "z"), "rank": np.ones(100, int)}
    alone["query_id"] = alone["query_id"] + 2000
    row = audit({name: np.concatenate([table[name], alone[name]]) for name in table}).groups[-1]
    assert (row.group, row.rate, row.chance_lower, row.chance_upper) == ("z", 1, 1, 1)


def test_intervals_of_rates_cover_as_often_as_they_say():
    covered = total = 0
    for seed in range(40):
        found = audit(ranks(seed, calls=100, favour=np.log(3.0)), num_draws=200)
        truth = [0.5, *[1 / 6] * 3]
        for row, rate in zip(found.groups, truth, strict=True):
            covered += row.lower <= rate <= row.upper
            total += 1
    assert total == 160
    assert 0.86 <= covered / total <= 0.95


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ({}, {"top": 0}, "`top` must be at least 1"),
        ({}, {"num_draws": 0}, "`num_draws` must be at least 1"),
        ({}, {"level": 0.0}, "`level`"),
        ({}, {"top": 4}, "not all or none; it does not in m0"),
        ({"rank": np.full(1600, np.nan)}, {}, "1600 values are missing"),
    ],
)
def test_what_cannot_be_audited(change, options, words):
    with pytest.raises(InvalidInputError, match=words):
        audit(ranks(0) | change, **options)


@pytest.mark.skipif(
    not DATA.exists(), reason="the recorded runs of others are not shipped with the package"
)
def test_recorded_audit_of_two_models():
    """Seven of eight ratios are below four fifths; chance alone would give five or so."""
    found = audit_ranks(KEY, pyarrow.parquet.read_table(DATA), num_draws=1000)
    ratio = {row.segment: row for row in found.segments}
    assert ratio["gpt-3.5-turbo", "HR specialist"].ratio == pytest.approx(96 / 181)
    assert ratio["gpt-3.5-turbo", "financial analyst"].ratio == pytest.approx(76 / 172)
    assert sum(row.ratio < 0.8 for row in found.segments) == 7
    assert 4 < sum(row.chance_below for row in found.segments) < 6
    clear = {row.segment: row.p_adjusted < 0.01 for row in found.segments}
    assert [segment for segment, yes in clear.items() if yes] == [
        ("gpt-3.5-turbo", "HR specialist"),
        ("gpt-3.5-turbo", "financial analyst"),
    ]
    named = [(*row.segment, row.group) for row in found.groups if row.p_adjusted < 0.05]
    assert named == [
        ("gpt-3.5-turbo", "HR specialist", "H_W"),
        ("gpt-3.5-turbo", "financial analyst", "A_W"),
        ("gpt-3.5-turbo", "financial analyst", "B_M"),
    ]
    first = [row for row in found.positions if row.position == "0"]
    assert max(row.rate for row in first) == 0.834
    assert {row.items for row in found.positions} == {1000}

"""Tables of savings and drags against the curves and drags that they are made of."""

import jax
import numpy as np
import pytest

from jaxcascade.economics import (
    drag_table,
    fail_fast_policy,
    latency_drag,
    loop_curves,
    savings_table,
    simulated_records,
)
from jaxcascade.records import Records

REJECTIONS = (0.0, 0.1, 0.2)


@pytest.fixture(scope="module")
def halves():
    records = simulated_records(jax.random.key(6), 900)
    return records.take(np.arange(300)), records.take(np.arange(300, 900))


def test_savings_are_those_of_the_curves(halves):
    table = savings_table(
        jax.random.key(0),
        *halves,
        utilisations=(0.5, 0.75),
        rejections=REJECTIONS,
        num_draws=300,
    ).to_pydict()
    curves = loop_curves(*halves, utilisations=(0.0, 0.5, 0.75), rejections=REJECTIONS)
    seconds = curves.outcome.latency_s.mean(axis=1)
    dollars = curves.outcome.cost_usd.mean(axis=1)
    expected = {
        "utilisation": [0.5, 0.75],
        "auarc": curves.auarc[1:],
        "auarc_change": curves.auarc[1:] / curves.auarc[0] - 1,
        "latency_change": seconds[1:] / seconds[0] - 1,
        "cost_change": dollars[1:] / dollars[0] - 1,
    }
    for name, values in expected.items():
        np.testing.assert_allclose(table[name], values, rtol=1e-12)
        if name != "utilisation":
            assert np.all(np.array(table[f"{name}_low"]) < table[name])
            assert np.all(table[name] < np.array(table[f"{name}_high"]))
    assert table["num_undefined"] == [0, 0]
    # The fast model answers a third wrong: fewer calls, less accuracy.
    assert np.all(np.array(table["latency_change_high"]) < 0)
    assert np.all(np.array(table["auarc_change_high"]) < 0)


def test_drags_come_with_intervals_that_hold_them(halves):
    train, test = halves
    table = drag_table(
        jax.random.key(1), train, test, utilisations=(0.5,), rejection=0.1, num_draws=300
    ).to_pylist()
    assert [row["amount"] for row in table] == ["latency_s", "cost_usd"]
    rule = fail_fast_policy(train, train.log_confidence, utilisation=0.5, rejection=0.1)
    drag = latency_drag(test, test.log_confidence, rule)
    row = table[0]
    assert row["passed"] == drag.share
    assert row["actual"] == pytest.approx(row["naive"] + row["drag"])
    for name, value in (
        ("drag", drag.total),
        ("no_easy", drag.no_easy),
        ("no_hardest", drag.no_hardest),
    ):
        assert row[f"{name}_low"] < row[name] == value < row[f"{name}_high"]
    assert row["no_easy_low"] > 0 > row["no_hardest_high"]


def test_without_seconds_dollars_are_left(halves):
    train, test = (
        Records(half.queries, half.models, half.log_confidence, half.correct, half.cost_usd)
        for half in halves
    )
    drags = drag_table(jax.random.key(1), train, test, num_draws=20).to_pydict()
    assert set(drags["amount"]) == {"cost_usd"}
    savings = savings_table(jax.random.key(0), train, test, rejections=REJECTIONS, num_draws=20)
    assert np.isnan(savings["latency_change"].to_numpy()).all()
    assert np.isfinite(savings["cost_change"].to_numpy()).all()

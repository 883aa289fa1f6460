"""The table of baselines against means by hand."""

from dataclasses import replace

import numpy as np
import pytest

from jaxcascade.economics import baseline_table
from jaxcascade.errors import InvalidInputError
from jaxcascade.records import Records

NONE = np.nan


@pytest.fixture
def records() -> Records:
    """Two models; the second was not asked the last query and not labelled on the third."""
    return Records(
        queries=np.arange(4),
        models=("small", "large"),
        log_confidence=np.log([[0.5, 0.9], [0.5, 0.9], [0.5, 0.9], [0.5, NONE]]),
        correct=np.array([[1, 1], [0, 0], [0, NONE], [1, NONE]], float),
        cost_usd=np.array([[1, 10], [2, 20], [3, 60], [2, NONE]], float),
        latency_s=np.array([[1, 5], [2, NONE], [3, 7], [4, NONE]], float),
        extra={"output_tokens": np.array([[10, 100], [20, 200], [30, 300], [40, NONE]])},
    )


def test_means_are_over_what_is_known(records):
    rows = {row["model"]: row for row in baseline_table(records).to_pylist()}
    small, large = rows["small"], rows["large"]
    assert list(rows) == ["small", "large"]
    assert (small["num_queries"], small["num_labelled"]) == (4, 4)
    assert (large["num_queries"], large["num_labelled"]) == (3, 2)
    assert (small["error"], small["error_standard_error"]) == (0.5, 0.25)
    assert (large["error"], large["error_standard_error"]) == (0.5, pytest.approx(0.125**0.5))
    assert (small["cost_usd"], large["cost_usd"]) == (2.0, 30.0)
    assert (small["latency_s"], large["latency_s"]) == (2.5, 6.0)
    assert small["latency_p99_s"] == pytest.approx(3.97)  # 99 % of the way from 1 to 4
    assert large["latency_p99_s"] == pytest.approx(6.98)
    assert (small["output_tokens"], large["output_tokens"]) == (25.0, 200.0)
    assert "input_tokens" not in small


def test_what_is_not_recorded_is_left_out_or_not_a_number(records):
    bare = replace(records, latency_s=None, extra={}, correct=records.correct * [1, NONE])
    table = baseline_table(bare)
    assert not {"latency_s", "latency_p99_s", "output_tokens"} & set(table.column_names)
    assert np.isnan(table["error"].to_numpy()).tolist() == [False, True]


def test_tokens_must_be_numbers(records):
    words = replace(records, extra={"output_tokens": np.full((4, 2), "many", object)})
    with pytest.raises(InvalidInputError, match="`output_tokens` must be a column of numbers"):
        baseline_table(words)

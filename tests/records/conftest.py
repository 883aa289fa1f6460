import numpy as np
import pyarrow as pa
import pytest

from jaxcascade.records import Records, read_records

GOOD = {
    "query": ["q1", "q2", "q3", "q1", "q2"],
    "model": ["small", "small", "small", "large, 大", "large, 大"],
    "confidence": [0.5, 0.25, 1.0, 0.9, 0.0],
    "correct": [0, 1, None, 1, 0],
    "cost_usd": [0.1, 0.0, 0.1, 0.5, 0.5],
    "latency_s": [1.0, None, 2.0, 3.0, 4.0],
    "group": ["x", "y", None, "x", "y"],
    "note": ["one", "two", None, "four", "five"],
    "logit": [1.5, 2.5, None, 4.5, 5.5],
}


@pytest.fixture
def columns() -> dict[str, list]:
    """Columns of a good long table, to be spoilt."""
    return {name: list(values) for name, values in GOOD.items()}


@pytest.fixture
def records(columns) -> Records:
    return read_records(pa.table(columns))


def same_array(one, other) -> bool:
    if one is None or other is None:
        return one is other
    if one.dtype == object:
        return one.shape == other.shape and one.tolist() == other.tolist()
    return np.array_equal(one, other, equal_nan=True)


@pytest.fixture
def same():
    """Whether two records are equal in everything."""

    def compare(one: Records, other: Records) -> bool:
        names = ("queries", "log_confidence", "correct", "cost_usd", "latency_s", "group")
        return (
            one.models == other.models
            and one.extra.keys() == other.extra.keys()
            and all(same_array(getattr(one, name), getattr(other, name)) for name in names)
            and all(same_array(one.extra[name], other.extra[name]) for name in one.extra)
        )

    return compare

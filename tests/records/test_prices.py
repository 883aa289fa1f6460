import json

import numpy as np
import pyarrow as pa
import pytest

from jaxcascade.errors import (
    FileFormatError,
    InvalidInputError,
    MissingColumnError,
    RecordsError,
    UnknownModelError,
)
from jaxcascade.records import read_prices, read_records

PRICES = {
    "small": {"input_usd_per_million": 1.0, "output_usd_per_million": 10.0},
    "large, 大": {"input_usd_per_million": 5, "output_usd_per_million": 0},
}


@pytest.fixture
def tokens(columns):
    del columns["cost_usd"]
    return columns | {"input_tokens": [10, 20, 30, 40, 50], "output_tokens": [1, 2, 3, 4, 5]}


@pytest.fixture(params=["mapping", "json", "csv"])
def prices(request, tmp_path):
    path = tmp_path / f"prices.{request.param}"
    if request.param == "mapping":
        return PRICES
    if request.param == "json":
        path.write_text(json.dumps(PRICES), encoding="utf-8")
    else:
        path.write_text(
            'model,input_usd_per_million,output_usd_per_million\nsmall,1,10\n"large, 大",5,0\n',
            encoding="utf-8",
        )
    return path


def test_tokens_are_priced_from_each_kind_of_table(prices, tokens):
    records = read_records(pa.table(tokens), prices=prices)
    expected = np.array([[20.0, 200.0], [40.0, 250.0], [60.0, np.nan]]) / 1e6
    np.testing.assert_allclose(records.cost_usd, expected, rtol=1e-15)
    np.testing.assert_array_equal(records.extra["output_tokens"], [[1, 4], [2, 5], [3, np.nan]])


def test_dollars_in_the_table_come_first(records, columns):
    assert (read_records(pa.table(columns), prices={}).cost_usd[0] == records.cost_usd[0]).all()


def test_missing_prices_and_tokens_are_named(tokens):
    with pytest.raises(MissingColumnError, match="token counts: pass a price table as `prices`"):
        read_records(pa.table(tokens))
    with pytest.raises(UnknownModelError, match=r'lacks "small" .*mean "smal" for "small"'):
        read_records(
            pa.table(tokens), prices={"smal": PRICES["small"], "large, 大": PRICES["small"]}
        )
    with pytest.raises(RecordsError, match=r"`input_tokens` must be a finite number.*-10"):
        read_records(pa.table(tokens | {"input_tokens": [-10] * 5}), prices=PRICES)
    with pytest.raises(RecordsError, match="`output_tokens` must be given in every row"):
        read_records(pa.table(tokens | {"output_tokens": [1, None, 1, 1, 1]}), prices=PRICES)
    del tokens["output_tokens"]
    with pytest.raises(MissingColumnError, match=r"`output_tokens` is missing.*needs both"):
        read_records(pa.table(tokens), prices=PRICES)
    with pytest.raises(MissingColumnError, match="Add dollars per call"):
        read_records(pa.table(tokens))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (3.0, 'price of "a" must have `input_usd_per_million` .* found 3.0'),
        ({"input_usd_per_million": 1}, 'found "input_usd_per_million"'),
        ({"input_usd_per_million": -1, "output_usd_per_million": 1}, "at least 0; found -1"),
        ({"input_usd_per_million": 1, "output_usd_per_million": "2"}, "found '2'"),
        ({"input_usd_per_million": 1, "output_usd_per_million": None}, "found None"),
        ({"input_usd_per_million": True, "output_usd_per_million": 1}, "found True"),
        ({"input_usd_per_million": float("inf"), "output_usd_per_million": 1}, "found inf"),
    ],
)
def test_bad_prices_are_named(entry, message):
    with pytest.raises(InvalidInputError, match=message):
        read_prices({"a": entry})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.json", "{", r"p.json. cannot be read"),
        ("p.json", "[1]", "an object from model to prices; found list"),
        ("p.csv", "name,price\na,1\n", r"cannot be read .*model"),
        ("p.csv", "", r"cannot be read .*[Ee]mpty"),
        ("p.yaml", "a: 1", r'must be \.json or \.csv; .*"\.yaml"'),
    ],
)
def test_damaged_price_files_are_named(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(FileFormatError, match=message):
        read_prices(tmp_path / name)
    with pytest.raises(FileFormatError, match="no file of prices"):
        read_prices(tmp_path / "gone.json")

"""Dollars per call from token counts and a small table of prices."""

import math
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Shaped
from pyarrow import csv

from jaxcascade.errors import FileFormatError, InvalidInputError, UnknownModelError
from jaxcascade.records.parsing import json_value
from jaxcascade.records.wording import close_match, listing, quoted

TokenPrices = Mapping[str, Mapping[str, float]]
"""Dollars per million tokens, by model: `input_usd_per_million` and `output_usd_per_million`."""

FIELDS = ("input_usd_per_million", "output_usd_per_million")


def read_prices(source: TokenPrices | str | PathLike) -> TokenPrices:
    """Reads a table of token prices.

    Args:
        source: A mapping from model to `input_usd_per_million` and `output_usd_per_million`; or a
            JSON file with such an object; or a CSV file with these columns and `model`.

    Returns:
        The mapping, checked.

    Raises:
        FileFormatError: The file is missing, or neither JSON nor CSV.
        InvalidInputError: A price is missing, negative or no number.

    Examples:
        >>> prices = {"small": {"input_usd_per_million": 0.1, "output_usd_per_million": 0.4}}
        >>> read_prices(prices)["small"]["output_usd_per_million"]
        0.4
    """
    table = source if isinstance(source, Mapping) else _read(Path(source))
    return {str(model): _price(str(model), entry) for model, entry in table.items()}


def token_cost_usd(
    model: Shaped[np.ndarray, " r"],
    input_tokens: Float[np.ndarray, " r"],
    output_tokens: Float[np.ndarray, " r"],
    prices: TokenPrices,
) -> Float[np.ndarray, " r"]:
    """Prices each call by its tokens.

    Args:
        model: Name of the model that was called.
        input_tokens: Tokens of the prompt.
        output_tokens: Tokens of the answer.
        prices: Dollars per million tokens.

    Returns:
        Dollars per call.

    Raises:
        UnknownModelError: A model has no price.
    """
    lacking = [name for name in dict.fromkeys(model.tolist()) if name not in prices]
    if lacking:
        match = close_match(lacking[0], list(prices))
        hint = f" Did you mean {quoted(match)} for {quoted(lacking[0])}?" if match else ""
        raise UnknownModelError(
            f"`prices` must name every model; it lacks {listing(lacking)} and has "
            f"{listing(prices)}.{hint}"
        )
    per_input, per_output = (
        np.array([prices[name][field] for name in model.tolist()]) for field in FIELDS
    )
    return (per_input * input_tokens + per_output * output_tokens) / 1e6


def _read(path: Path) -> dict:
    if not path.is_file():
        raise FileFormatError(f"There is no file of prices at {quoted(path)}.")
    suffix = path.suffix.lower()
    try:
        if suffix == ".json":
            table = json_value(path.read_text(encoding="utf-8"))
        elif suffix == ".csv":
            types = {"model": pa.string()}
            rows = csv.read_csv(
                path, convert_options=csv.ConvertOptions(column_types=types)
            ).to_pylist()
            table = {row.pop("model"): row for row in rows}
        else:
            raise FileFormatError(
                f"A file of prices must be .json or .csv; {quoted(path)} is {quoted(suffix)}."
            )
    except (ValueError, KeyError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(
            f"The prices in {quoted(path)} cannot be read ({error}). Expected an object of models "
            f"in JSON, or the columns model, {FIELDS[0]}, {FIELDS[1]} in CSV."
        ) from error
    if not isinstance(table, dict):
        raise FileFormatError(
            f"The prices in {quoted(path)} must be an object from model to prices; "
            f"found {type(table).__name__}."
        )
    return table


def _price(model: str, entry: object) -> dict[str, float]:
    if not isinstance(entry, Mapping) or any(name not in entry for name in FIELDS):
        found = listing(entry) if isinstance(entry, Mapping) else repr(entry)
        raise InvalidInputError(
            f"The price of {quoted(model)} must have `{FIELDS[0]}` and `{FIELDS[1]}`; "
            f"found {found}."
        )
    for name in FIELDS:
        price = entry[name]
        number = isinstance(price, int | float) and not isinstance(price, bool)
        if not number or not math.isfinite(price) or price < 0:
            raise InvalidInputError(
                f"`{name}` of {quoted(model)} must be a finite number of dollars, at least 0; "
                f"found {price!r}."
            )
    return {name: float(entry[name]) for name in FIELDS}

"""Tables in and out: Parquet, CSV, JSON Lines, and any dataframe."""

import json
import math
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Shaped
from pyarrow import csv, parquet

from jaxcascade.errors import FileFormatError
from jaxcascade.records.frames import (
    IDENTITIES,
    blanks_to_none,
    columns_of,
    eager_frame,
    floats_if_plain,
    objects,
)
from jaxcascade.records.parsing import json_value
from jaxcascade.records.pivot import NUMBERS, records_from_columns
from jaxcascade.records.prices import TokenPrices, read_prices
from jaxcascade.records.table import Records
from jaxcascade.records.wording import close_match, quoted

SUFFIXES = (".parquet", ".csv", ".jsonl", ".ndjson")


def read_records(source: Any, *, prices: TokenPrices | str | PathLike | None = None) -> Records:
    """Reads recorded runs from a file or a dataframe, checks them and pivots them.

    The long table has one row per query and model, with the columns `query`, `model`, `confidence`
    or `log_confidence`, `cost_usd` (or `input_tokens`, `output_tokens` and `prices`), and where
    known `correct`, `latency_s` and `group`. Other columns are carried along.

    Args:
        source: Path to a .parquet, .csv, .jsonl or .ndjson file; or a pandas or polars frame, a
            pyarrow table, or another dataframe that narwhals knows.
        prices: Dollars per million tokens: a mapping from model to `input_usd_per_million` and
            `output_usd_per_million`, or a .json or .csv file of it. Used where the table has no
            `cost_usd`.

    Returns:
        The records, models and queries in the order of first appearance.

    Raises:
        FileFormatError: The file is missing, empty, damaged, or of another kind.
        MissingColumnError: A column that is needed is not there.
        RecordsError: Values are missing, of the wrong type, out of range or duplicated.
        UnknownModelError: The prices lack a model.

    Examples:
        >>> import pyarrow as pa
        >>> table = pa.table({
        ...     "query": ["a", "b"], "model": ["small", "small"], "confidence": [0.5, 0.25],
        ...     "input_tokens": [100, 300], "output_tokens": [10, 30]})
        >>> prices = {"small": {"input_usd_per_million": 1.0, "output_usd_per_million": 4.0}}
        >>> read_records(table, prices=prices).cost_usd.tolist()
        [[0.00014], [0.00042]]
    """
    price_table = None if prices is None else read_prices(prices)
    if not isinstance(source, str | PathLike):
        return records_from_columns(columns_of(eager_frame(source)), prices=price_table)
    path = Path(source)
    columns = _read(path)
    from_text = path.suffix.lower() == ".csv"
    return records_from_columns(columns, prices=price_table, from_text=from_text)


@contextmanager
def replaced_file(path: str | PathLike) -> Iterator[Path]:
    """Gives a temporary path beside `path`, and puts the file there into its place at the end.

    Args:
        path: Where the file shall be.

    Yields:
        Where to write it. If the block raises, nothing is left behind and `path` is untouched.

    Raises:
        FileFormatError: The folder does not exist, or nothing can be written there.

    Examples:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with replaced_file(folder / "note.txt") as temporary:
        ...     _ = temporary.write_text("whole or not at all")
        >>> [file.name for file in folder.iterdir()]
        ['note.txt']
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileFormatError(
            f"There is no folder {quoted(path.parent)} to write {quoted(path.name)} into."
        )
    if path.is_dir():
        raise FileFormatError(f"{quoted(path)} is a folder; give the name of a file.")
    temporary = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise FileFormatError(
            f"{quoted(path)} cannot be written: {error.strerror or error}. Is the disk full, or "
            "the folder closed to you?"
        ) from error
    finally:
        # A folder that let nothing be written will not let it be removed either.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_table(table: Any, path: str | PathLike) -> None:
    """Writes a table as the suffix of the path says, whole or not at all.

    In JSON Lines, which has no infinity, non-finite numbers become null.

    Args:
        table: A pyarrow table or any other dataframe.
        path: Where to write; .parquet, .csv, .jsonl or .ndjson.

    Raises:
        FileFormatError: The suffix is another, or the folder does not exist, or the format cannot
            hold the table.
    """
    path = Path(path)
    suffix = _known_suffix(path)
    arrow = eager_frame(table).to_arrow()
    with replaced_file(path) as temporary:
        try:
            if suffix == ".parquet":
                parquet.write_table(arrow, temporary)
            elif suffix == ".csv":
                csv.write_csv(arrow, temporary)
            else:
                _write_json_lines(arrow, temporary)
        except (pa.ArrowException, TypeError) as error:
            raise FileFormatError(
                f"The table cannot be written as {suffix}: {_first_line(error)}."
            ) from error


def _write_json_lines(table: pa.Table, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in table.to_pylist():
            finite = {name: _finite(value) for name, value in row.items()}
            file.write(json.dumps(finite, ensure_ascii=False, allow_nan=False) + "\n")


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _known_suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise FileFormatError(
            f"The name of a table must end in one of {', '.join(SUFFIXES)}; "
            f"{quoted(path)} ends in {quoted(suffix)}."
        )
    return suffix


def _read(path: Path) -> dict[str, Shaped[np.ndarray, " r"]]:
    """Columns of a file, by name."""
    if path.is_dir():
        raise FileFormatError(f"{quoted(path)} is a folder; give one file.")
    if not path.is_file():
        beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        match = close_match(path.name, beside)
        hint = f" Did you mean {quoted(match)}?" if match else ""
        raise FileFormatError(f"There is no file {quoted(path)}.{hint}")
    suffix = _known_suffix(path)
    if path.stat().st_size == 0:
        raise FileFormatError(f"{quoted(path)} is empty (0 bytes).")
    try:
        if suffix == ".parquet":
            return columns_of(eager_frame(parquet.ParquetFile(path).read()))
        if suffix == ".csv":
            return _read_csv(path)
        return _read_json_lines(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise FileFormatError(
            f"{quoted(path)} cannot be read as {suffix}; it may be damaged, cut short or of "
            f"another kind: {_first_line(error)}."
        ) from error


def _read_csv(path: Path) -> dict[str, Shaped[np.ndarray, " r"]]:
    """Columns of a CSV file; those of the schema as text, for arrow would guess `007` a number."""
    options = csv.ConvertOptions(
        column_types={name: pa.string() for name in (*IDENTITIES, *NUMBERS)}
    )
    parse = csv.ParseOptions(newlines_in_values=True)
    frame = eager_frame(csv.read_csv(path, parse_options=parse, convert_options=options))
    columns = {
        name: blanks_to_none(column) if column.dtype == object else column
        for name, column in columns_of(frame).items()
    }
    return columns | {
        name: _integers(columns[name]) for name in ("query", "group") if name in columns
    }


def _integers(values: Shaped[np.ndarray, " r"]) -> Shaped[np.ndarray, " r"]:
    """Text as whole numbers where all of it spells them as Python would, else as it is."""
    try:
        found = [None if value is None else int(value) for value in values]
    except ValueError:
        return values
    same = all(
        number is None or str(number) == text for number, text in zip(found, values, strict=True)
    )
    return objects(found) if same else values


def _read_json_lines(path: Path) -> dict[str, Shaped[np.ndarray, " r"]]:
    """Columns of a file with one JSON object per line.

    By Python's reader, not arrow's: it says which line is wrong, knows NaN and -Infinity, and
    takes no text for a date.
    """
    rows = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                rows.append(_json_object(line, f"line {number} of {quoted(path)}"))
    if not rows:
        raise FileFormatError(f"{quoted(path)} is empty: it has no JSON object on any line.")
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: objects([row.get(name) for row in rows]) for name in names}
    return {
        name: column if name in IDENTITIES else floats_if_plain(column)
        for name, column in columns.items()
    }


def _json_object(line: str, place: str) -> dict:
    try:
        row = json_value(line)
    except json.JSONDecodeError as error:
        raise FileFormatError(
            f"Each line must be one JSON object; {place} is not ({error.msg}, column "
            f"{error.colno}). The file may be damaged or cut short."
        ) from error
    if not isinstance(row, dict):
        raise FileFormatError(
            f"Each line must be one JSON object; {place} is of type {type(row).__name__}."
        )
    return row


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else repr(error)

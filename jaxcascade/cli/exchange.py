"""What all verbs read and write with: tables in, JSON out, progress meanwhile."""

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from jaxcascade.errors import InvalidInputError
from jaxcascade.records import Records, read_records, replaced_file


def read_table(arguments: argparse.Namespace) -> Records:
    """Reads the table that a verb was given, and picks the models asked for."""
    records = read_records(arguments.table, prices=arguments.token_prices)
    models = getattr(arguments, "models", None)
    if models == []:
        raise InvalidInputError("`--models` must name at least one model; it names none.")
    return records if models is None else records.select(models)


def check_writable(*paths: str | None) -> None:
    """Finds out before the work, not after it, that a result has nowhere to go."""
    for path in paths:
        if not path or path == "-":
            continue
        if not Path(path).absolute().parent.is_dir():
            raise InvalidInputError(
                f"There is no folder {Path(path).parent} to write {Path(path).name} into."
            )
        if Path(path).is_dir():
            raise InvalidInputError(f"{path} is a folder; give the name of a file to write.")


def write_json(path: str | None, content: dict[str, Any]) -> bool:
    """Writes JSON to a file or standard output; returns whether it has taken the tables' place."""
    if path is None:
        return False
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    if path == "-":
        print(text)
        return True
    with replaced_file(path) as temporary:
        Path(temporary).write_text(text + "\n", encoding="utf-8")
    return False


def plain(value: Any) -> Any:
    """Returns what JSON can hold: NaN and infinities become null."""
    if isinstance(value, str | bool):
        return value
    return float(value) if np.isfinite(value) else None


@contextmanager
def progress_shown() -> Iterator[Callable[[str], None]]:
    """Shows the present step on standard error, if that is a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda step: None
        return
    with console.status("starting") as status:
        yield lambda step: status.update(f"{step} ...")

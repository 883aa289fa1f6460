"""What the benchmarks share: data, places, and how results are written."""

import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from jaxcascade.records import Records, read_records

ROOT = Path(__file__).parent
DATA = Path(os.environ.get("JAXCASCADE_DATA") or ROOT.parent.parent / "shared" / "data")
RESULTS = ROOT / "results"

LLAMA = ("llama3.2-1b", "llama3.2-3b", "llama3.1-8b", "llama3.1-70b", "llama3.1-405b")
OTHERS = ("gpt-4o-mini", "qwen2.5-32b-coder-instruct", "qwen2.5-72b-instruct", "gpt-4o")


def prepare_jax() -> None:
    """Double precision and a compilation cache of the benchmarks' own."""
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_compilation_cache_dir", str(ROOT.parent / ".jax_cache"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def load(name: str, models: Sequence[str] | None = None) -> Records:
    """Reads one of the recorded tables."""
    path = DATA / f"{name}.parquet"
    if not path.exists():
        raise SystemExit(f"{path} is not there; set JAXCASCADE_DATA to the folder that has it.")
    records = read_records(path)
    return records if models is None else records.select(models)


def versions() -> dict[str, str]:
    """Returns what the figures depend on."""
    names = ("jax", "jaxlib", "numpy", "scipy")
    return {
        "python": platform.python_version(),
        "cores": str(os.cpu_count()),
        "processor": platform.machine(),
        **{name: version(name) for name in names},
    }


def write(name: str, content: dict[str, Any], text: str) -> None:
    """Writes figures for machines and a page for readers."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    (RESULTS / f"{name}.md").write_text(text.rstrip() + "\n")
    print(text)


def taking_turns(calls: Mapping[Any, Callable[[], Any]], rounds: int = 5) -> dict[Any, float]:
    """Seconds of the fastest call of each; of several rounds, a first one is not counted."""
    if rounds > 1:
        for call in calls.values():
            jax.block_until_ready(call())
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def fastest(call: Callable[[], Any], rounds: int = 5) -> float:
    """Seconds of the fastest call, as in `taking_turns`."""
    return taking_turns({"": call}, rounds)[""]


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)

"""Wall time and peak memory of each command, with an empty compilation cache and a filled one.

    python -m benchmarks.commands

A cold run has compiled nothing before; a warm one finds everything in the cache that the command
line keeps. Memory is the peak resident set of the process, or that of the benchmark itself where
that is larger (`--help`): a new process starts as a copy of it.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import DATA, LLAMA, OTHERS, table, versions, write

_WARM_RUNS = 3
# Fit and optimal stopping at 100 prices: an answer without a verdict.
_FIRST_ANSWER = """
import sys
import numpy as np
from jaxcascade.cli.entry import _prepare_jax
_prepare_jax()
from jaxcascade.cascade import Prices, fit_cascade, markov_chain
from jaxcascade.records import read_records
from jaxcascade.tuning import optimal_stopping
model = fit_cascade(read_records(sys.argv[1]).select(sys.argv[2].split(","))).model
prices = Prices(np.geomspace(1e-5, 1e-1, 100), 0.0, np.inf)
found = optimal_stopping(markov_chain(model, 128), model.cost_usd, model.latency_s, prices)
assert np.all(np.isfinite(found.loss))
"""


def commands() -> dict[str, list[str]]:
    """What to tell Python, by name, to be run in one folder, in this order."""
    train, test = (str(DATA / f"mmlu_{half}.parquet") for half in ("train", "test"))
    nine = ",".join(LLAMA + OTHERS)
    verbs = {
        "--help": ["--help"],
        "demo (nine models, 60 prices, report)": ["demo"],
        "check (nine models)": ["check", train],
        "tune (five Llama models)": ["tune", train, "--models", ",".join(LLAMA), "--out", "5.json"],
        "tune (nine models)": ["tune", train, "--models", nine, "--out", "f.json"],
        "tune (nine models, report)": ["tune", train, "--out", "f.json", "--report", "r.html"],
        "evaluate (1,531 queries)": ["evaluate", "f.json", test, "--json", "e.json"],
        "evaluate (report)": ["evaluate", "f.json", test, "--report", "r.html"],
        "replay (1,531 queries, 60 points)": ["replay", "f.json", test, "--out", "d.parquet"],
    }
    first = {
        f"first frontier from Python ({name} models)": ["-c", _FIRST_ANSWER, train, models]
        for name, models in (("five", ",".join(LLAMA)), ("nine", nine))
    }
    return {name: ["-m", "jaxcascade", *words] for name, words in verbs.items()} | first


def measure(words: list[str], folder: Path, cache: Path) -> tuple[float, float]:
    """Returns seconds and megabytes of one run in a new process."""
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"`python {' '.join(words)}` failed.")
    return seconds, usage.ru_maxrss / 1024


def main() -> None:
    rows, figures = [], []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for number, (name, words) in enumerate(commands().items()):
            # Every command has a cache of its own: none profits from the one before.
            cache = folder / f"cache{number}"
            cold, memory = measure(words, folder, cache)
            warm = sorted(measure(words, folder, cache)[0] for _ in range(_WARM_RUNS))
            median = warm[_WARM_RUNS // 2]
            figures.append(
                {"command": name, "cold_s": cold, "warm_s": median, "peak_megabytes": memory}
            )
            rows.append((name, f"{cold:.1f}", f"{median:.1f}", f"{memory:.0f}"))
    text = "\n".join(
        [
            "# Commands: wall time and peak memory",
            "",
            (__doc__ or "").split("\n\n", 2)[2],
            table(("command", "cold s", "warm s", "peak MB"), rows),
        ]
    )
    write("commands", {"versions": versions(), "commands": figures}, text)


if __name__ == "__main__":
    main()

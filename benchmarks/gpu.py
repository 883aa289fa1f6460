"""The same work on a GPU and on the processor beside it, in double and single precision.

    python -m benchmarks.gpu

Each combination runs in a process of its own. Without a GPU, the processor alone runs, and the
page says so. The data are the built-in example: nothing has to be brought along.
"""

import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common import LLAMA, ROOT, table, versions, write
from benchmarks.frontier import CHAINS, LAMBDAS, jittered, unnamed
from jaxcascade.cascade import (
    CascadeModel,
    Prices,
    fit_cascade,
    fit_weighted,
    in_cost_order,
    observations,
)
from jaxcascade.copulas import Gumbel
from jaxcascade.numerics import betainc
from jaxcascade.records import example_records
from jaxcascade.tuning import Chains, spread_stopping, spread_thresholds

NUM_DRAWS = {"gpu": 1000, "cpu": 50}
COMPARED_DRAWS = 50
MILLION = 1_000_000
PRICES = 1.0 / LAMBDAS[::-1]
ERRORS = {
    "fit of nine models": "log-likelihood per query and model",
    "Gumbel log density of a million": "relative to 1 + its size",
    "betainc of a million": "absolute",
}
LOSS_ERROR = "expected loss, relative"


# --- One process: one platform, one precision -----------------------------------------------------


def work(given: dict[str, Any], draws: int) -> dict[str, Callable[[], Any]]:
    """The tasks by name; each returns what is compared."""
    five, nine, many, data = (given[name] for name in ("five", "nine", "sixty-four", "data"))
    models = jax.tree.map(lambda leaf: leaf[:draws], given["draws"])
    chains, prices = Chains.each(CHAINS), jnp.asarray(PRICES)

    def thresholds(model: CascadeModel, some: Any) -> Any:
        return spread_thresholds(model, model.cost_usd, some, chains).loss

    def stopping(model: CascadeModel) -> Any:
        return spread_stopping(model, Prices(prices)).loss

    weight = jnp.ones(data.correct.shape[0])
    theta, u, v, a, b, x = map(jnp.asarray, given["million"])
    log_prob = jax.jit(lambda theta, u, v: Gumbel(theta).log_prob(u, v))
    return {
        "26 cascades x 100 prices": lambda: thresholds(five, prices),
        "26 cascades x 20 prices x draws": lambda: thresholds(models, prices[::5]),
        "26 cascades x 100 prices x draws": lambda: thresholds(models, prices),
        "stopping, 9 models x 100 prices": lambda: stopping(nine),
        "stopping, 64 models x 100 prices": lambda: stopping(many),
        "stopping, 5 models x 100 prices x draws": lambda: stopping(models),
        "fit of nine models": lambda: (
            fit_weighted(data, weight, nine.models).marginal_log_likelihood
        ),
        "Gumbel log density of a million": lambda: log_prob(theta, u, v),
        "betainc of a million": lambda: betainc(a, b, x),
    }


def run_here(place: Path, platform: str, bits: str) -> None:
    """Times every task in this process: first call, and the fastest of those that follow."""
    with (place / "given.pickle").open("rb") as file:
        given = pickle.load(file)
    dtype = jnp.float64 if bits == "64" else jnp.float32
    given = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, dtype) if eqx.is_inexact_array_like(leaf) else leaf, given
    )
    device = jax.devices()[0]
    seconds, results = {}, {}
    for name, call in work(given, NUM_DRAWS[platform]).items():
        start = time.perf_counter()
        results[name] = jax.block_until_ready(call())
        first = time.perf_counter() - start
        warm, rounds = float("inf"), 0
        while rounds < 5 and (rounds == 0 or rounds * warm < 5.0):
            start = time.perf_counter()
            jax.block_until_ready(call())
            warm, rounds = min(warm, time.perf_counter() - start), rounds + 1
        seconds[name] = {"warm": warm, "compile": first - warm}
        print(f"{platform} float{bits} {name}: {warm:.4f} s", file=sys.stderr)
    kind = device.device_kind if platform == "gpu" else f"CPU, {os.cpu_count()} cores"
    found = {"device": kind, "draws": NUM_DRAWS[platform], "seconds": seconds}
    (place / f"{platform}{bits}.json").write_text(json.dumps(found))
    compared = {
        name: np.asarray(leaf)[:COMPARED_DRAWS] if name.endswith("draws") else np.asarray(leaf)
        for name, leaf in results.items()
    }
    np.savez(place / f"{platform}{bits}.npz", allow_pickle=False, **compared)


def prepare(place: Path) -> None:
    """Fits the models, in double precision, and draws arguments."""
    records = in_cost_order(example_records("train"))
    nine = fit_cascade(records)
    five = unnamed(fit_cascade(records.select(LLAMA)).model, range(5))
    rng = np.random.default_rng(0)
    million = (
        rng.uniform(1.0, 5.0, MILLION), *rng.uniform(1e-6, 1 - 1e-6, (2, MILLION)),
        *np.exp(rng.uniform(np.log(0.2), np.log(200.0), (2, MILLION))), rng.uniform(size=MILLION),
    )  # fmt: skip
    # Both precisions get the same arguments: near 1, a rounded one is another one.
    million = tuple(np.asarray(part, np.float32).astype(float) for part in million)
    given = {
        "five": five,
        "draws": jittered(five, max(NUM_DRAWS.values())),
        "nine": nine.model,
        "sixty-four": sixty_four(nine.model),
        "data": observations(records),
        "million": million,
    }
    with (place / "given.pickle").open("wb") as file:
        pickle.dump(jax.tree.map(np.asarray, given), file)


def sixty_four(nine: CascadeModel) -> CascadeModel:
    """Copies of the nine, each a little dearer than the last."""
    at = np.arange(64) % 9
    calibrator, marginal, latency = jax.tree.map(
        lambda leaf: leaf[at], (nine.calibrator, nine.marginal, nine.latency_s)
    )
    fitted: Any = nine.copula
    # A model's dependence with itself is not fitted: its copies get that of a close pair.
    theta = jnp.where(at[:, None] == at, 2.0, fitted.theta[at][:, at])
    cost = jnp.geomspace(nine.cost_usd.min(), nine.cost_usd.max(), 64)
    names = tuple(map(str, range(64)))
    return CascadeModel(names, cost, latency, calibrator, marginal, Gumbel(theta))


# --- All of them ----------------------------------------------------------------------------------


def has_gpu() -> bool:
    """Asked in another process: one that knows a GPU holds most of its memory."""
    code = "import jax; jax.devices('gpu')"
    return (
        subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode
        == 0
    )


def start(place: Path, task: str, platform: str, bits: str) -> None:
    environment = os.environ | {
        "JAX_PLATFORMS": "cuda,cpu" if platform == "gpu" else "cpu",
        "JAX_ENABLE_X64": "1" if bits == "64" else "0",
    }
    command = [sys.executable, "-m", "benchmarks.gpu", task, str(place), platform, bits]
    subprocess.run(command, cwd=ROOT.parent, env=environment, check=True)


def difference(name: str, found: np.ndarray, exact: np.ndarray, num_queries: int) -> float:
    """Largest error of one task's results, in the unit of `ERRORS`."""
    apart = np.abs(found.astype(float) - exact)
    if name == "fit of nine models":
        apart = apart / num_queries
    elif name not in ERRORS:
        apart = apart / np.abs(exact)
    elif name.startswith("Gumbel"):
        apart = apart / (1.0 + np.abs(exact))
    return float(np.nanmax(apart)) if np.isfinite(apart).all() else float("nan")


def page(found: dict[str, dict[str, Any]]) -> str:
    gpu = any(key.startswith("gpu") for key in found)
    told = ", ".join(f"{name} {value}" for name, value in versions().items())
    ran = ", ".join(dict.fromkeys(one["device"] for one in found.values()))
    opening = (
        f"Ran on: {ran}."
        if gpu
        else f"**There was no GPU: all figures are of the processor.** Ran on: {ran}."
    )
    header = ("task", *(f"{key[:3]} float{key[3:]}" for key in found))
    names = list(next(iter(found.values()))["seconds"])

    def cells(kind: str) -> list[tuple[str, ...]]:
        def cell(one: dict[str, Any], name: str) -> str:
            seconds = one["seconds"][name][kind]
            if kind == "warm" and name.endswith("draws"):
                return f"{1e3 * seconds / one['draws']:.2f} a draw, of {one['draws']}"
            return f"{1e3 * seconds:.1f}" if kind == "warm" else f"{seconds:.1f}"

        return [(name, *(cell(one, name) for one in found.values())) for name in names]

    errors = [
        (
            name,
            ERRORS.get(name, LOSS_ERROR),
            *(f"{one['error'][name]:.0e}" for one in found.values()),
        )
        for name in names
    ]
    return "\n".join(
        [
            "# GPU and processor, double and single precision",
            "",
            f"{told}. {opening}",
            "",
            "The built-in example, 128 cells; tables and grids are part of each task. A draw moves "
            "shapes and dependence by a few percent.",
            "",
            "## Milliseconds, warm",
            "",
            table(header, cells("warm")),
            "",
            "## Seconds to trace and compile",
            "",
            table(header, cells("compile")),
            "",
            "## Largest error against the processor in double precision",
            "",
            table(("task", "error of", *header[1:]), errors),
        ]
    )


def main() -> None:
    platforms = ["cpu", "gpu"] if has_gpu() else ["cpu"]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        start(place, "prepare", "cpu", "64")
        for platform in platforms:
            for bits in ("64", "32"):
                start(place, "work", platform, bits)
                found[platform + bits] = json.loads((place / f"{platform}{bits}.json").read_text())
        exact = dict(np.load(place / "cpu64.npz"))
        num_queries = example_records("train").num_queries
        for key, one in found.items():
            results = np.load(place / f"{key}.npz")
            one["error"] = {
                name: difference(name, results[name], exact[name], num_queries) for name in exact
            }
    write("gpu", {"versions": versions(), "gpu": len(platforms) > 1, "ran": found}, page(found))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    elif sys.argv[1] == "prepare":
        prepare(Path(sys.argv[2]))
    else:
        run_here(Path(sys.argv[2]), *sys.argv[3:])

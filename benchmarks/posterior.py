"""What the posterior costs: draws, and 1,000 draws x 100 prices x 5 models through the tuner.

    python -m benchmarks.posterior

Each figure is that of one call on the Llama pool of MMLU. The peer of a frontier by draw is the
same search on exact integrals, draw by draw, which is what a leading axis of draws costs without
the tables on a shared grid.
"""

import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common import LLAMA, fastest, load, prepare_jax, table, versions, write
from jaxcascade.cascade import Prices
from jaxcascade.posterior import (
    Laplace,
    bayes_frontier,
    frontier_draws,
    infer,
    policy_draws,
    shared_grid,
)
from jaxcascade.tuning import Chains, price_grid, spread_thresholds, subcascades

NUM_PRICES = 100
_FEW = 20
_COLD = """
import sys, tempfile, time
began = time.perf_counter()
import jax
jax.config.update("jax_enable_x64", True)
from benchmarks.common import LLAMA, load
from jaxcascade.posterior import infer
records = load("mmlu_train", LLAMA)
ready = time.perf_counter()
jax.block_until_ready(infer(jax.random.key(0), records).sites)
print(ready - began, time.perf_counter() - ready)
"""


def cold() -> tuple[float, float]:
    """Seconds of a new process without any cache: to import and read, and to infer."""
    told = subprocess.run(
        [sys.executable, "-c", _COLD], capture_output=True, text=True, check=True
    ).stdout
    start, inference = map(float, told.split())
    return start, inference


def grid_error(posterior, prices: Prices) -> float:
    """Largest relative error of a draw's best loss on 48 cells against 192."""
    few = posterior.thin(_FEW)
    coarse, fine = (frontier_draws(few, prices, num_cells=cells).loss for cells in (48, 192))
    return float(jnp.max(jnp.abs(coarse / fine - 1.0)))


def main() -> None:
    prepare_jax()
    began = time.perf_counter()
    start, first = cold()
    records = load("mmlu_train", LLAMA)
    cost, error = np.nanmean(records.cost_usd, axis=0), 1 - np.nanmean(records.correct, axis=0)
    error_prices = price_grid(cost, error, NUM_PRICES)
    prices = Prices(error_prices)
    posterior = infer(jax.random.key(0), records)
    frontier = bayes_frontier(posterior, prices)
    few, models = posterior.thin(_FEW), posterior.thin(_FEW).models()
    pairs = Chains.each([(j,) for j in range(5)] + subcascades(5)[:10])
    calls = {
        "infer, 1,000 draws by Laplace": lambda: infer(jax.random.key(1), records).sites,
        "infer, 400 draws": lambda: (
            infer(jax.random.key(1), records, method=Laplace(num_draws=400)).sites
        ),
        "best of single models and pairs, by draw": lambda: frontier_draws(posterior, prices),
        "best of all subcascades, by draw": lambda: frontier_draws(
            posterior, prices, chains=Chains.all_subcascades(5)
        ),
        "Bayes-optimal policies, and what they bring": lambda: bayes_frontier(posterior, prices),
        "100 given policies": lambda: policy_draws(posterior, frontier.policies),
    }
    seconds = {name: fastest(call, 3) for name, call in calls.items()}
    peer = fastest(
        lambda: spread_thresholds(
            models, models.cost_usd, error_prices, pairs, num_cells=48
        ).loss.min(axis=1),
        2,
    )
    own = fastest(lambda: frontier_draws(few, prices), 3)
    exact = np.asarray(
        spread_thresholds(models, models.cost_usd, error_prices, pairs, num_cells=192).loss
    ).min(axis=1)
    found = np.asarray(frontier_draws(few, prices, history=False).loss)
    content = {
        "versions": versions(),
        "cold_start_s": start,
        "cold_infer_s": first,
        "seconds": seconds,
        "peer_s_per_draw": peer / _FEW,
        "own_s_per_draw": own / _FEW,
        "largest_relative_difference": float(np.max(np.abs(found / exact - 1.0))),
        "grid_error": grid_error(posterior, prices),
        "edges": int(shared_grid(posterior).edges.shape[1]),
    }
    rows = [(name, f"{value:.2f}") for name, value in seconds.items()]
    text = "\n".join(
        [
            "# What the posterior costs",
            *(__doc__ or "").splitlines()[1:],
            "",
            f"A new process without any cache imports and reads in {start:.1f} s and infers in "
            f"{first:.1f} s. Warm, on {versions()['cores']} cores:",
            "",
            table(("1,000 draws, 100 prices, five models", "seconds"), rows),
            "",
            f"Per draw, {1e3 * own / _FEW:.1f} ms; on exact integrals {1e3 * peer / _FEW:.0f} ms, "
            f"{peer / own:.0f} times as many. Losses differ by at most "
            f"{content['largest_relative_difference']:.1%} of the loss (without history, against "
            "exact integrals with 192 cells), and those on 48 cells from those on 192 by "
            f"{content['grid_error']:.1%}.",
            "",
            f"{time.perf_counter() - began:.0f} s.",
        ]
    )
    write("posterior", content, text)


if __name__ == "__main__":
    main()

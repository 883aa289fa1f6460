"""Simulation-based calibration: are true values like draws of their posterior?

    python -m benchmarks.sbc [--sets N]

Parameters are drawn from the prior, records of three models from the parameters, and a posterior
from the records. Where inference is right, the rank of the true value among the draws is uniform,
for every parameter and for everything computed from them, such as thresholds and frontiers.
"""

import argparse
import dataclasses
import time
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray
from scipy import stats

from benchmarks.common import prepare_jax, table, versions, write
from jaxcascade.calibration import LogisticCalibration
from jaxcascade.cascade import Prices, in_cost_order, observations
from jaxcascade.copulas import Gumbel
from jaxcascade.posterior import (
    Frame,
    Laplace,
    Method,
    Posterior,
    Priors,
    frontier_draws,
    infer_evidence,
    look,
)
from jaxcascade.posterior.evidence import pairs_of
from jaxcascade.posterior.model import Sites
from jaxcascade.posterior.simulate import prior_draws, simulate
from jaxcascade.records import example_records

MODELS = ("llama3.2-1b", "llama3.1-8b", "llama3.1-405b")
COST_USD = np.array([1e-5, 4e-5, 2e-4])
ERROR_PRICES = np.array([2e-4, 8e-4, 4e-3])
NUM_QUERIES, NUM_DRAWS = 200, 249
NUM_BINS = 10
FAILURE_RATE = 0.01
_NUM_CELLS = 32
_NEVER = -1.0  # a threshold that passes nothing on lies below all others
PAIRS = pairs_of(len(MODELS), neighbours=True)
SITES = (
    *("intercept_mean", "intercept_spread", "slope_mean", "slope_spread", "intercept", "slope"),
    *("atoms", "weight", "low_center", "gap", "concentration", "tau", "history"),
)


class Setting(NamedTuple):
    """What is simulated, and how it is inferred.

    Attributes:
        method: Of inference.
        priors: Of both.
        coupled: Whether the dependence of neighbours tells of each model's own law.
    """

    method: Method
    priors: Priors
    coupled: bool = False


SETTINGS: Mapping[str, Setting] = {
    "as it is": Setting(Laplace(num_draws=NUM_DRAWS), Priors()),
    "no history": Setting(Laplace(num_draws=NUM_DRAWS), Priors(history_scale=1e-3)),
    "coupled": Setting(Laplace(num_draws=NUM_DRAWS), Priors(), coupled=True),
}


def example_frame() -> Frame:
    """The scale of three models of the built-in example."""
    records = in_cost_order(example_records("train").select(MODELS))
    ones = jnp.ones(records.num_queries)
    return look(observations(records), ones, records.models, LogisticCalibration())[0]


def ranks(key: PRNGKeyArray, frame: Frame, setting: Setting) -> dict[str, Int[np.ndarray, "..."]]:
    """Ranks of true values among the draws from one simulated data set, ties broken at random."""
    of_truth, of_records, of_draws, of_ties = jax.random.split(key, 4)
    truth = prior_draws(of_truth, len(MODELS), setting.priors, Gumbel, PAIRS, 1)
    truth = truth | {"cost_usd": jnp.asarray(COST_USD)[None]}
    evidence = simulate(
        of_records, frame, jax.tree.map(lambda leaf: leaf[0], truth), NUM_QUERIES, Gumbel, PAIRS
    )
    posterior = infer_evidence(
        of_draws,
        frame,
        evidence,
        method=setting.method,
        priors=setting.priors,
        neighbours=True,
        coupled=setting.coupled,
    )
    told = quantities(_with_truth(posterior, truth))
    rng = np.random.default_rng(int(jax.random.bits(of_ties, dtype=jnp.uint32)))
    return {name: _rank(rng, np.asarray(values)) for name, values in told.items()}


def _with_truth(posterior: Posterior, truth: Sites) -> Posterior:
    """Puts the truth before the draws: where inference is right, it is one like them."""
    # Dollars are known; means of the same number would differ by roundings and break ties.
    calls = ("cost_usd", "latency_s")
    known = {
        name: jnp.broadcast_to(truth["cost_usd"], posterior.sites[name].shape) for name in calls
    }
    posterior = dataclasses.replace(posterior, sites=posterior.sites | known)
    truth = truth | {"latency_s": truth["cost_usd"]}
    sites = {
        name: jnp.concatenate([truth.get(name, values[:1]), values])
        for name, values in posterior.sites.items()
    }
    return dataclasses.replace(posterior, sites=sites)


def quantities(posterior: Posterior) -> dict[str, Float[Array, "d ..."]]:
    """All parameters, and at every price the best cascade's thresholds and what it brings."""
    found = frontier_draws(posterior, Prices(ERROR_PRICES), num_cells=_NUM_CELLS)
    best_single = jnp.min(found.single_loss, axis=2)
    return {name: posterior.sites[name] for name in SITES} | {
        "frontier loss": found.loss,
        "frontier error": found.outcome.error,
        "frontier cost": found.outcome.cost_usd,
        "best single loss": best_single,
        "gain over it": 1.0 - found.loss / best_single,
        "first model": found.start,
        "threshold": jnp.nan_to_num(found.thresholds, nan=_NEVER),
    }


def _rank(rng: np.random.Generator, values: Float[np.ndarray, "d ..."]) -> Int[np.ndarray, "..."]:
    below = np.sum(values[1:] < values[0], axis=0)
    same = np.sum(values[1:] == values[0], axis=0)
    return below + rng.integers(0, same + 1)


class Verdict(NamedTuple):
    """Whether the ranks of one quantity are uniform.

    Attributes:
        chi_squared: Of the counts in `NUM_BINS` bins.
        p_value: Of it.
        below: Share of true values in the lowest twentieth of the draws.
        above: In the highest.
        mean: Mean rank as a share; below 0.5 where draws are too high.
    """

    chi_squared: float
    p_value: float
    below: float
    above: float
    mean: float


def verdict(found: Int[np.ndarray, " sets"]) -> Verdict:
    """Tests ranks for uniformity."""
    share = (found + 0.5) / (NUM_DRAWS + 1)
    counts = np.histogram(share, NUM_BINS, (0.0, 1.0))[0]
    test = stats.chisquare(counts)
    ends = (np.mean(share < 0.05), np.mean(share > 0.95))
    return Verdict(*map(float, (test.statistic, test.pvalue, *ends, share.mean())))


def verdicts(found: Mapping[str, Int[np.ndarray, "sets ..."]]) -> dict[str, Verdict]:
    """One for each number of every quantity."""
    return {
        name + (f"{list(at)}" if at else ""): verdict(values[(slice(None), *at)])
        for name, values in found.items()
        for at in np.ndindex(values.shape[1:])
    }


def sweep(setting: Setting, sets: int) -> dict[str, Int[np.ndarray, "sets ..."]]:
    """Ranks of all quantities over simulated data sets."""
    frame = example_frame()
    found = [ranks(jax.random.key(number), frame, setting) for number in range(sets)]
    return {name: np.stack([one[name] for one in found]) for name in found[0]}


def page(found: Mapping[str, Verdict]) -> list[str]:
    """One row per quantity, those that fail first."""
    limit = FAILURE_RATE / len(found)
    failed = sum(one.p_value < limit for one in found.values())
    rows = [
        (
            *(name, f"{one.chi_squared:.1f}", f"{one.p_value:.1e}"),
            *(f"{share:.3f}" for share in (one.below, one.above, one.mean)),
        )
        for name, one in sorted(found.items(), key=lambda item: item[1].p_value)
    ]
    header = ("quantity", "chi-squared", "p", "in lowest 5 %", "in highest 5 %", "mean rank")
    told = f"{failed} of {len(found)} have p below {limit:.1e}, where one set of all in"
    return [f"{told} {1 / FAILURE_RATE:.0f} would have any.", "", table(header, rows), ""]


EXPLAINED = f"""
{NUM_QUERIES} queries, three models, {NUM_DRAWS} draws, neighbours only. Chi-squared has
{NUM_BINS} bins. Ties are broken at random; a threshold that passes nothing on ranks below all
others. "As it is" is the modular posterior: calibrators are learnt without history, which the
simulated labels have, so that intercepts and history cannot be exact there. "No history" simulates
labels without it.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", type=int, default=240, help="simulated data sets per setting")
    parser.add_argument("--settings", nargs="+", default=["as it is", "no history"])
    given = parser.parse_args()
    prepare_jax()
    began = time.perf_counter()
    found = {name: verdicts(sweep(SETTINGS[name], given.sets)) for name in given.settings}
    pages = ["# Simulation-based calibration", *(__doc__ or "").splitlines()[1:]]
    pages += EXPLAINED.splitlines()
    for name, told in found.items():
        pages += ["", f"## {name[0].upper()}{name[1:]}", "", *page(told)]
    pages.append(f"{given.sets} data sets each; {time.perf_counter() - began:.0f} s.")
    figures = [
        {"setting": setting, "quantity": name, **one._asdict()}
        for setting, told in found.items()
        for name, one in told.items()
    ]
    write("sbc", {"versions": versions(), "figures": figures}, "\n".join(pages))


if __name__ == "__main__":
    main()

"""Times copulas against pyvinecopulib and statsmodels: `python -m benchmarks.copulas`.

All figures come from one run on the same cores, peer and ours taking turns. It also repeats the
test of table 4 of Zellinger and Thomson (2025) on recorded runs; the notebook behind that table
(github.com/mzelling/rational-llm-cascades) is public without its outputs. pyvinecopulib and
statsmodels must be installed for it; the package needs neither.
"""

import argparse
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyvinecopulib
from scipy.optimize import minimize_scalar
from scipy.stats import rankdata
from statsmodels.distributions.copula import api as statsmodels_copulas
from statsmodels.distributions.empirical_distribution import ECDF

from benchmarks.common import (
    LLAMA,
    fastest,
    load,
    prepare_jax,
    table,
    taking_turns,
    versions,
    write,
)
from jaxcascade.cascade import fit_cascade
from jaxcascade.cascade.fit import transforms
from jaxcascade.cascade.model import calibrate
from jaxcascade.copulas import (
    CensoredPairs,
    Clayton,
    Copula,
    Frank,
    Gaussian,
    Gumbel,
    Joe,
    StudentT,
    SurvivalGumbel,
    goodness_of_fit,
)

NUM_PAIRS = 1_000_000
NUM_REPEATS = 3
NUM_SLOW = 20_000  # pairs for peers that take microseconds for each
TAU = 0.5
METHODS = {"cdf": "cdf", "log_prob": "pdf", "h_function": "hfunc1", "inverse_h_function": "hinv1"}
FAMILIES: dict[str, tuple[type[Copula], str, int, str | None]] = {
    "Gumbel": (Gumbel, "gumbel", 0, "GumbelCopula"),
    "survival Gumbel": (SurvivalGumbel, "gumbel", 180, None),
    "Clayton": (Clayton, "clayton", 0, "ClaytonCopula"),
    "Frank": (Frank, "frank", 0, "FrankCopula"),
    "Joe": (Joe, "joe", 0, None),
    "Gaussian": (Gaussian, "gaussian", 0, "GaussianCopula"),
    "Student t, 4": (StudentT, "student", 0, "StudentTCopula"),
}
NUM_TEST_PAIRS = 1000
NUM_PEER_FITS = 10
NUM_REPLICATES = 1000
TABLES = ("mmlu_train", "medmcqa_train")


def peer_of(family: type[Copula], name: str, rotation: int) -> pyvinecopulib.Bicop:
    ours: Any = family.from_tau(jnp.array(TAU))
    base = getattr(ours, "base", ours)
    parameters = [[float(base.rho)], [4.0]] if name == "student" else [
        [float(base.rho if name == "gaussian" else base.theta)]
    ]  # fmt: skip
    kind = getattr(pyvinecopulib.BicopFamily, name)
    return pyvinecopulib.Bicop(kind, rotation=rotation, parameters=np.array(parameters))


def timing(label: str, method: str, host: np.ndarray) -> dict:
    """One method of one family; nanoseconds per pair."""
    family, name, rotation, other = FAMILIES[label]
    copula, peer = family.from_tau(jnp.array(TAU)), peer_of(family, name, rotation)
    u, v = (jnp.asarray(column) for column in host.T)
    start = time.perf_counter()
    # The parameter is an argument: as a constant it would be folded into the code.
    compiled = jax.jit(lambda c, a, b: getattr(c, method)(a, b)).lower(copula, u, v).compile()
    compile_s = time.perf_counter() - start
    # Theirs has no log density; the logarithm is part of the task.
    log = np.log if method == "log_prob" else np.asarray
    calls: list[Callable] = [
        lambda: jax.block_until_ready(compiled(copula, u, v)),
        lambda: log(getattr(peer, METHODS[method])(host)),
    ]
    found = np.asarray(compiled(copula, u, v))
    theirs: Any = log(getattr(peer, METHODS[method])(host))
    # It takes several threads only where each pair brings its own parameters.
    rows = np.tile(np.asarray(peer.parameters).ravel(), (len(host), 1))
    threads = len(os.sched_getaffinity(0))
    calls.append(
        lambda: log(getattr(peer, METHODS[method])(host, parameters=rows, num_threads=threads))
    )
    own, peer_s, threaded_s = taking_turns(dict(enumerate(calls)), NUM_REPEATS).values()
    second = statsmodels_seconds(other, copula, method, host)
    return {
        "family": label,
        "method": method,
        "ours_ns": 1e9 * own / len(host),
        "pyvinecopulib_ns": 1e9 * peer_s / len(host),
        "pyvinecopulib_threads_ns": 1e9 * threaded_s / len(host),
        "ratio": own / peer_s,
        "ratio_threads": own / threaded_s,
        "statsmodels_ns": None if second is None else 1e9 * second,
        "compile_s": compile_s,
        "largest_difference": float(np.max(np.abs(found - theirs))),
    }


def statsmodels_seconds(name: str | None, copula: Copula, method: str, host: np.ndarray):
    """Seconds per pair of statsmodels, where it has the family and the method."""
    if name is None or method not in ("cdf", "log_prob"):
        return None
    parameter = getattr(copula, "theta", None)
    keywords = {"df": 4} if name == "StudentTCopula" else {}
    parameter = copula.rho if parameter is None else parameter  # pyright: ignore
    theirs: Any = getattr(statsmodels_copulas, name)(float(parameter), **keywords)
    slow = name in ("GaussianCopula", "StudentTCopula") and method == "cdf"
    some = host[:NUM_SLOW] if slow else host
    call = theirs.cdf if method == "cdf" else theirs.logpdf
    try:
        return fastest(lambda: call(some), 1 if slow else 2) / len(some)
    except NotImplementedError:
        return None


def bootstrap() -> dict:
    """The parametric bootstrap against loops over statsmodels, the fastest round extrapolated."""
    pairs = Gumbel.from_tau(jnp.array(TAU)).sample(jax.random.key(0), (NUM_TEST_PAIRS,))
    start = time.perf_counter()
    run = lambda at: float(  # noqa: E731
        goodness_of_fit(jax.random.key(at), Gumbel, pairs, NUM_REPLICATES).p_value
    )
    run(0)
    first = time.perf_counter() - start
    own = fastest(lambda: run(1), 10)
    theirs: Any = statsmodels_copulas.GumbelCopula(2.0)
    fitted, rows = theirs, np.asarray(pairs)

    def by_tau() -> None:
        drawn = theirs.rvs(NUM_TEST_PAIRS, rng=1)
        theirs.fit_corr_param(drawn)
        kendall_statistic(drawn)

    def by_likelihood() -> None:
        drawn = theirs.rvs(NUM_TEST_PAIRS, rng=1)
        minimize_scalar(
            lambda theta: -fitted.logpdf(drawn, args=(theta,)).sum(), (1.0, 50.0), method="bounded",
            bounds=(1.0001, 50.0),
        )  # fmt: skip
        kendall_statistic(drawn)

    def by_grid() -> None:
        drawn = theirs.rvs(NUM_TEST_PAIRS, rng=1)
        grid_statistic(drawn, theirs.fit_corr_param(drawn))

    kendall_statistic(rows)
    seconds = [
        fastest(call, NUM_PEER_FITS) * NUM_REPLICATES for call in (by_tau, by_likelihood, by_grid)
    ]
    return {
        "pairs": NUM_TEST_PAIRS,
        "replicates": NUM_REPLICATES,
        "peer_rounds_measured": NUM_PEER_FITS,
        "ours_s": own,
        "ours_first_call_s": first,
        "statsmodels_tau_s": seconds[0],
        "statsmodels_likelihood_s": seconds[1],
        "statsmodels_grid_s": seconds[2],
        "speedup_tau": seconds[0] / own,
        "speedup_likelihood": seconds[1] / own,
        "speedup_grid": seconds[2] / own,
    }


def kendall_statistic(rows: np.ndarray) -> float:
    """The same counts in NumPy, for the loop over statsmodels, which has no such test."""
    u, v = rows.T
    below = ((u <= u[:, None]) & (v <= v[:, None])).mean(axis=1)
    grid = np.arange(len(u) + 1) / len(u)
    empirical = np.searchsorted(np.sort(below), grid[:-1], side="right") / len(u)
    reference = grid - np.where(grid > 0, grid * np.log(np.maximum(grid, 1e-300)), 0) / 2.0
    return float(np.sum((reference[1:] - empirical) ** 3 - (reference[:-1] - empirical) ** 3))


def grid_statistic(rows: np.ndarray, theta: float) -> float:
    """The statistic row by row and on a grid, as in the notebook of the paper's authors.

    github.com/mzelling/rational-llm-cascades, experiments/evaluating_copula_gof.ipynb
    """
    n, grid = len(rows), np.linspace(0.0, 1.0, 1000)
    ranks = rankdata(rows, axis=0) / (n + 1)
    empirical = ECDF([np.mean((ranks <= row).all(axis=1)) for row in ranks])
    fitted = ECDF(np.exp(-(((-np.log(ranks)) ** theta).sum(axis=1) ** (1.0 / theta))))
    squares = [(empirical(t) - fitted(t)) ** 2 for t in grid]
    return float(np.sum(np.array(squares)[1:] * np.diff(fitted(grid))))


def recorded(name: str) -> dict:
    """Tests the Gumbel copula for all pairs of the Llama models on one recorded table."""
    records = load(name, LLAMA)
    model = fit_cascade(records).model
    records = records.select(model.models)
    confidence = calibrate(model.calibrator, jnp.asarray(records.log_confidence))
    left, right = transforms(model.marginal, confidence)
    first, second = np.triu_indices(len(LLAMA), 1)
    rows = []
    for at, (i, j) in enumerate(zip(first, second, strict=True)):
        start = time.perf_counter()
        ones = jnp.ones(left.shape[0])
        pairs = CensoredPairs(left[:, i], right[:, i], left[:, j], right[:, j], ones)
        inner = (left[:, i] == right[:, i]) & (left[:, j] == right[:, j])
        smooth = np.asarray(confidence)[np.asarray(inner)][:, [i, j]]
        whole = goodness_of_fit(jax.random.key(at), Gumbel, pairs, NUM_REPLICATES)
        off_atoms = goodness_of_fit(jax.random.key(at), Gumbel, jnp.asarray(smooth), NUM_REPLICATES)
        rows.append(
            {
                "first": model.models[i],
                "second": model.models[j],
                "pairs": int(left.shape[0]),
                "tau": float(whole.copula.tau),
                "distance": float(jnp.sqrt(whole.statistic / left.shape[0])),
                "p_value": float(whole.p_value),
                "pairs_off_atoms": len(smooth),
                "tau_off_atoms": float(off_atoms.copula.tau),
                "distance_off_atoms": float(jnp.sqrt(off_atoms.statistic / len(smooth))),
                "p_value_off_atoms": float(off_atoms.p_value),
                "seconds": time.perf_counter() - start,
            }
        )
        print(rows[-1], flush=True)
    return {
        "table": name,
        "pairs": rows,
        "rejections": sum(row["p_value"] < 0.05 for row in rows),
        "rejections_off_atoms": sum(row["p_value_off_atoms"] < 0.05 for row in rows),
    }


def report(results: dict) -> str:
    """The results as Markdown."""
    told = ", ".join(f"{name} {value}" for name, value in results["versions"].items())
    rows = [
        [
            row["family"],
            f"`{row['method']}`",
            *(
                "" if row[name] is None else f"{row[name]:.1f}"
                for name in (
                    "ours_ns",
                    "pyvinecopulib_ns",
                    "pyvinecopulib_threads_ns",
                    "statsmodels_ns",
                )
            ),
            f"{row['ratio']:.2f}",
            f"{row['ratio_threads']:.2f}",
            f"{row['largest_difference']:.0e}",
            f"{row['compile_s']:.2f}",
        ]
        for row in results["timings"]
    ]
    head = ["family", "method", "ours, ns", "pyvinecopulib, ns", "its threads, ns"]
    head += ["statsmodels, ns", "ratio", "to threads", "difference", "compile, s"]
    lines = [
        "# Copulas",
        "",
        f"{told}. {NUM_PAIRS} uniform pairs in double precision at Kendall's tau {TAU}, "
        f"nanoseconds per pair, fastest of {NUM_REPEATS} taking turns, all processes on "
        f"{results['cores_used']} cores. Ratio: ours over pyvinecopulib as it is called for one "
        "copula, on one core; with the parameters repeated for each pair it takes threads. "
        f"statsmodels' normal cdf was timed on {NUM_SLOW} pairs. Difference: the largest between "
        "ours and pyvinecopulib's.",
        "",
        table(head, rows),
        "",
    ]
    loop = results.get("bootstrap")
    if loop:
        lines += [
            "## Goodness of fit",
            "",
            f"Bootstrap of {loop['replicates']} replicates of {loop['pairs']} pairs, each drawn, "
            f"refitted and tested: {loop['ours_s']:.2f} s "
            f"({loop['ours_first_call_s']:.1f} s with compilation). A loop of statsmodels, "
            f"the fastest of {loop['peer_rounds_measured']} rounds extrapolated: "
            f"{loop['statsmodels_tau_s']:.0f} s with its own fit, by Kendall's tau "
            f"({loop['speedup_tau']:.0f} times ours), "
            f"{loop['statsmodels_likelihood_s']:.0f} s with SciPy maximising its likelihood "
            f"({loop['speedup_likelihood']:.0f} times), "
            f"{loop['statsmodels_grid_s']:.0f} s with its own fit and the statistic row by row and "
            "on a grid, as in the notebook of the paper's authors "
            f"({loop['speedup_grid']:.0f} times).",
            "",
        ]
    for part in results.get("recorded", []):
        lines += recorded_lines(part)
    return "\n".join(lines)


def recorded_lines(part: dict) -> list[str]:
    rows = [
        [
            row["first"],
            row["second"],
            *(f"{row[name]:.3f}" for name in ("tau", "distance", "p_value")),
            row["pairs_off_atoms"],
            *(f"{row[f'{name}_off_atoms']:.3f}" for name in ("tau", "distance", "p_value")),
        ]
        for row in part["pairs"]
    ]
    head = ["first", "second", "tau", "distance", "p", "off atoms", "tau", "distance", "p"]
    return [
        f"## The Gumbel copula on `{part['table']}`",
        "",
        f"{part['pairs'][0]['pairs']} queries; {NUM_REPLICATES} replicates per pair. Rejected at "
        f"5 %: {part['rejections']} of {len(part['pairs'])} pairs with their atoms, "
        f"{part['rejections_off_atoms']} on the queries where neither confidence is on an atom. "
        "Distance: root of the mean squared difference of Kendall's distribution functions.",
        "",
        table(head, rows),
        "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--skip-recorded", action="store_true", help="leave out recorded runs")
    arguments = parser.parse_args()
    prepare_jax()
    jax.config.update("jax_enable_compilation_cache", False)  # compile times are measured
    host = np.random.default_rng(0).random((NUM_PAIRS, 2))
    names = {name: version(name) for name in ("statsmodels", "pyvinecopulib")}
    results: dict = {"versions": {**versions(), **names}}
    results["cores_used"] = len(os.sched_getaffinity(0))
    results["timings"] = [timing(label, method, host) for label in FAMILIES for method in METHODS]
    results["bootstrap"] = bootstrap()
    jax.config.update("jax_enable_compilation_cache", True)
    if not arguments.skip_recorded:
        results["recorded"] = [recorded(name) for name in TABLES]
    write("copulas", results, report(results))


if __name__ == "__main__":
    main()

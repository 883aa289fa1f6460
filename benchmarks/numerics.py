"""Every numerical benchmark in one run, and one table of them: `python -m benchmarks.numerics`.

Each part also writes a page of its own: `beta`, `integrals`, `marginals` and `copulas`. With
`--table-only` the parts are not run again, and the table is made from what they wrote.
"""

import argparse
import json
import time
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from benchmarks import beta, common, copulas, integrals, marginals
from jaxcascade.numerics import kendall_tau

PARTS = (beta, integrals, marginals, copulas)


class Line(NamedTuple):
    """One comparison; times of one unit, ratio below 1 where ours is faster."""

    task: str
    peer: str
    ours: str
    theirs: str
    ratio: float
    compile_s: float | None


def of_beta(results: dict) -> Iterator[Line]:
    for row in results["timings"]:
        ours, peer = row["comparison"].split(" / ")
        yield Line(
            f"incomplete beta: {ours}, {row['type']}, {row['elements']:,} elements",
            peer,
            f"{row['ours_ns']:.1f} ns",
            f"{row['peer_ns']:.1f} ns",
            row["ratio"],
            row["compile_s"],
        )


def of_integrals(results: dict) -> Iterator[Line]:
    times = results["times"]
    for ours in ("cheap, 64 nodes", "certified, 204 nodes"):
        for peer in ("published sums, 250 points", "scipy.integrate.quad"):
            yield Line(
                f"integral of a confidence: {ours}",
                peer,
                f"{times[ours]['ns'] / 1e3:.1f} us",
                f"{times[peer]['ns'] / 1e3:.1f} us",
                times[ours]["ns"] / times[peer]["ns"],
                times[ours]["compile_s"],
            )


def of_marginals(results: dict) -> Iterator[Line]:
    fit = results["fit"]
    peers = {
        "em_optimize": "SciPy EM, `scipy.optimize` in each step",
        "em_newton": "SciPy EM, one Newton step in each",
        "l_bfgs_b": "SciPy L-BFGS-B, exact gradient",
    }
    for name, peer in peers.items():
        yield Line(
            f"fit of {fit['models']} marginals at once, equal starts",
            peer,
            f"{1e3 * fit['ours_s']:.1f} ms",
            f"{1e3 * fit[f'{name}_s']:.0f} ms",
            1.0 / fit[f"{name}_ratio"],
            fit["compile_s"],
        )
    for row in results["law"]:
        yield Line(
            f"marginal: `{row['function']}`",
            "SciPy",
            f"{row['ours_ns']:.0f} ns",
            f"{row['scipy_ns']:.0f} ns",
            row["ours_ns"] / row["scipy_ns"],
            None,
        )


def of_copulas(results: dict) -> Iterator[Line]:
    for row in results["timings"]:
        yield Line(
            f"{row['family']}: `{row['method']}`",
            "pyvinecopulib",
            f"{row['ours_ns']:.1f} ns",
            f"{row['pyvinecopulib_ns']:.1f} ns",
            row["ratio"],
            row["compile_s"],
        )
    loop = results["bootstrap"]
    for peer in ("tau", "likelihood"):
        yield Line(
            f"goodness of fit, {loop['replicates']:,} replicates of {loop['pairs']:,} pairs",
            f"statsmodels, fits by {peer}",
            f"{loop['ours_s']:.2f} s",
            f"{loop[f'statsmodels_{peer}_s']:.1f} s",
            loop["ours_s"] / loop[f"statsmodels_{peer}_s"],
            loop["ours_first_call_s"] - loop["ours_s"],
        )


def kendall(num_rows: int, num_columns: int = 9) -> Line:
    """All pairs of columns against a loop over SciPy."""
    table = np.random.default_rng(0).normal(size=(num_rows, num_columns))
    device = jnp.asarray(table)
    start = time.perf_counter()
    compiled = jax.jit(kendall_tau).lower(device).compile()
    compile_s = time.perf_counter() - start

    def loop() -> None:
        for i in range(num_columns):
            for j in range(i):
                scipy.stats.kendalltau(table[:, i], table[:, j])

    ours, theirs = common.taking_turns({"ours": lambda: compiled(device), "SciPy": loop}).values()
    return Line(
        f"Kendall's tau, all pairs of {num_columns} columns, {num_rows:,} rows",
        "SciPy, pair by pair",
        f"{1e3 * ours:.1f} ms",
        f"{1e3 * theirs:.1f} ms",
        ours / theirs,
        compile_s,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table-only", action="store_true", help="do not run the parts again")
    table_only = parser.parse_args().table_only
    jax.config.update("jax_enable_x64", True)
    if not table_only:
        for part in PARTS:
            part.main()
    readers = (of_beta, of_integrals, of_marginals, of_copulas)
    lines = [kendall(num_rows) for num_rows in (300, 1500, 5000)]
    for part, read in zip(PARTS, readers, strict=True):
        name = part.__name__.split(".")[-1]
        lines += read(json.loads((common.RESULTS / f"{name}.json").read_text()))
    rows = [
        (
            line.task,
            line.peer,
            line.ours,
            line.theirs,
            f"{line.ratio:.3g}",
            "" if line.compile_s is None else f"{line.compile_s:.2f}",
        )
        for line in lines
    ]
    told = ", ".join(f"{name} {value}" for name, value in common.versions().items())
    text = [
        "# Numerical core",
        "",
        f"{told}. Times of one element, pair, integral or task, double precision unless told, ours "
        "and the peer in one process; a ratio below 1 means that ours is faster. Accuracies and "
        "how each was measured: [beta](beta.md), [integrals](integrals.md), "
        "[marginals](marginals.md), [copulas](copulas.md).",
        "",
        common.table(("task", "peer", "ours", "peer's", "ratio", "compile, s"), rows),
    ]
    content = {"versions": common.versions(), "lines": [line._asdict() for line in lines]}
    common.write("numerics", content, "\n".join(text))


if __name__ == "__main__":
    main()

"""The worked case: what each way of screening candidates costs, by simulation.

python -m benchmarks.screening [--simulations N]
"""

import argparse

import jax
import numpy as np

from benchmarks.common import prepare_jax, table, versions, write
from jaxcascade.decisions import (
    PARTS,
    ScreeningResults,
    compare_screening,
    leave_one_out,
    shapley,
    subsets,
)

PEER = "best rater fitted, screen"
LABELS = (50, 200, 1000)


def _with_error(values: np.ndarray, digits: str = "{:,.0f}") -> str:
    error = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return f"{digits.format(values.mean())} ± {digits.format(error)}"


def _methods(found: ScreeningResults) -> str:
    cost = np.asarray(found.cost_usd)
    peer = cost[:, found.methods.index(PEER)]
    rows = []
    for at, name in enumerate(found.methods):
        spread = np.quantile(cost[:, at], [0.05, 0.95])
        gaps = [100 * np.asarray(part[:, at]) for part in (found.rate_gap, found.missed_gap)]
        rows.append(
            [
                name,
                _with_error(cost[:, at]),
                f"{spread[0]:,.0f} to {spread[1]:,.0f}",
                _with_error(cost[:, at] - peer),
                f"{np.mean(found.screened[:, at]):.0%}",
                f"{np.mean(found.interviewed[:, at]):.0%}",
                f"{np.mean(found.missed[:, at]):.1%}",
                *(_with_error(gap, "{:.1f}") for gap in gaps),
            ]
        )
    header = [
        "method",
        "dollars per 1,000",
        "5 to 95 %",
        f"less {PEER}",
        "screened",
        "interviewed",
        "fit missed",
        "gap of interviews, points",
        "gap of misses, points",
    ]
    return table(header, rows)


def _parts(found: ScreeningResults) -> str:
    saved = np.asarray(found.saved_usd)
    rng = np.random.default_rng(0)
    draws = saved[rng.integers(0, len(saved), (2000, len(saved)))].mean(axis=1)
    rows = []
    for name, way in (("Shapley", shapley), ("left out alone", leave_one_out)):
        share = np.asarray(way(saved.mean(axis=0), PARTS).share_percent)
        low, high = np.quantile(way(draws, PARTS).share_percent, [0.025, 0.975], axis=0)
        cells = [
            f"{s:.1f} % ({a:.1f} to {b:.1f})" for s, a, b in zip(share, low, high, strict=True)
        ]
        rows.append([name, *cells, f"{share.sum():.1f} %"])
    return table(["share of the saving", *PARTS, "sum"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--simulations", type=int, default=200)
    count = parser.parse_args().simulations
    prepare_jax()
    page = [
        "# Screening candidates: the worked case\n",
        f"{count} simulations of 1,000 candidates; ± is twice the standard error of the mean "
        "(1.96), in pairs where two methods are compared.\n",
    ]
    content: dict = {"versions": versions(), "simulations": count}
    for labels in LABELS:
        found = compare_screening(jax.random.key(0), count, num_labelled=labels)
        page += [f"\n## {labels} earlier candidates with known fitness\n", _methods(found)]
        page += ["\nWhat the parts save over the best rater's likelier state:\n", _parts(found)]
        content[str(labels)] = {
            "error_correlation": float(np.mean(found.error_correlation)),
            "cost_usd": dict(
                zip(found.methods, np.mean(found.cost_usd, axis=0).tolist(), strict=True)
            ),
            "saved_usd": dict(
                zip(
                    map(" ".join, subsets(PARTS)),
                    np.mean(found.saved_usd, axis=0).tolist(),
                    strict=True,
                )
            ),
        }
        print(f"{labels} labels done", flush=True)
    write("screening", content, "\n".join(page))


if __name__ == "__main__":
    main()

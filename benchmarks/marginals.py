"""Fits of marginals against SciPy, and the law's functions: `python -m benchmarks.marginals`.

All figures come from one run on the same cores, peer and ours taking turns.
"""

import argparse
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import elementwise, minimize
from scipy.special import betainc, betaln, digamma, expit, logsumexp, polygamma

from benchmarks.common import fastest, load, prepare_jax, table, versions, write
from jaxcascade.calibration import LogisticCalibration
from jaxcascade.cascade.model import calibrate
from jaxcascade.marginals import BetaMixture, BetaMixtureMethod

TABLES = ("mmlu_train", "medmcqa_train", "gsm8k_train", "mmlu_test", "medmcqa_test")
TIMED = "mmlu_train"
SMALLEST, LARGEST = 0.05, 1000.0
NUM_RANDOM_STARTS = 60
NUM_STARTS = 21  # as many as ours
NUM_SLOW_STARTS = 5  # of expectation maximisation with scipy.optimize inside; extrapolated
TOLERANCE = 1e-9
MAX_STEPS = 500
NUM_REPEATS = 5
NUM_POINTS = 100_000


class Parameters(NamedTuple):
    """A mixture of two betas in NumPy; rows are components, columns the two shapes."""

    weights: np.ndarray
    shapes: np.ndarray


# --- SciPy's side -------------------------------------------------------------------------------


def log_parts(logs: np.ndarray, weights: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return (shapes - 1) @ logs + (np.log(weights) - betaln(*shapes.T))[:, None]


def log_likelihood(logs: np.ndarray, found: Parameters) -> float:
    total: Any = logsumexp(log_parts(logs, *found), axis=0)
    return float(total.sum())


def random_start(rng: np.random.Generator, z: np.ndarray, at: int) -> Parameters:
    """Every other start aims one component at a value."""
    means, sizes = rng.uniform(0.05, 0.95, 2), np.exp(rng.uniform(0, 6, 2))
    means[0] = np.clip(rng.choice(z), 0.01, 0.99) if at % 2 else means[0]
    shapes = np.stack([means * sizes, (1 - means) * sizes], axis=1)
    share = expit(rng.normal())
    return Parameters(np.array([share, 1 - share]), np.clip(shapes, SMALLEST, LARGEST))


def by_gradient(logs: np.ndarray, start: Parameters) -> Parameters:
    """L-BFGS-B in log odds and log shapes with the exact gradient."""
    n = logs.shape[1]

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        weights, shapes = expit([x[0], -x[0]]), np.exp(x[1:]).reshape(2, 2)
        parts = log_parts(logs, weights, shapes)
        total: Any = logsumexp(parts, axis=0)
        belongs = np.exp(parts - total)
        count = belongs.sum(axis=1)
        slope = digamma(shapes) - digamma(shapes.sum(axis=1, keepdims=True))
        gradient = shapes * (belongs @ logs.T - count[:, None] * slope)
        return -total.sum(), -np.array([count[0] - weights[0] * n, *gradient.ravel()])

    bounds = [(-14.0, 14.0)] + [(np.log(SMALLEST), np.log(LARGEST))] * 4
    first = np.array([np.log(start.weights[0] / start.weights[1]), *np.log(start.shapes.ravel())])
    options = {"ftol": 1e-13, "gtol": 1e-7, "maxiter": 2000}
    x = minimize(objective, first, jac=True, bounds=bounds, method="L-BFGS-B", options=options).x
    return Parameters(expit(np.array([x[0], -x[0]])), np.exp(x[1:]).reshape(2, 2))


def newton_maximum(shapes: np.ndarray, means: np.ndarray) -> np.ndarray:
    """One damped Newton step for both components at once."""
    both = shapes.sum(axis=1)
    gradient = means - digamma(shapes) + digamma(both)[:, None]
    shared = polygamma(1, both)
    diagonal = polygamma(1, shapes) - shared[:, None]
    determinant = diagonal.prod(axis=1) - shared**2
    step = diagonal[:, ::-1] * gradient + shared[:, None] * gradient[:, ::-1]
    return np.clip(shapes + step / determinant[:, None], shapes / 3, 3 * shapes)


def optimised_maximum(shapes: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Each component's maximum by `scipy.optimize.minimize`."""
    result = []
    for shape, mean in zip(shapes, means, strict=True):

        def objective(x: np.ndarray, mean: np.ndarray = mean) -> tuple[float, np.ndarray]:
            ab = np.exp(x)
            slope = mean - digamma(ab) + digamma(ab.sum())
            return betaln(*ab) - (ab - 1) @ mean, -ab * slope

        bounds = [(np.log(SMALLEST), np.log(LARGEST))] * 2
        first = np.log(np.clip(shape, SMALLEST, LARGEST))
        found = minimize(objective, first, jac=True, bounds=bounds, method="L-BFGS-B")
        result.append(np.exp(found.x))
    return np.array(result)


def by_expectation_maximisation(
    logs: np.ndarray, start: Parameters, maximum: Callable = newton_maximum
) -> Parameters:
    weights, shapes = start
    n, before = logs.shape[1], -np.inf
    for _ in range(MAX_STEPS):
        parts = log_parts(logs, weights, shapes)
        total = np.logaddexp(*parts)
        value = total.sum()
        if abs(value - before) < TOLERANCE * n:
            break
        before = value
        belongs = np.exp(parts - total)
        count = np.maximum(belongs.sum(axis=1), 1e-12)
        shapes = np.clip(maximum(shapes, belongs @ logs.T / count[:, None]), SMALLEST, LARGEST)
        weights = count / count.sum()
    return Parameters(weights, shapes)


def best_of(method: Callable, z: np.ndarray, num_starts: int, seed: int = 0) -> float:
    """Largest log-likelihood over random starts."""
    rng, logs = np.random.default_rng(seed), np.stack([np.log(z), np.log1p(-z)])
    starts = [random_start(rng, z, at) for at in range(num_starts)]
    return max(log_likelihood(logs, method(logs, start)) for start in starts)


# --- Ours ---------------------------------------------------------------------------------------


def calibrated(name: str) -> tuple[list[str], jax.Array, jax.Array]:
    """Names, calibrated confidences and weights of a table's models."""
    records = load(name)
    asked = jnp.asarray(~np.isnan(records.log_confidence), float)
    labelled = asked * ~np.isnan(records.correct)
    raw = jnp.nan_to_num(jnp.asarray(records.log_confidence))
    correct = jnp.nan_to_num(jnp.asarray(records.correct))
    fit = eqx.filter_jit(eqx.filter_vmap(LogisticCalibration().fit, in_axes=1))
    return list(records.models), calibrate(fit(raw, correct, labelled), raw), asked


@eqx.filter_jit
def fit_all(method: BetaMixtureMethod, confidence: jax.Array, weight: jax.Array):
    return jax.vmap(method.fit, in_axes=1)(confidence, weight)


def interior(confidence: jax.Array, weight: jax.Array) -> np.ndarray:
    used = np.asarray(confidence)[np.asarray(weight) > 0]
    low, high = used.min(), used.max()
    inside = used[(used > low) & (used < high)]
    return (inside - low) / np.where(high > low, high - low, 1.0)


def columns(name: str) -> list[dict]:
    """Log-likelihood per observation of every model of a table, ours and SciPy's best."""
    models, confidence, weight = calibrated(name)
    found = fit_all(BetaMixtureMethod(prior_strength=0.0), confidence, weight)
    rows = []
    for at, model in enumerate(models):
        z = interior(confidence[:, at], weight[:, at])
        if z.size < 5:
            continue
        law = jax.tree.map(lambda leaf, at=at: np.asarray(leaf[at]), found.marginal.interior)
        shapes = np.stack([law.concentration1, law.concentration0], axis=1)
        own = log_likelihood(np.stack([np.log(z), np.log1p(-z)]), Parameters(law.weights, shapes))
        best = best_of(by_gradient, z, NUM_RANDOM_STARTS)
        rows.append(
            {
                "table": name,
                "model": model,
                "values": int(z.size),
                "ours": own / z.size,
                "scipy": best / z.size,
                "shortfall": (best - own) / z.size,
                "steps": int(found.num_steps[at]),
            }
        )
        print(rows[-1], flush=True)
    return rows


def fit_timing() -> dict:
    """Seconds for all models of one table; the loops run over columns, one start at a time."""
    _, confidence, weight = calibrated(TIMED)
    method = BetaMixtureMethod(prior_strength=0.0)
    start = time.perf_counter()
    lowered = fit_all.lower(method, confidence, weight)
    traced = time.perf_counter()
    compiled = lowered.compile()
    compile_s = time.perf_counter() - traced
    call = lambda: jax.block_until_ready(compiled(method, confidence, weight))  # noqa: E731
    data = [interior(confidence[:, at], weight[:, at]) for at in range(confidence.shape[1])]
    slow = lambda logs, start: by_expectation_maximisation(  # noqa: E731
        logs, start, optimised_maximum
    )
    peers = {
        "em_optimize": (slow, NUM_SLOW_STARTS),
        "em_newton": (by_expectation_maximisation, NUM_STARTS),
        "l_bfgs_b": (by_gradient, NUM_STARTS),
    }
    result: dict = {"models": len(data), "trace_s": traced - start, "compile_s": compile_s}
    call()
    own = fastest(call)
    for name, (peer, num_starts) in peers.items():
        loop = lambda peer=peer, num=num_starts: [best_of(peer, z, num) for z in data]  # noqa: E731
        result[f"{name}_s"] = fastest(loop, 1) * NUM_STARTS / num_starts
        own = min(own, fastest(call))
    result["ours_s"] = own
    for name in peers:
        result[f"{name}_ratio"] = result[f"{name}_s"] / own
    return result


def law_timings() -> list[dict]:
    """The functions of one mixture, in nanoseconds per point, and the largest difference."""
    weights, shapes = np.array([0.7, 0.3]), np.array([[1.0, 1.3], [210.0, 90.0]])
    law = BetaMixture(*(jnp.asarray(part) for part in (weights, *shapes.T)))
    host = np.random.default_rng(0).random(NUM_POINTS)
    points = jnp.asarray(host)
    share = shapes[:, 0] / shapes.sum(axis=1)

    def mixed(function: Callable) -> Callable:
        return lambda z: sum(
            w * function(a, b, z, m) for w, (a, b), m in zip(weights, shapes, share, strict=True)
        )

    cdf = mixed(lambda a, b, z, m: betainc(a, b, z))
    density = mixed(
        lambda a, b, z, m: np.exp((a - 1) * np.log(z) + (b - 1) * np.log1p(-z) - betaln(a, b))
    )
    peers = {
        "cdf": cdf,
        "log_prob": lambda z: np.log(density(z)),
        "partial_mean": mixed(lambda a, b, z, m: m * (1 - betainc(a + 1, b, z))),
        "icdf": lambda p: elementwise.find_root(lambda z, p: cdf(z) - p, (0.0, 1.0), args=(p,)).x,
    }
    rows = []
    for name, peer in peers.items():
        compiled = jax.jit(lambda law, z, name=name: getattr(law, name)(z))
        compiled = compiled.lower(law, points).compile()
        call = lambda c=compiled: jax.block_until_ready(c(law, points))  # noqa: E731
        difference = float(np.max(np.abs(np.asarray(call()) - peer(host))))
        own = fastest(call)
        theirs = fastest(lambda peer=peer: peer(host), 2)
        own = min(own, fastest(call))
        rows.append(
            {
                "function": name,
                "ours_ns": 1e9 * own / NUM_POINTS,
                "scipy_ns": 1e9 * theirs / NUM_POINTS,
                "ratio": theirs / own,
                "largest_difference": difference,
            }
        )
    return rows


def report(results: dict) -> str:
    """The results as Markdown."""
    told = ", ".join(f"{name} {value}" for name, value in results["versions"].items())
    fit = results["fit"]
    peers = {
        "expectation maximisation, `scipy.optimize` for each maximum": "em_optimize",
        "expectation maximisation, one Newton step for each maximum": "em_newton",
        "L-BFGS-B with the exact gradient": "l_bfgs_b",
    }
    times = [["ours", f"{1e3 * fit['ours_s']:.1f}", ""]]
    times += [
        [label, f"{1e3 * fit[f'{name}_s']:.0f}", f"{fit[f'{name}_ratio']:.0f}"]
        for label, name in peers.items()
    ]
    functions = [
        [
            f"`{row['function']}`",
            f"{row['ours_ns']:.0f}",
            f"{row['scipy_ns']:.0f}",
            f"{row['ratio']:.2f}",
            f"{row['largest_difference']:.0e}",
        ]
        for row in results["law"]
    ]
    rows = sorted(results["columns"], key=lambda row: -row["shortfall"])
    fits = [
        [
            row["table"],
            row["model"],
            row["values"],
            f"{row['ours']:.9f}",
            f"{row['scipy']:.9f}",
            f"{row['shortfall']:.0e}",
            row["steps"],
        ]
        for row in rows
    ]
    return "\n".join(
        [
            "# Marginals",
            "",
            f"{told}. Double precision, fastest of {NUM_REPEATS} (SciPy: once), taking turns, on "
            f"{results['cores_used']} cores.",
            "",
            f"## Time to fit {fit['models']} models, `{TIMED}`",
            "",
            f"Warm; tracing takes {fit['trace_s']:.1f} s and compilation {fit['compile_s']:.1f} s. "
            f"SciPy's loops go over columns and {NUM_STARTS} random starts, as many as ours, to "
            f"{TOLERANCE:g} per observation, vectorised over values; the first was run from "
            f"{NUM_SLOW_STARTS} and extrapolated. The second has the step that ours had before.",
            "",
            table(["method", "ms", "times ours"], times),
            "",
            f"## Functions of one law, {NUM_POINTS} points",
            "",
            "Nanoseconds per point. SciPy: a sum over two betas in NumPy; its `icdf` is "
            "`elementwise.find_root`.",
            "",
            table(["function", "ours", "SciPy", "ratio", "difference"], functions),
            "",
            "## Log-likelihood per observation",
            "",
            f"Without a prior. SciPy: the best of {NUM_RANDOM_STARTS} random starts of L-BFGS-B "
            "within the same bounds. Largest shortfall first. Columns with fewer than five values "
            "between their ends are left out.",
            "",
            table(["table", "model", "values", "ours", "SciPy", "shortfall", "steps"], fits),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    prepare_jax()
    results: dict = {"versions": versions(), "cores_used": len(os.sched_getaffinity(0))}
    jax.config.update("jax_enable_compilation_cache", False)  # compile times are measured
    results["fit"] = fit_timing()
    results["law"] = law_timings()
    jax.config.update("jax_enable_compilation_cache", True)
    results["columns"] = [row for name in TABLES for row in columns(name)]
    write("marginals", results, report(results))


if __name__ == "__main__":
    main()

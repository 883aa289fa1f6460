"""Accuracy and time of the integrals of a confidence: `python -m benchmarks.integrals`.

Each integral is P(next model above a threshold and wrong | last model at most a level), for 400
random mixtures of two betas with shapes from 0.2 to 200, atoms, and Gumbel's theta from 1 to 10.
The reference is a rule of 600 panels of 20 nodes in the logit of the support, which agrees with
900 panels to 1e-15.

Times come from one process in which the methods take turns, fastest of several rounds; the
processor may have had other work, so read them as ratios. SciPy runs on one core.
"""

import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache
from jaxtyping import Array, Float
from scipy.integrate import quad
from scipy.special import betainc

from benchmarks.common import LLAMA, OTHERS, load, prepare_jax, table, taking_turns, versions, write
from jaxcascade.cascade import (
    CERTIFIED,
    CHEAP,
    CascadeModel,
    MarkovChain,
    Policy,
    Quadrature,
    expected_outcomes,
    fit_cascade,
    grid_edges,
    markov_chain,
    threshold_tables,
)
from jaxcascade.cascade.integrals import mesh
from jaxcascade.copulas import Gumbel
from jaxcascade.marginals import Marginal
from jaxcascade.numerics import gauss_legendre
from tests.cascade.pairs import Pairs, gumbel_given, level_at, random_pairs, reference

_ROUNDS = 5
_NUM_QUAD = 40  # as many as SciPy's adaptive rule is timed on


@eqx.filter_jit
def by_mesh(pairs: Pairs, quadrature: Quadrature) -> Float[Array, " n"]:
    def one(law: Marginal, theta: Any, level: Any, threshold: Any) -> Array:
        edges = jnp.stack([-jnp.inf, threshold, jnp.inf])
        below = mesh(law, edges, quadrature).below(
            lambda v: Gumbel(theta).lower_conditional(level, v)
        )
        return below.wrong[-1] - below.wrong[1]

    return jax.vmap(one)(pairs.laws(), pairs.theta, pairs.level, pairs.threshold)


def on_a_grid(pairs: Pairs, num_nodes: int, num_cells: int = 128) -> Float[np.ndarray, " n"]:
    """Integrals over all cells of a grid of thresholds at once, the wanted one among them."""

    def one(law: Marginal, theta: Any, level: Any, threshold: Any, edges: Array) -> Array:
        at = jnp.searchsorted(edges, threshold)
        edges = jnp.sort(jnp.append(edges, threshold))
        below = mesh(law, edges, Quadrature(num_nodes, at_breaks=True)).below(
            lambda v: Gumbel(theta).lower_conditional(level, v)
        )
        return below.wrong[-1] - below.wrong[at]

    laws = pairs.laws()
    # Of a pool only the laws matter to its grid.
    nothing: Any = None
    pool = CascadeModel((), nothing, nothing, nothing, laws, nothing)
    edges = grid_edges(pool, num_cells)
    return np.asarray(
        jax.jit(jax.vmap(one))(laws, pairs.theta, pairs.level, pairs.threshold, edges)
    )


@jax.jit
def plain(pairs: Pairs) -> Float[Array, " n"]:
    """Gauss-Legendre with 64 nodes on the interval itself."""

    def one(law: Marginal, theta: Any, level: Any, threshold: Any) -> Array:
        rule = gauss_legendre(threshold, law.high, 64)
        cdf = law.cdf(jnp.append(rule.nodes, threshold))
        given = Gumbel(theta).lower_conditional(level, cdf)
        inner = rule.weights @ given[:-1]
        return (1 - law.high) - (1 - threshold) * given[-1] + inner

    return jax.vmap(one)(pairs.laws(), pairs.theta, pairs.level, pairs.threshold)


def stieltjes(pairs: Pairs, num_points: int) -> Float[np.ndarray, " n"]:
    """The published scheme: sums of confidence x differences of H over equal steps, in NumPy."""
    share = np.linspace(0, 1, num_points)
    width = pairs.high - pairs.low
    start = (pairs.threshold - pairs.low) / width
    z = start[:, None] + (1 - start)[:, None] * share
    given = gumbel_given(pairs.level[:, None], level_at(pairs, z), pairs.theta[:, None])
    doubt = 1 - (pairs.low[:, None] + width[:, None] * z)
    inside = np.sum(np.diff(given) * 0.5 * (doubt[:, 1:] + doubt[:, :-1]), axis=1)
    return inside + (1 - pairs.high) * (1 - given[:, -1])


def adaptive(pairs: Pairs) -> Float[np.ndarray, " n"]:
    """SciPy's adaptive rule on the integral by parts, at its default tolerances."""
    found = []
    for i in range(pairs.level.size):
        one = pairs.take(slice(i, i + 1))
        a, b, w = (x.ravel() for x in (one.concentration1, one.concentration0, one.weights))
        low, high, level, theta, threshold = (float(x[0]) for x in (*one[4:6], *one[6:]))
        atom_low, interior = float(one.atoms[0, 0]), 1 - float(one.atoms.sum())

        def given(
            x: float, a=a, b=b, w=w, low=low, high=high, u=level, t=theta, atom=atom_low, m=interior
        ) -> float:
            below = float(w @ betainc(a, b, (x - low) / (high - low)))
            return float(gumbel_given(u, np.float64(atom + m * below), t))

        integral, _ = quad(given, threshold, high, limit=200)
        found.append((1 - high) - (1 - threshold) * given(threshold) + integral)
    return np.array(found)


def accuracy(pairs: Pairs) -> dict[str, dict[str, float]]:
    exact = reference(pairs)
    few = pairs.take(slice(_NUM_QUAD))
    split = Quadrature(8, at_breaks=True)
    rules: dict[str, tuple[str, Callable[[], Any]]] = {
        "Gauss-Legendre on the interval": ("64", lambda: plain(pairs)),
        "cheap: arcsine angle": ("64", lambda: by_mesh(pairs, CHEAP)),
        "panels at breaks, 8 nodes": ("136", lambda: by_mesh(pairs, split)),
        "certified: panels at breaks, 12 nodes": ("204", lambda: by_mesh(pairs, CERTIFIED)),
        "one pass over 128 cells, 4 nodes": ("4 a cell", lambda: on_a_grid(pairs, 4)),
        "one pass over 128 cells, 12 nodes": ("12 a cell", lambda: on_a_grid(pairs, 12)),
        "published sums, 25 points": ("25", lambda: stieltjes(pairs, 25)),
        "published sums, 100 points": ("100", lambda: stieltjes(pairs, 100)),
        "published sums, 250 points": ("250", lambda: stieltjes(pairs, 250)),
        f"scipy.integrate.quad (first {_NUM_QUAD})": ("adaptive", lambda: adaptive(few)),
    }
    rows = {}
    for name, (nodes, rule) in rules.items():
        found = np.asarray(rule())
        error = np.abs(found - exact[: found.size])
        rows[name] = {
            "nodes": nodes,
            "max": float(error.max()),
            "p99": float(np.quantile(error, 0.99)),
            "median": float(np.median(error)),
            "share_above_1e-8": float(np.mean(error > 1e-8)),
        }
    return rows


def compile_seconds(function: Callable, *arguments: Any) -> float:
    """Tracing and compiling, nothing taken from a cache."""
    jax.clear_caches()
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # whether there is one was decided at the first compilation
    start = time.perf_counter()
    jax.jit(function).lower(*arguments).compile()
    seconds = time.perf_counter() - start
    jax.config.update("jax_enable_compilation_cache", True)
    compilation_cache.reset_cache()
    return seconds


def times(pairs: Pairs) -> dict[str, dict[str, float]]:
    """Nanoseconds per integral."""
    few = pairs.take(slice(_NUM_QUAD))
    device: Any = jax.tree.map(jnp.asarray, pairs)
    many = {
        "cheap, 64 nodes": lambda: by_mesh(device, CHEAP),
        "certified, 204 nodes": lambda: by_mesh(device, CERTIFIED),
        "published sums, 25 points": lambda: stieltjes(pairs, 25),
        "published sums, 100 points": lambda: stieltjes(pairs, 100),
        "published sums, 250 points": lambda: stieltjes(pairs, 250),
        "scipy.integrate.quad": lambda: adaptive(few),
    }
    seconds = taking_turns(many)
    counts = dict.fromkeys(many, pairs.level.size) | {"scipy.integrate.quad": _NUM_QUAD}
    rows = {name: {"ns": 1e9 * seconds[name] / counts[name]} for name in many}
    for name, rule in (("cheap, 64 nodes", CHEAP), ("certified, 204 nodes", CERTIFIED)):
        rows[name]["compile_s"] = compile_seconds(lambda p, rule=rule: by_mesh(p, rule), device)
    return rows


def cell_means(chain: MarkovChain) -> Float[Array, "k k e e"]:
    """The integrals as sums of mean confidence x mass over the cells of the grid."""
    cells = jnp.diff(chain.lower_conditional, axis=-1) * (1 - chain.confidence)[None, :, None, :]
    sums = jax.lax.cumsum(cells, axis=3, reverse=True)
    return jnp.concatenate([sums, jnp.zeros_like(sums[..., :1])], axis=-1)


def tables(model: CascadeModel) -> tuple[dict[str, float], dict[str, float]]:
    """Worst error and milliseconds of the integrals of every pair over 128 cells."""
    chain = markov_chain(model)
    first, second = np.triu_indices(len(model.models), 1)
    fine = threshold_tables(model, chain.edges, Quadrature(24, at_breaks=True))
    exact = np.asarray(fine.wrong_given)[first, second]
    sums = jax.jit(cell_means)
    four = Quadrature(4, at_breaks=True)
    methods = {
        "Markov grid alone": lambda: markov_chain(model).kernel,
        "sums of cell means, after the Markov grid": lambda: sums(chain),
        "one pass, 4 nodes a cell": lambda: threshold_tables(model, chain.edges, four).wrong_given,
        "one pass, 12 nodes a cell": lambda: threshold_tables(model, chain.edges).wrong_given,
    }
    errors = {}
    for name, method in list(methods.items())[1:]:
        found = np.asarray(method())[first, second]
        errors[name] = float(np.abs(found - exact).max())
    return errors, {name: 1e3 * s for name, s in taking_turns(methods).items()}


def policies(model: CascadeModel) -> dict[str, dict[str, float]]:
    """Microseconds per policy and compile seconds of the O(k) expectation, by rule."""
    chain = model.select(LLAMA)
    policy = Policy.threshold_cascade(LLAMA, [0.6, 0.7, 0.75, 0.8])
    rows = {}
    methods, batches = {}, {}
    for width in (1, 8):
        arrays = policy.to_arrays(LLAMA, width)
        batch = jax.tree.map(lambda part: jnp.stack([jnp.asarray(part)] * 256), arrays)
        for name, rule in (("cheap", CHEAP), ("certified", CERTIFIED)):

            def many(p: Any, rule: Quadrature = rule) -> Any:
                return jax.vmap(lambda one: expected_outcomes(chain, one, rule).error)(p)

            key = f"{name}, {width + 1} intervals per model"
            methods[key], batches[key] = many, batch
            rows[key] = {"compile_s": compile_seconds(many, batch)}
    runs = {key: jax.jit(many) for key, many in methods.items()}
    calls = {key: lambda key=key: runs[key](batches[key]) for key in runs}
    for key, seconds in taking_turns(calls).items():
        rows[key]["us"] = 1e6 * seconds / 256
    return rows


def main() -> None:
    prepare_jax()
    pairs = random_pairs(400)
    model = fit_cascade(load("mmlu_train", LLAMA + OTHERS)).model
    results: dict[str, Any] = {
        "versions": versions(),
        "accuracy": accuracy(pairs),
        "times": times(pairs),
        "policies": policies(model),
    }
    results["table_errors"], results["table_ms"] = tables(model)
    write("integrals", results, report(results))


def report(results: dict[str, Any]) -> str:
    described = ", ".join(f"{name} {value}" for name, value in results["versions"].items())
    errors, milliseconds = results["table_errors"], results["table_ms"]
    return "\n".join(
        [
            "# Integrals of a confidence",
            "",
            "P(next above a threshold and wrong | last at most a level), 400 random pairs: "
            "mixtures of two betas with shapes from 0.2 to 200, atoms, levels from 1e-4, Gumbel's "
            f"theta from 1 to 10. {described}.",
            "",
            table(
                ("rule", "nodes", "largest error", "99 %", "median", "share above 1e-8"),
                [
                    (
                        name,
                        r["nodes"],
                        *(f"{r[c]:.1e}" for c in ("max", "p99", "median")),
                        f"{r['share_above_1e-8']:.3f}",
                    )
                    for name, r in results["accuracy"].items()
                ],
            ),
            "",
            "Time of one integral out of 400 in a batch, fastest of "
            f"{_ROUNDS} rounds in which the methods take turns; both of ours use all cores.",
            "",
            table(
                ("method", "ns per integral", "compile time, s"),
                [
                    (name, f"{r['ns']:,.0f}", f"{r['compile_s']:.1f}" if "compile_s" in r else "")
                    for name, r in results["times"].items()
                ],
            ),
            "",
            "Expected outcome of a cascade of five models, 256 policies in a batch:",
            "",
            table(
                ("rule", "microseconds per policy", "compile time, s"),
                [
                    (name, f"{r['us']:.0f}", f"{r['compile_s']:.1f}")
                    for name, r in results["policies"].items()
                ],
            ),
            "",
            "All 36 pairs of nine models fitted to MMLU, over 128 cells of thresholds:",
            "",
            table(
                ("method", "milliseconds", "largest error"),
                [
                    (name, f"{ms:.1f}", f"{errors[name]:.1e}" if name in errors else "")
                    for name, ms in milliseconds.items()
                ],
            ),
        ]
    )


if __name__ == "__main__":
    main()

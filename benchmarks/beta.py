"""Times and checks `betainc` against SciPy and against JAX: `python -m benchmarks.beta`.

All figures come from one run, so that their ratios can be compared; the numbers of seconds behind
them belong to whatever processor it ran on.
"""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.scipy.special
import numpy as np
import scipy.special

from benchmarks.common import fastest, table, versions, write
from jaxcascade.numerics import betainc, betaincinv

NUM_ELEMENTS = 1_000_000
NUM_CALL = 10_000  # as many as one call of a fit has
NUM_SLOW = 50_000  # elements for the peer that takes a second per 100 000
NUM_REPEATS = 5


def operands(size: int, dtype: type, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Shapes log-uniform in [0.05, 1e3]; half of x uniform, half around the mean."""
    generator = np.random.default_rng(seed)
    a, b = 10 ** generator.uniform(np.log10(0.05), 3, (2, size))
    mean = a / (a + b)
    near = mean + generator.uniform(-3, 3, size) * np.sqrt(mean * (1 - mean) / (a + b + 1))
    x = np.where(generator.random(size) < 0.5, generator.random(size), near)
    return tuple(z.astype(dtype) for z in (a, b, np.clip(x, 1e-9, 1 - 1e-6)))


def value_and_partials(a: jax.Array, b: jax.Array, x: jax.Array) -> tuple[jax.Array, ...]:
    value, pull_back = jax.vjp(betainc, a, b, x)
    return value, *pull_back(jnp.ones_like(value))


def compile_seconds(function: Callable, arguments: tuple) -> float:
    start = time.perf_counter()
    jax.jit(lambda *z: function(*z)).lower(*arguments).compile()
    return time.perf_counter() - start


def row(name: str, dtype: type, size: int, ours: tuple, peer: tuple) -> dict:
    """One comparison; `ours` and `peer` are a function, its arguments, its number of elements."""
    function, arguments, count = ours
    peer_function, peer_arguments, peer_count = peer
    own_ns = 1e9 * fastest(lambda: function(*arguments), NUM_REPEATS) / count
    peer_ns = 1e9 * fastest(lambda: peer_function(*peer_arguments), NUM_REPEATS) / peer_count
    return {
        "comparison": name,
        "type": np.dtype(dtype).name,
        "elements": size,
        "starred": peer_count < size,
        "ours_ns": own_ns,
        "peer_ns": peer_ns,
        "ratio": own_ns / peer_ns,
        "compile_s": compile_seconds(function, arguments),
    }


def timings(dtype: type) -> list[dict]:
    rows = []
    for size in (NUM_CALL, NUM_ELEMENTS):
        host = operands(size, dtype)
        device = tuple(jnp.asarray(z) for z in host)
        few = min(size, NUM_SLOW)
        slow_peer = (jax.jit(jax.scipy.special.betainc), tuple(z[:few] for z in device), few)
        values = (betainc, device, size)
        slopes = (jax.jit(value_and_partials), device, size)
        inverse = (betaincinv, device, size)
        forward_peer = (scipy.special.betainc, host, size)
        inverse_peer = (scipy.special.betaincinv, tuple(z[:few] for z in host), few)
        rows += [
            row("value / scipy value", dtype, size, values, forward_peer),
            row("value and 3 partials / scipy value", dtype, size, slopes, forward_peer),
            row("value / jax.scipy value", dtype, size, values, slow_peer),
            row("inverse / scipy inverse", dtype, size, inverse, inverse_peer),
        ]
    return rows


def differences(dtype: type) -> dict:
    """Largest distance to SciPy in double precision, at the operands as rounded to `dtype`."""
    points = operands(NUM_CALL, dtype)
    exact = scipy.special.betainc(*(z.astype(np.float64) for z in points))
    device = tuple(jnp.asarray(z) for z in points)
    return {
        "type": np.dtype(dtype).name,
        "ours": float(np.max(np.abs(betainc(*device) - exact))),
        "scipy": float(np.max(np.abs(scipy.special.betainc(*points) - exact))),
        "jax.scipy": float(np.max(np.abs(jax.scipy.special.betainc(*device) - exact))),
    }


def report(results: dict) -> str:
    """The results as Markdown."""
    told = ", ".join(f"{name} {value}" for name, value in results["versions"].items())
    head = ["ours / peer", "type", "elements", "ours, ns", "peer, ns", "ratio", "compile, s"]
    timed = [
        [
            entry["comparison"] + (" *" if entry["starred"] else ""),
            entry["type"],
            entry["elements"],
            *(f"{entry[name]:.1f}" for name in ("ours_ns", "peer_ns")),
            f"{entry['ratio']:.3f}",
            f"{entry['compile_s']:.2f}",
        ]
        for entry in results["timings"]
    ]
    names = ("ours", "scipy", "jax.scipy")
    errors = [
        [entry["type"], *(f"{entry[name]:.1e}" for name in names)]
        for entry in results["differences"]
    ]
    return "\n".join(
        [
            "# Incomplete beta function",
            "",
            f"{told}. Nanoseconds per element, fastest of {NUM_REPEATS}; a ratio below 1 means "
            "that ours is faster. SciPy runs on one core. In rows marked * the peer was timed on "
            f"{NUM_SLOW} elements.",
            "",
            table(head, timed),
            "",
            f"Largest absolute difference from SciPy in double precision, {NUM_CALL} elements:",
            "",
            table(("type", *names), errors),
        ]
    )


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    types = (np.float64, np.float32)
    results = {
        "versions": versions(),
        "timings": [entry for dtype in types for entry in timings(dtype)],
        "differences": [differences(dtype) for dtype in types],
    }
    write("beta", results, report(results))


if __name__ == "__main__":
    main()

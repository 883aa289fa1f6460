"""How fast are beliefs, decisions and plans, beside plain NumPy and plain NumPyro?

python -m benchmarks.decisions
"""

import time
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC, NUTS

from benchmarks.common import prepare_jax, table, taking_turns, versions, write
from jaxcascade.decisions import (
    Evidence,
    TemperedPool,
    belief,
    cost_matrix,
    decide,
    expectimax,
    first_question,
    pooled,
    screening_tests,
    sequential_plan,
)
from jaxcascade.posterior import Laplace

COSTS = cost_matrix(
    {"reject": {"unfit": 0, "fit": 40_000}, "interview": {"unfit": 2_500, "fit": 0}}
)
NUM_ITEMS, NUM_RATERS = 1_000_000, 11
NUM_PLANS, NUM_SOURCES = 100_000, 6
_FEW_PLANS = 50


@jax.jit
def decided(log_likelihood):
    """Pools by the median log-ratio and acts; the first state's is 0 throughout."""
    log_prior = jnp.log(jnp.array([0.8, 0.2], log_likelihood.dtype))
    return decide(COSTS, belief(log_prior, pooled(log_likelihood)))


def decided_by_numpy(log_likelihood):
    """The same in NumPy."""
    ratio = np.median(log_likelihood[..., 1] - log_likelihood[..., 0], axis=1)
    p = 1.0 / (1.0 + np.exp(-(ratio + np.log(0.25))))
    usd = np.stack([p * 40_000, (1 - p) * 2_500], axis=1)
    return usd.argmin(axis=1), usd.min(axis=1)


def planned_by_python(prior: float, p_yes: np.ndarray, price: np.ndarray) -> float:
    """The exact plan of one item by plain recursion, remembering outcomes."""
    usd = np.asarray(COSTS.usd)

    @cache
    def value(answers: tuple[int, ...]) -> float:
        joint = np.array([1.0 - prior, prior])
        for source, answer in enumerate(answers):
            if answer:
                joint = joint * (p_yes[source] if answer == 2 else 1.0 - p_yes[source])
        least = (usd @ joint).min()
        for source, answer in enumerate(answers):
            if not answer:
                after = [(*answers[:source], a, *answers[source + 1 :]) for a in (1, 2)]
                least = min(least, price[source] * joint.sum() + sum(map(value, after)))
        return least

    return value((0,) * len(price))


def _pool_rows() -> list[list[str]]:
    key = jax.random.key(0)
    said = jax.random.normal(key, (NUM_ITEMS, NUM_RATERS, 2))
    single, plain = said.astype(jnp.float32), np.asarray(said)
    seconds = taking_turns(
        {
            "double": lambda: decided(said),
            "single": lambda: decided(single),
            "NumPy": lambda: decided_by_numpy(plain),
        }
    )
    np.testing.assert_array_equal(decided(said).action, decided_by_numpy(plain)[0])
    name = "a million items, eleven raters: median, belief, action"
    return [
        [name, "double precision", f"{seconds['double']:.2f}", _ratio(seconds, "NumPy", "double")],
        [name, "single precision", f"{seconds['single']:.2f}", _ratio(seconds, "NumPy", "single")],
        [name, "NumPy, double", f"{seconds['NumPy']:.2f}", "1"],
    ]


def _ratio(seconds: dict, peer: str, mine: str) -> str:
    return f"{seconds[peer] / seconds[mine]:.1f}"


def _plan_rows() -> list[list[str]]:
    rng = np.random.default_rng(0)
    prior = rng.uniform(0.01, 0.9, NUM_PLANS)
    right = rng.uniform(0.6, 0.95, (2, NUM_SOURCES))
    price = 10.0 ** rng.uniform(-1, 2, NUM_SOURCES)
    sources = screening_tests(right[0], right[1], price)
    p_yes = np.stack([1.0 - right[1], right[0]], axis=1)
    both = jnp.stack([1.0 - prior, prior], axis=-1)
    plan = sequential_plan(both, COSTS, sources)
    alone = [planned_by_python(p, p_yes, price) for p in prior[:_FEW_PLANS]]
    np.testing.assert_allclose(plan.expected_usd[:_FEW_PLANS], alone, rtol=1e-9)
    seconds = taking_turns(
        {
            "plan": lambda: sequential_plan(both, COSTS, sources),
            "first": lambda: first_question(both, COSTS, sources),
            "two": lambda: expectimax(both, COSTS, sources, depth=2),
            "Python": lambda: [planned_by_python(p, p_yes, price) for p in prior[:_FEW_PLANS]],
        },
        rounds=3,
    )
    seconds["Python"] *= NUM_PLANS / _FEW_PLANS
    name = f"{NUM_PLANS:,} items, {NUM_SOURCES} sources: "
    return [
        [name + told, ways, f"{seconds[at]:.2f}", _ratio(seconds, "Python", at)]
        for told, ways, at in (
            ("exact plan after every outcome", "jaxcascade", "plan"),
            ("exact, first question only", "jaxcascade", "first"),
            ("two questions ahead", "jaxcascade", "two"),
            ("exact plan", f"plain recursion (of {_FEW_PLANS} items)", "Python"),
        )
    ]


def _plain_model(ratio, truth):
    """`TemperedPool` as a user would write it."""
    m = ratio.shape[1]
    strength = numpyro.sample("strength", dist.LogNormal(jnp.log(0.8), 0.5))
    offset = numpyro.sample("offset", dist.Normal(0.0, 1.0))
    evenness = numpyro.sample("evenness", dist.Gamma(1.0, 1.0))
    weight = numpyro.sample("weight", dist.Dirichlet((0.5 + evenness) * jnp.ones(m)))
    scale = numpyro.sample("departure_scale", dist.HalfNormal(0.1))
    unit = numpyro.sample("unit_departure", dist.Normal(0.0, 1.0).expand([m]).to_event(1))
    logits = offset + ratio @ (strength * weight + scale * unit)
    numpyro.sample("truth", dist.Bernoulli(logits=logits), obs=truth)


def _fit_rows(size: int) -> list[list[str]]:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, size)
    shared = rng.normal(size=(size, 1))
    ratio = (2 * truth - 1)[:, None] + shared + rng.normal(size=(size, NUM_RATERS))
    said = jnp.stack([jnp.zeros(ratio.shape), jnp.asarray(ratio)], axis=-1)
    names = tuple(f"m{j}" for j in range(NUM_RATERS))
    evidence = Evidence(said, jnp.ones(ratio.shape, bool), names, ("no", "yes"), tuple(range(size)))
    model, key = TemperedPool(), jax.random.key(0)
    sampler = MCMC(
        NUTS(_plain_model), num_warmup=500, num_samples=1000, num_chains=1, progress_bar=False
    )

    def by_numpyro():
        sampler.run(key, jnp.asarray(ratio), jnp.asarray(truth))
        return sampler.get_samples()["strength"]

    def by_laplace():
        found = model.fit(key, evidence, truth, method=Laplace(num_draws=1000))
        return found.sites["strength"]

    cold = {}
    for name, call in (("Laplace", by_laplace), ("NumPyro", by_numpyro)):
        start = time.perf_counter()
        jax.block_until_ready(call())
        cold[name] = time.perf_counter() - start
    seconds = taking_turns({"Laplace": by_laplace, "NumPyro": by_numpyro}, rounds=3)
    apart = abs(float(by_laplace().mean()) - float(by_numpyro().mean()))
    name = f"tempered pool, eleven raters, {size} labels, 1,000 draws"
    told = f"means of strength {apart / float(by_numpyro().std()):.2f} standard deviations apart"
    return [
        [
            f"{name} ({told})",
            "Laplace and Metropolis",
            f"{seconds['Laplace']:.2f} (first {cold['Laplace']:.1f})",
            _ratio(seconds, "NumPyro", "Laplace"),
        ],
        [
            name,
            "the same model in plain NumPyro, NUTS, one chain",
            f"{seconds['NumPyro']:.2f} (first {cold['NumPyro']:.1f})",
            "1",
        ],
    ]


def main() -> None:
    prepare_jax()
    rows = [*_pool_rows(), *_plan_rows(), *_fit_rows(50), *_fit_rows(1000)]
    header = ["what", "by", "seconds, warm", "times faster than the last of its kind"]
    write(
        "decisions",
        {"versions": versions(), "rows": rows},
        "\n".join(
            [
                "# Speed of beliefs, decisions and plans\n",
                f"On {versions()['cores']} cores; the fastest of several rounds.\n",
                table(header, rows),
            ]
        ),
    )


if __name__ == "__main__":
    main()

"""Do Laplace and variational inference agree with NUTS, and what does a draw cost?

    python -m benchmarks.agreement

NUTS samples four chains of 500 draws. Differences of means are in its posterior standard
deviations; ratios are of standard deviations. Decisions are those of `frontier_draws` at five
prices: the median and both ends of the 90 % interval of the least loss, in NUTS' standard
deviations of that loss, and the share of draws whose best policy uses each model.

The peer of NUTS is the same model of labels and confidences as a user would write it in NumPyro:
its own Beta and mixture, default settings, chains vectorised. Both run without the dependence of
pairs, which is drawn after.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float
from numpyro.diagnostics import effective_sample_size
from numpyro.infer import MCMC, NUTS

from benchmarks.common import LLAMA, load, prepare_jax, table, versions, write
from jaxcascade.calibration import LogisticCalibration
from jaxcascade.cascade import Prices, in_cost_order, observations
from jaxcascade.posterior import (
    Evidence,
    Laplace,
    Method,
    Nuts,
    Posterior,
    Priors,
    Variational,
    frontier_draws,
    infer_evidence,
    look,
)
from jaxcascade.tuning import price_grid

DATA = (("mmlu_train", 0), ("mmlu_train", 30), ("gsm8k_train", 0))
METHODS: dict[str, Method] = {"Laplace": Laplace(), "Variational": Variational()}
_PARAMETERS = ("intercept", "slope", "atoms", "weight", "low_center", "gap", "concentration")
_PAIRS = ("tau", "history")
_NUM_CHAINS, _NUM_DRAWS = 4, 500


def plain(evidence: Evidence, priors: Priors) -> None:
    """The margins as a user would write them."""
    k = evidence.signal.shape[1]
    mean = numpyro.sample("intercept_mean", dist.Normal(0.0, priors.intercept_scale))
    spread = numpyro.sample(
        "intercept_spread", dist.LogNormal(jnp.log(priors.intercept_spread), priors.spread_scale)
    )
    steep = numpyro.sample("slope_mean", dist.Normal(priors.slope_center, priors.slope_scale))
    steep_spread = numpyro.sample(
        "slope_spread", dist.LogNormal(jnp.log(priors.slope_spread), priors.spread_scale)
    )
    with numpyro.plate("model", k):
        intercept = numpyro.sample("intercept", dist.Normal(mean, spread))
        slope = jax.nn.softplus(numpyro.sample("steepness", dist.Normal(steep, steep_spread)))
        numpyro.deterministic("slope", slope)
        atoms = numpyro.sample("atoms", dist.Dirichlet(jnp.array(priors.atom_strength)))
        weight = numpyro.sample("weight", dist.Beta(2.0, 2.0))
        low = numpyro.sample("low_center", dist.Normal(-1.0, priors.center_scale))
        gap = numpyro.sample("gap", dist.HalfNormal(priors.gap_scale))
        law = dist.LogNormal(jnp.log(priors.concentration_center), priors.concentration_scale)
        size = numpyro.sample("concentration", law.expand([2]).to_event(1))
        center = jax.nn.sigmoid(jnp.stack([low, low + gap], axis=-1))
        between = dist.MixtureSameFamily(
            dist.Categorical(probs=jnp.stack([weight, 1.0 - weight], axis=-1)),
            dist.Beta(size * center, size * (1.0 - center)),
        )
        with numpyro.plate("query", evidence.signal.shape[0], dim=-2):
            chance = dist.Bernoulli(logits=intercept + slope * evidence.signal)
            numpyro.sample("correct", chance, obs=evidence.correct)
            ends: Any = dist.Categorical(probs=atoms)
            numpyro.sample("end", ends, obs=evidence.end)
            numpyro.sample("place", between.mask(evidence.inside), obs=evidence.place)


def effective(sites: dict[str, Array]) -> float:
    """The fewest effective draws of any parameter of the margins."""
    found = [
        effective_sample_size(
            np.asarray(sites[name]).reshape(_NUM_CHAINS, -1, *sites[name].shape[1:])
        )
        for name in _PARAMETERS
    ]
    return float(min(np.nanmin(values) for values in found))


def timed(call: Callable[[], dict[str, Array]]) -> tuple[dict[str, Array], float, float]:
    """Draws, and seconds of a first call and of a second."""
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        sites = jax.block_until_ready(call())
        seconds.append(time.perf_counter() - began)
    return sites, seconds[0], seconds[1]


def by_nuts(evidence: Evidence) -> Callable[[], dict[str, Array]]:
    """A call of ours, the start included."""
    method = Nuts(num_chains=_NUM_CHAINS, num_draws=_NUM_DRAWS)
    return lambda: method.draw_margins(jax.random.key(0), evidence, Priors(), lambda _: None).sites


def plainly(evidence: Evidence) -> Callable[[], dict[str, Array]]:
    """A call of the peer; the second one does not compile again."""
    sampler = MCMC(
        NUTS(plain),
        num_warmup=_NUM_DRAWS,
        num_samples=_NUM_DRAWS,
        num_chains=_NUM_CHAINS,
        chain_method="vectorized",
        progress_bar=False,
    )

    def call() -> dict[str, Array]:
        sampler.run(jax.random.key(0), evidence, Priors())
        return dict(sampler.get_samples())

    return call


def compare(ours: Posterior, nuts: Posterior) -> dict[str, tuple[float, float]]:
    """Largest difference of means, and the ratio of standard deviations furthest from one."""
    found = {}
    for name in (*_PARAMETERS, *_PAIRS):
        one, other = (np.asarray(p.sites[name]) for p in (ours, nuts))
        spread = other.std(axis=0)
        shift = np.abs(one.mean(axis=0) - other.mean(axis=0)) / spread
        ratio = (one.std(axis=0) / spread).ravel()
        found[name] = (float(shift.max()), float(ratio[np.argmax(np.abs(np.log(ratio)))]))
    return found


def decide(posterior: Posterior, prices: Prices) -> tuple[Float[Array, "d p"], Float[Array, "p k"]]:
    """The least loss under every draw, and the share of draws that use each model."""
    draws = frontier_draws(posterior, prices)
    return draws.loss, jnp.mean(draws.outcome.answered_by > 0, axis=0)


def main() -> None:
    prepare_jax()
    began = time.perf_counter()
    pages = ["# Agreement of methods", *(__doc__ or "").splitlines()[1:], ""]
    content: dict = {"versions": versions(), "figures": []}
    for name, count in DATA:
        records = in_cost_order(load(name, LLAMA))
        data = observations(records)
        rows = np.random.default_rng(0).permutation(records.num_queries)[: count or None]
        data = jax.tree.map(lambda cells, rows=rows: cells[rows], data)
        frame, evidence = look(data, jnp.ones(len(rows)), records.models, LogisticCalibration())
        cost, error = np.nanmean(records.cost_usd, axis=0), 1 - np.nanmean(records.correct, axis=0)
        prices = Prices(price_grid(cost, error, 5))
        posteriors: dict[str, Posterior] = {}
        seconds = {}
        for method_name, method in {"NUTS": Nuts(), **METHODS}.items():
            for turn in ("cold", "warm"):
                start = time.perf_counter()
                found = infer_evidence(jax.random.key(0), frame, evidence, method=method)
                jax.block_until_ready(found.sites)
                seconds[method_name, turn] = time.perf_counter() - start
            posteriors[method_name] = found
        nuts = posteriors["NUTS"]
        loss, used = decide(nuts, prices)
        rows_, label = [], f"{name}, {len(rows)} queries"
        for method_name in METHODS:
            told = compare(posteriors[method_name], nuts)
            other, other_used = decide(posteriors[method_name], prices)
            levels = jnp.array([0.05, 0.5, 0.95])
            ends = (jnp.quantile(x, levels, axis=0) for x in (loss, other))
            apart = jnp.abs(jnp.subtract(*ends)) / loss.std(axis=0)
            share = float(jnp.max(jnp.abs(used - other_used)))
            decisions = (float(apart.max()), share)
            content["figures"].append(
                {"data": label, "method": method_name, "sites": told, "decisions": decisions}
            )
            rows_.append(
                (
                    method_name,
                    *(f"{shift:.2f}, {ratio:.2f}" for shift, ratio in told.values()),
                    f"{decisions[0]:.2f}",
                    f"{100 * share:.0f} %",
                )
            )
        times = ", ".join(
            f"{method_name} {seconds[method_name, 'cold']:.1f} / {seconds[method_name, 'warm']:.1f}"
            for method_name in posteriors
        )
        content["figures"].append(
            {"data": label, "seconds": {" ".join(key): value for key, value in seconds.items()}}
        )
        divergent = float(np.mean(np.asarray(nuts.diagnostics["diverging"])))
        pages += [f"## {label}", "", "Largest shift of a mean, ratio of deviations:", ""]
        pages += [table(("method", *_PARAMETERS, *_PAIRS, "loss", "models used"), rows_), ""]
        pages += [f"Seconds cold / warm: {times}. Divergent draws of NUTS: {divergent:.1%}.", ""]
        if count == 0 and name == "mmlu_train":
            own, peer = timed(by_nuts(evidence)), timed(plainly(evidence))
            lines = [
                (
                    who,
                    f"{cold:.1f}",
                    f"{warm:.1f}",
                    f"{effective(sites):.0f}",
                    f"{effective(sites) / warm:.1f}",
                    f"{effective(sites) / cold:.1f}",
                )
                for who, (sites, cold, warm) in (("ours", own), ("plain NumPyro", peer))
            ]
            header = ("margins by NUTS", "cold s", "warm s", "fewest effective", "a second, warm")
            pages += [table((*header, "a second, cold"), lines), ""]
            content["peer"] = [dict(zip((*header, "cold"), line, strict=True)) for line in lines]
    pages.append(f"{time.perf_counter() - began:.0f} s.")
    write("agreement", content, "\n".join(pages))


if __name__ == "__main__":
    main()

"""Draws of each part of the joint model, and values to climb from."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxcascade.copulas import Copula
from jaxcascade.posterior.density import Density, density_of
from jaxcascade.posterior.dependence import draw_history, draw_tau
from jaxcascade.posterior.evidence import Evidence
from jaxcascade.posterior.laplace import DEGREES, Mode, find_mode, pareto_k, sample
from jaxcascade.posterior.model import (
    Sites,
    calibration_model,
    confidence_model,
    joint_model,
)
from jaxcascade.posterior.priors import Priors


class Drawn(NamedTuple):
    """Draws of the margins, or of the whole joint model.

    Attributes:
        sites: Values by name, one row per draw.
        diagnostics: By name.
    """

    sites: Sites
    diagnostics: dict[str, Array]


@eqx.filter_jit
def laplace_margins(key: PRNGKeyArray, evidence: Evidence, priors: Priors, num_draws: int) -> Drawn:
    """Draws of `margins_model`: the calibrators together, each law of confidence on its own."""
    labels, laws = jax.random.split(key)
    k = evidence.signal.shape[1]
    start = starting_sites(evidence, priors)
    calibration = density_of(calibration_model, (evidence, priors))
    confidence = density_of(confidence_model, (evidence, priors), k)
    at_labels = find_mode(calibration, calibration.pack(start))
    at_laws = _best_start(confidence, start)
    of_labels = sample(labels, calibration, at_labels.guide, num_draws)
    # Climbing needs a smooth hill; walking, the two components' coming together close by.
    mirrored = density_of(confidence_model, (evidence, priors), k, folded=("gap",))
    guide = at_laws.guide.carried(lambda vector: mirrored.pack(confidence.constrain(vector)))
    of_laws = sample(laws, mirrored, guide, num_draws)
    weights = jnp.column_stack([of_laws.log_weight, of_labels.log_weight])
    sites = jax.vmap(calibration.constrain)(of_labels.vectors)
    sites = sites | jax.vmap(mirrored.constrain)(of_laws.vectors)
    return Drawn(
        sites,
        {
            "pareto_k": jax.vmap(pareto_k, in_axes=1)(weights),
            "gradient_norm": jnp.append(at_laws.gradient_norm, at_labels.gradient_norm),
        },
    )


@eqx.filter_jit
def laplace_draws(
    key: PRNGKeyArray, model: Callable, arguments: tuple, start: Sites, num_draws: int
) -> Drawn:
    """Draws of any model, in one block.

    Args:
        key: Draws.
        model: In NumPyro, with supports that depend on no parameter.
        arguments: Of the model.
        start: Values to climb from.
        num_draws: Draws to return.
    """
    density = density_of(model, arguments)
    vector = density.pack(start)
    mode = find_mode(density, vector)
    drawn = sample(key, density, mode.guide, num_draws, max(DEGREES, vector.size))
    told = {"pareto_k": pareto_k(drawn.log_weight)[None], "gradient_norm": mode.gradient_norm[None]}
    return Drawn(jax.vmap(density.constrain)(drawn.vectors), told)


@eqx.filter_jit
def laplace_joint(key: PRNGKeyArray, arguments: tuple, num_draws: int) -> Drawn:
    """Draws of `joint_model` from the normal law around its mode: no weights in so many axes."""
    evidence, priors, *_ = arguments
    density = density_of(joint_model, arguments)
    start = starting_sites(evidence, priors) | pair_start(arguments)
    mode = find_mode(density, density.pack(start))
    root = jnp.linalg.cholesky(jnp.linalg.inv(mode.precision))
    vectors = mode.vector + jax.random.normal(key, (num_draws, mode.vector.size)) @ root.T
    return Drawn(jax.vmap(density.constrain)(vectors), {"gradient_norm": mode.gradient_norm[None]})


@eqx.filter_jit
def draw_pairs(
    key: PRNGKeyArray,
    evidence: Evidence,
    sites: Sites,
    priors: Priors,
    copula: type[Copula],
    pairs: tuple[tuple[int, int], ...],
) -> Sites:
    """Draws what belongs to pairs, given draws of the margins."""
    of_tau, of_history = jax.random.split(key)
    return {
        "tau": draw_tau(of_tau, evidence, sites, copula, priors, pairs),
        "history": draw_history(of_history, evidence, sites, priors, pairs),
    }


@eqx.filter_jit
def draw_calls(key: PRNGKeyArray, evidence: Evidence, num_draws: int) -> Sites:
    """Draws each model's mean cost and latency by the Bayesian bootstrap (Rubin, 1981).

    The same weights of the queries serve all models: a long query is dear to each of them.
    """
    share = jax.random.exponential(key, (num_draws, evidence.asked.shape[0]))

    def mean(values: Float[Array, "n k"]) -> Float[Array, "d k"]:
        known = ~jnp.isnan(values)
        known = jnp.where(known, evidence.asked, 0.0)
        return (share @ (jnp.nan_to_num(values) * known)) / (share @ known)

    return {"cost_usd": mean(evidence.cost_usd), "latency_s": mean(evidence.latency_s)}


def starting_sites(evidence: Evidence, priors: Priors) -> Sites:
    """Values that are possible whatever the data, to climb from."""
    k = evidence.signal.shape[1]
    ones = jnp.ones(k)
    atoms = jnp.array(priors.atom_strength)
    return {
        "intercept_mean": jnp.zeros(()),
        "intercept_spread": jnp.asarray(priors.intercept_spread),
        "slope_mean": jnp.asarray(priors.slope_center),
        "slope_spread": jnp.asarray(priors.slope_spread),
        "intercept": 0.0 * ones,
        "steepness": priors.slope_center * ones,
        "atoms": atoms / atoms.sum() * ones[:, None],
        **_law_start(0, k),
    }


# Lower component's weight and log-odds, gap, concentrations: two humps, a peak at the top, a peak
# in the midst of everything. On 44 recorded columns one of them leads to the best mode known.
_LAW_STARTS = (
    (0.5, -2.0, 3.0, 6.0, 6.0),
    (0.5, -1.0, 1.5, 3.0, 40.0),
    (0.7, -0.5, 0.5, 2.0, 100.0),
)


def _law_start(number: int, k: int) -> Sites:
    weight, low_center, gap, *concentration = _LAW_STARTS[number]
    ones = jnp.ones(k)
    return {
        "weight": weight * ones,
        "low_center": low_center * ones,
        "gap": gap * ones,
        "concentration": jnp.array(concentration) * ones[:, None],
    }


def _best_start(density: Density, start: Sites) -> Mode:
    """Climbs from each start and keeps the highest mode of every block."""
    k = start["weight"].shape[0]
    starts = jnp.stack(
        [density.pack(start | _law_start(number, k)) for number in range(len(_LAW_STARTS))]
    )
    # One after the other: compiling the climb of several at once takes twice as long.
    modes = jax.lax.map(lambda vector: find_mode(density, vector), starts)
    best = jnp.argmax(jnp.where(jnp.isnan(modes.value), -jnp.inf, modes.value), axis=0)
    return jax.tree.map(lambda leaf: leaf[best, jnp.arange(k)], modes)


def pair_start(arguments: tuple) -> Sites:
    """Values of what belongs to pairs, where the arguments are those of a joint model."""
    if len(arguments) < 4:
        return {}
    ones = jnp.ones(len(arguments[3]))
    return {"tau_share": 0.4 * ones, "history": 0.0 * ones}

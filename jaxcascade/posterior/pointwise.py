"""Log-likelihood of each cell under each draw, for leave-one-out cross-validation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcascade.copulas import CensoredPairs, censored_log_prob
from jaxcascade.posterior.model import Sites, atom_log_masses, levels, mixture
from jaxcascade.posterior.posterior import Posterior
from jaxcascade.posterior.predictive import answer_log_odds

_BATCH = 20


@eqx.filter_jit
def log_likelihoods(posterior: Posterior) -> dict[str, Float[Array, "d n c"]]:
    """Log-likelihood of every cell under every draw; meaningless where there is no cell.

    Returns:
        `correct` and `confidence` of each model, `dependence` of each pair.
    """
    evidence = posterior.evidence
    first, second = np.array(posterior.pairs).T

    def one(sites: Sites) -> dict[str, Array]:
        chance = answer_log_odds(posterior, sites)
        law = mixture(*(sites[name] for name in ("weight", "low_center", "gap", "concentration")))
        density = jax.vmap(lambda law, z: law.log_prob(z), (0, 1), 1)(law, evidence.place)
        low, middle, high = jnp.log(jnp.moveaxis(sites["atoms"], -1, 0))
        atom = jnp.where(evidence.end == 0, low, high)
        u_left, u = levels(evidence, sites)
        counted = atom_log_masses(u_left, u)

        def pair(at: tuple[Array, Array, Array]) -> Array:
            i, j, tau = at
            weight = jnp.ones_like(u[:, i])
            data = CensoredPairs(u_left[:, i], u[:, i], u_left[:, j], u[:, j], weight)
            log_prob = censored_log_prob(posterior.family.from_tau(tau), data)
            return log_prob - counted[:, i] - counted[:, j]

        pairs = (jnp.asarray(first), jnp.asarray(second), sites["tau"])
        return {
            "correct": evidence.correct * chance - jax.nn.softplus(chance),
            "confidence": jnp.where(evidence.inside, middle + density, atom),
            "dependence": jax.lax.map(pair, pairs).T,
        }

    return jax.lax.map(one, posterior.sites, batch_size=_BATCH)

"""Optimal stopping over a pool: the best of all policies, if confidences are a Markov chain."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxcascade.cascade import ABSTAIN, ACCEPT, MarkovChain, PolicyArrays, Prices


class StoppingSolution(NamedTuple):
    """The best policy for each price and what it is expected to lose.

    Attributes:
        policies: One per price; breakpoints are the inner edges of the chain's cells.
        loss: Expected loss in dollars per query.
    """

    policies: PolicyArrays
    loss: Float[Array, " p"]


@eqx.filter_jit
def optimal_stopping(
    chain: MarkovChain, cost_usd: Float[Array, " k"], latency_s: Float[Array, " k"], prices: Prices
) -> StoppingSolution:
    """Finds, by backward induction, whom to ask first and what to do with every answer.

    With V_j(phi) the least expected further loss once model j has said phi,

        V_j(phi) = min(price_error (1 - phi), price_abstention,
                       min over later l of cost_l + E[V_l(Phi_l) | Phi_j = phi]),

    and the first model minimises cost_j + E[V_j]. All prices share each matrix product.

    Args:
        chain: Joint model on a grid; a model may pass on to later ones only.
        cost_usd: Mean dollars per call.
        latency_s: Mean seconds per call; read only where seconds have a price.
        prices: One-dimensional, all of one length `p`.
    """
    k, m = chain.confidence.shape
    error, latency, abstention = jnp.broadcast_arrays(*(jnp.atleast_1d(p) for p in prices))
    seconds = jnp.where(latency > 0, latency_s[:, None] * latency, 0.0)
    asking = cost_usd[:, None] + seconds
    stop = error * (1.0 - chain.confidence[..., None])

    def induct(value: Array, j: Array) -> tuple[Array, Array]:
        ahead = jnp.einsum("lgh,lhp->lgp", chain.kernel[j], value) + asking[:, None, :]
        later = jnp.arange(k)[:, None, None] > j
        ahead = jnp.where(later, ahead, jnp.inf)
        options = jnp.concatenate(
            [stop[j][None], jnp.broadcast_to(abstention, (1, m, error.size)), ahead]
        )
        choice = jnp.argmin(options, axis=0)
        return value.at[j].set(jnp.min(options, axis=0)), _action(choice)

    backwards = jnp.arange(k)[::-1]
    value, actions = jax.lax.scan(induct, jnp.zeros((k, m, error.size)), backwards)
    total = asking + jnp.einsum("jg,jgp->jp", chain.mass, value)
    breakpoints = jnp.broadcast_to(chain.edges[:, 1:-1], (error.size, k, m - 1))
    policies = PolicyArrays(
        jnp.argmin(total, axis=0), breakpoints, jnp.moveaxis(actions[::-1], 2, 0)
    )
    return StoppingSolution(policies, jnp.min(total, axis=0))


def _action(choice: Int[Array, "m p"]) -> Int[Array, "m p"]:
    return jnp.where(choice == 0, ACCEPT, jnp.where(choice == 1, ABSTAIN, choice - 2))

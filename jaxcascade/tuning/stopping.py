"""Optimal stopping over a pool: the best of all policies, if confidences are a Markov chain."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

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

    and the first model minimises cost_j + E[V_j]. All prices share each matrix product. The loss
    is that of the grid's chain; `stopping_bounds` bounds that of the continuous one.

    Args:
        chain: Joint model on a grid; a model may pass on to later ones only.
        cost_usd: Mean dollars per call.
        latency_s: Mean seconds per call; read only where seconds have a price.
        prices: One-dimensional, all of one length `p`.
    """
    k, m = chain.confidence.shape
    asking, error, abstention = call_prices(cost_usd, latency_s, prices)
    stop = error * (1.0 - chain.confidence[..., None])
    value = jnp.minimum(stop, abstention)
    actions = jnp.where(stop <= abstention, ACCEPT, ABSTAIN)

    def weigh(
        best: tuple[Array, Array], pair: tuple[Array, Array, Array]
    ) -> tuple[tuple[Array, Array], None]:
        """Compares asking model `later` after model j with the best that is known."""
        (value, actions), (j, later, kernel) = best, pair
        ahead = asking[later] + kernel @ value[later]
        # The first of equally good successors wins, and stopping before all.
        tied = (ahead == value[j]) & (actions[j] >= 0)
        better = (ahead < value[j]) | tied
        value = value.at[j].set(jnp.where(better, ahead, value[j]))
        return (value, actions.at[j].set(jnp.where(better, later, actions[j]))), None

    # From the last pair, so that what is known of a later model is final when it is used.
    pairs = (*chain.pair_models, chain.pair_kernel)
    (value, actions), _ = jax.lax.scan(weigh, (value, actions), pairs, reverse=True)
    total = asking + jnp.einsum("jg,jgp->jp", chain.mass, value)
    breakpoints = jnp.broadcast_to(chain.edges[:, 1:-1], (error.size, k, m - 1))
    policies = PolicyArrays(jnp.argmin(total, axis=0), breakpoints, jnp.moveaxis(actions, 2, 0))
    return StoppingSolution(policies, jnp.min(total, axis=0))


def call_prices(
    cost_usd: Float[Array, " k"], latency_s: Float[Array, " k"], prices: Prices
) -> tuple[Float[Array, "k p"], Float[Array, " p"], Float[Array, " p"]]:
    """Returns dollars per call, latency priced in, and the prices of errors and abstentions."""
    error, latency, abstention = jnp.broadcast_arrays(*(jnp.atleast_1d(p) for p in prices))
    seconds = jnp.where(latency > 0, latency_s[:, None] * latency, 0.0)
    return cost_usd[:, None] + seconds, error, abstention

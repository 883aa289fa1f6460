"""The joint model as a Markov chain on a grid: what optimal stopping needs, and its oracle."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcascade.cascade.model import CascadeModel
from jaxcascade.cascade.outcome import Outcome
from jaxcascade.cascade.policy import ABSTAIN, ACCEPT, PolicyArrays
from jaxcascade.copulas import Copula
from jaxcascade.marginals import Marginal

_ATOM_MARGIN = 1e-9
_FINE_MESH = 512
_BATCH = 64


class MarkovChain(eqx.Module):
    """Each model's confidence on `m` cells, and the law of one given the cell of another.

    The first and last cells hold the atoms alone; those between have about equal mass.

    Attributes:
        edges: Cell g of model j holds confidences in (edges[j, g], edges[j, g + 1]]; the outer
            edges are infinite, so that no confidence lies outside.
        levels: Distribution function at the edges, from 0 to 1.
        confidence: Mean confidence in each cell.
        lower_conditional: P(model l at most edge h | model j at most edge g) at [j, l, g, h].
        kernel: P(model l in cell h | model j in cell g) at [j, l, g, h].
    """

    edges: Float[Array, "*batch k e"]
    levels: Float[Array, "*batch k e"]
    confidence: Float[Array, "*batch k m"]
    lower_conditional: Float[Array, "*batch k k e e"]
    kernel: Float[Array, "*batch k k m m"]

    @property
    def mass(self) -> Float[Array, "*batch k m"]:
        """Probability of each cell."""
        return jnp.diff(self.levels, axis=-1)


@eqx.filter_jit
def markov_chain(model: CascadeModel, num_cells: int = 128) -> MarkovChain:
    """Puts the joint model on a grid of cells of equal probability.

    Args:
        model: Fitted joint model over `k` models.
        num_cells: Cells per model, atoms included; the error of an expectation falls with its
            square.
    """
    edges, levels, confidence = jax.vmap(lambda law: _cells(law, num_cells))(model.marginal)

    def pair(copula: Copula, u: Float[Array, " e"], v: Float[Array, " e"]) -> tuple[Array, Array]:
        given_below = copula.lower_conditional(u[:, None], v)
        joint = u[:, None] * given_below
        corners = jnp.maximum(jnp.diff(jnp.diff(joint, axis=0), axis=1), 0.0)
        total = corners.sum(axis=1, keepdims=True)
        # A cell without mass is never left: any law will do, and the marginal one is finite.
        return given_below, jnp.where(
            total > 0, corners / jnp.where(total > 0, total, 1.0), jnp.diff(v)
        )

    rows = jax.vmap(pair, in_axes=(0, None, 0))
    given_below, kernel = jax.lax.map(
        lambda row: rows(row[0], row[1], levels), (model.copula, levels)
    )
    return MarkovChain(edges, levels, confidence, given_below, kernel)


@eqx.filter_jit
def grid_edges(model: CascadeModel, num_cells: int = 128) -> Float[Array, "k e"]:
    """Returns the edges of `markov_chain`'s cells, without the rest."""
    return jax.vmap(lambda law: _cells(law, num_cells)[0])(model.marginal)


def _cells(law: Marginal, num_cells: int) -> tuple[Array, Array, Array]:
    """Returns edges, distribution function at them, and mean confidence between them."""
    width = law.high - law.low
    # A fine mesh in the arcsine angle, read backwards, places the quantiles; their levels are
    # then computed exactly, so interpolation moves an edge but falsifies no probability.
    mesh = jnp.sin(0.5 * jnp.pi * jnp.linspace(0.0, 1.0, _FINE_MESH + 1)) ** 2
    inner = jnp.linspace(0.0, 1.0, num_cells - 1)[1:-1]
    # A tilt makes the levels strictly increasing where the density vanishes.
    tilted = (1 - 1e-6) * law.interior.cdf(mesh) + 1e-6 * mesh
    quantiles = jnp.interp(inner, tilted, mesh)
    # Edges beside the atoms keep a little distance, far above rounding, far below meaning.
    places = jnp.concatenate(
        [jnp.array([_ATOM_MARGIN]), quantiles, jnp.array([1.0 - _ATOM_MARGIN])]
    )
    places = jnp.clip(places, _ATOM_MARGIN, 1.0 - _ATOM_MARGIN)
    inside = law.low + width * places
    levels = law.cdf(inside)
    # What the distance leaves out belongs to the atoms' cells.
    ends = jnp.array([jnp.inf])
    edges = jnp.concatenate([-ends, inside, ends])
    levels = jnp.concatenate([jnp.zeros(1), levels, jnp.ones(1)])
    above = jnp.concatenate([law.mean()[None], law.partial_mean(inside), jnp.zeros(1)])
    mass = jnp.diff(levels)
    middle = jnp.concatenate([law.low[None], 0.5 * (inside[1:] + inside[:-1]), law.high[None]])
    mean = -jnp.diff(above) / jnp.where(mass > 1e-12, mass, 1.0)
    return edges, levels, jnp.where(mass > 1e-12, mean, middle)


@eqx.filter_jit
def chain_outcomes(model: CascadeModel, chain: MarkovChain, policies: PolicyArrays) -> Outcome:
    """Predicts policies under the Markov chain, which remembers the last confidence exactly.

    A breakpoint inside a cell splits its mass in proportion to the distribution function; both
    parts keep the cell's mean confidence.

    Args:
        model: Models in the order of the policies' positions.
        chain: See `markov_chain`.
        policies: With one leading axis.
    """

    def one(policy: PolicyArrays) -> Outcome:
        return _chain_outcome(model, chain, policy)

    # In batches: large enough for matrix products, small enough for memory.
    policies = jax.tree.map(jnp.asarray, policies)
    return jax.lax.map(one, policies, batch_size=_BATCH)


def _chain_outcome(model: CascadeModel, chain: MarkovChain, policy: PolicyArrays) -> Outcome:
    k = len(model.models)
    below = jax.vmap(lambda law, x: law.cdf(x))(model.marginal, jnp.asarray(policy.breakpoints))
    share = jax.vmap(_interval_shares)(chain.levels, below)
    following = jax.nn.one_hot(policy.actions, k)
    handed_on = jnp.einsum("jgs,jsl->jlg", share, following)

    def visit(reached: Array, at: Array) -> tuple[Array, None]:
        arriving = jnp.einsum("jg,jgh->h", reached * handed_on[:, at], chain.kernel[:, at])
        return reached.at[at].add(arriving), None

    first = jnp.zeros_like(chain.mass).at[policy.start].set(chain.mass[policy.start])
    reached, _ = jax.lax.scan(visit, first, jnp.arange(k))
    accepted = reached * jnp.einsum("jgs,js->jg", share, policy.actions == ACCEPT)
    abstained = reached * jnp.einsum("jgs,js->jg", share, policy.actions == ABSTAIN)
    asked = reached.sum(axis=1)
    return Outcome(
        error=jnp.sum(accepted * (1.0 - chain.confidence)),
        abstention=abstained.sum(),
        cost_usd=asked @ model.cost_usd,
        latency_s=jnp.sum(jnp.where(asked > 0, asked * model.latency_s, 0.0)),
        answered_by=accepted.sum(axis=1),
    )


def _interval_shares(levels: Float[Array, " e"], below: Float[Array, " b"]) -> Float[Array, "m s"]:
    """Share of each cell's mass that falls in each interval of a rule.

    Args:
        levels: Distribution function at the edges of the cells.
        below: The same at the breakpoints.
    """
    mass = jnp.diff(levels)[:, None]
    share = (below - levels[:-1, None]) / jnp.where(mass > 0, mass, 1.0)
    share = jnp.clip(jnp.where(mass > 0, share, 0.0), 0.0, 1.0)
    ends = jnp.zeros_like(mass), jnp.ones_like(mass)
    return jnp.diff(jnp.concatenate([ends[0], share, ends[1]], axis=1), axis=1)

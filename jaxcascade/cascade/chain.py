"""The joint model as a Markov chain on a grid: what optimal stopping needs, and its oracle."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxcascade.cascade.model import CascadeModel
from jaxcascade.cascade.outcome import Outcome
from jaxcascade.cascade.policy import ABSTAIN, ACCEPT, PolicyArrays
from jaxcascade.copulas import Copula
from jaxcascade.errors import InvalidInputError
from jaxcascade.marginals import Marginal

_ATOM_MARGIN = 1e-9
_FINE_MESH = 512
_BATCH = 64
_MOST_BYTES = 4e9


class MarkovChain(eqx.Module):
    """Each model's confidence on `m` cells, and the law of one given the cell of another.

    The first and last cells hold the atoms alone; those between have about equal mass. A model
    passes on to later ones only, so half of all pairs are kept: 64 models on 128 cells take 264
    megabytes.

    Attributes:
        edges: Cell g of model j holds confidences in (edges[j, g], edges[j, g + 1]]; the outer
            edges are infinite, so that no confidence lies outside.
        levels: Distribution function at the edges, from 0 to 1.
        confidence: Mean confidence in each cell.
        copula: Copula of (model j, model l) at [j, l].
        pair_kernel: P(model l in cell h | model j in cell g) at [pair, g, h].
    """

    edges: Float[Array, "*batch k e"]
    levels: Float[Array, "*batch k e"]
    confidence: Float[Array, "*batch k m"]
    copula: Copula
    pair_kernel: Float[Array, "*batch pairs m m"]

    @property
    def mass(self) -> Float[Array, "*batch k m"]:
        """Probability of each cell."""
        return jnp.diff(self.levels, axis=-1)

    @property
    def pair_models(self) -> Int[Array, "2 pairs"]:
        """Models (j, l) of each pair, j < l, in the order of `pair_kernel`."""
        return jnp.stack(jnp.triu_indices(self.levels.shape[-2], 1))

    @property
    def kernel(self) -> Float[Array, "*batch k k m m"]:
        """The same at [j, l, g, h], zero for j >= l. For looking at: twice the memory."""
        k, m = self.confidence.shape[-2:]
        blank = jnp.zeros((*self.pair_kernel.shape[:-3], k, k, m, m))
        return blank.at[..., *self.pair_models, :, :].set(self.pair_kernel)

    @property
    def lower_conditional(self) -> Float[Array, "k k e e"]:
        """P(model l at most edge h | model j at most edge g) at [j, l, g, h]. For looking at."""
        columns = jax.vmap(
            lambda copula, u, v: copula.lower_conditional(u[:, None], v), (0, None, 0)
        )
        rows = jax.vmap(columns, (0, 0, None))
        return rows(self.copula, self.levels, self.levels)


@eqx.filter_jit
def markov_chain(model: CascadeModel, num_cells: int = 128) -> MarkovChain:
    """Puts the joint model on a grid of cells of equal probability.

    Args:
        model: Fitted joint model over `k` models.
        num_cells: Cells per model, atoms included; the error of an expectation falls with its
            square, memory grows with it.

    Raises:
        InvalidInputError: The pairs would take more than 4 gigabytes.
    """
    k = len(model.models)
    _check_memory(k, num_cells)
    edges, levels, confidence = jax.vmap(lambda law: _cells(law, num_cells))(model.marginal)

    def pair(at: tuple[Array, Array]) -> Float[Array, "m m"]:
        copula: Copula = jax.tree.map(lambda leaf: leaf[at], model.copula)
        u, v = levels[at[0]], levels[at[1]]
        joint = u[:, None] * copula.lower_conditional(u[:, None], v)
        corners = jnp.maximum(jnp.diff(jnp.diff(joint, axis=0), axis=1), 0.0)
        total = corners.sum(axis=1, keepdims=True)
        # A cell without mass is never left: any law will do, and the marginal one is finite.
        return jnp.where(total > 0, corners / jnp.where(total > 0, total, 1.0), jnp.diff(v))

    # Pair by pair: what is needed on the way to one kernel fits the cache.
    kernel = jax.lax.map(pair, jnp.triu_indices(k, 1))
    return MarkovChain(edges, levels, confidence, model.copula, kernel)


def _check_memory(k: int, num_cells: int) -> None:
    num_pairs = k * (k - 1) // 2
    needed = 8 * num_pairs * num_cells**2
    if needed > _MOST_BYTES:
        raise InvalidInputError(
            f"`num_cells` = {num_cells} takes {needed / 1e9:.0f} GB for {num_pairs} pairs of "
            f"{k} models; at most {_MOST_BYTES / 1e9:.0f} GB are used. Ask for at most "
            f"{int((_MOST_BYTES / (8 * num_pairs)) ** 0.5)} cells, or leave models out."
        )


@eqx.filter_jit
def grid_edges(
    model: CascadeModel, num_cells: int = 128, spread: float = 0.0
) -> Float[Array, "k e"]:
    """Returns the edges of `markov_chain`'s cells, without the rest.

    Args:
        model: Fitted joint model over `k` models.
        num_cells: Cells per model.
        spread: Share of the cells that have equal widths, in the arcsine angle of the support,
            rather than equal probabilities. Queries that earlier models passed on can crowd
            where a model has little probability of its own.
    """
    inside = jax.vmap(lambda law: _inner_edges(law, num_cells, spread))(model.marginal)
    ends = jnp.full((inside.shape[0], 1), jnp.inf)
    return jnp.concatenate([-ends, inside, ends], axis=1)


def _inner_edges(law: Marginal, num_cells: int, spread: float = 0.0) -> Float[Array, " e-2"]:
    """Returns the finite edges."""
    # A fine mesh in the arcsine angle, read backwards, places the quantiles; their levels are
    # then computed exactly, so interpolation moves an edge but falsifies no probability.
    fraction = jnp.linspace(0.0, 1.0, _FINE_MESH + 1)
    mesh = jnp.sin(0.5 * jnp.pi * fraction) ** 2
    inner = jnp.linspace(0.0, 1.0, num_cells - 1)[1:-1]
    # A tilt makes the levels strictly increasing where the density vanishes.
    tilted = (1 - 1e-6) * law.interior.cdf(mesh) + 1e-6 * mesh
    tilted = (1.0 - spread) * tilted + spread * fraction
    quantiles = jnp.interp(inner, tilted, mesh)
    # Edges beside the atoms keep a little distance, far above rounding, far below meaning.
    places = jnp.concatenate(
        [jnp.array([_ATOM_MARGIN]), quantiles, jnp.array([1.0 - _ATOM_MARGIN])]
    )
    places = jnp.clip(places, _ATOM_MARGIN, 1.0 - _ATOM_MARGIN)
    return law.low + (law.high - law.low) * places


def _cells(law: Marginal, num_cells: int) -> tuple[Array, Array, Array]:
    """Returns edges, distribution function at them, and mean confidence between them."""
    inside = _inner_edges(law, num_cells)
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
        below = jax.vmap(lambda law, x: law.cdf(x))(model.marginal, policy.breakpoints)
        return _chain_outcome(model.cost_usd, model.latency_s, chain, below, policy)

    # In batches: large enough for matrix products, small enough for memory.
    policies = jax.tree.map(jnp.asarray, policies)
    return jax.lax.map(one, policies, batch_size=_BATCH)


@eqx.filter_jit
def edge_outcomes(
    chain: MarkovChain,
    cost_usd: Float[Array, " k"],
    latency_s: Float[Array, " k"],
    policies: PolicyArrays,
) -> Outcome:
    """The same for policies whose breakpoints are edges of the chain, by looking them up.

    Args:
        chain: See `markov_chain`; a breakpoint between edges counts as the edge below it.
        cost_usd: Mean dollars per call.
        latency_s: Mean seconds per call.
        policies: With one leading axis.
    """

    def one(policy: PolicyArrays) -> Outcome:
        at = jax.vmap(lambda edges, x: jnp.searchsorted(edges, x, side="right"))(
            chain.edges, policy.breakpoints
        )
        below = jnp.take_along_axis(chain.levels, at - 1, axis=1)
        return _chain_outcome(cost_usd, latency_s, chain, below, policy)

    policies = jax.tree.map(jnp.asarray, policies)
    return jax.lax.map(one, policies, batch_size=_BATCH)


def _chain_outcome(
    cost_usd: Float[Array, " k"],
    latency_s: Float[Array, " k"],
    chain: MarkovChain,
    below: Float[Array, "k b"],
    policy: PolicyArrays,
) -> Outcome:
    k = cost_usd.size
    share = jax.vmap(_interval_shares)(chain.levels, below)
    following = jax.nn.one_hot(policy.actions, k)
    handed_on = jnp.einsum("jgs,jsl->jlg", share, following)

    def visit(reached: Array, pair: tuple[Array, Array, Array]) -> tuple[Array, None]:
        j, following, kernel = pair
        return reached.at[following].add((reached[j] * handed_on[j, following]) @ kernel), None

    # In the order of the earlier model, all that arrives at it is there when it passes on.
    first = jnp.zeros_like(chain.mass).at[policy.start].set(chain.mass[policy.start])
    reached, _ = jax.lax.scan(visit, first, (*chain.pair_models, chain.pair_kernel))
    accepted = reached * jnp.einsum("jgs,js->jg", share, policy.actions == ACCEPT)
    abstained = reached * jnp.einsum("jgs,js->jg", share, policy.actions == ABSTAIN)
    asked = reached.sum(axis=1)
    return Outcome(
        error=jnp.sum(accepted * (1.0 - chain.confidence)),
        abstention=abstained.sum(),
        cost_usd=asked @ cost_usd,
        latency_s=jnp.sum(jnp.where(asked > 0, asked * latency_s, 0.0)),
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

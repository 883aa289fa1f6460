"""Rational Tuning: the best thresholds of chains, globally, by dynamic programming.

The objective of arXiv:2501.09345, eq. 11, has a chain structure: what is lost after passing on
at threshold a depends on a alone. So the best thresholds on a grid follow from a recursion over
pairs of models, in O(k^2 e^2) rather than e^(k-1), and the same recursion finds the best of all
subcascades. A local optimiser from the midpoint ends above it in one case in six.
"""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxcascade.cascade import ACCEPT, CascadeModel, MarkovChain, PolicyArrays, markov_chain

# Stands for "nothing to pass on to": infinity times a probability of zero would be NaN.
_NEVER = 1e30


class ThresholdSolution(NamedTuple):
    """The best threshold cascade for each price.

    Attributes:
        policies: One per price, with one breakpoint per model.
        loss: Expected loss in dollars per query under the threshold-Markov approximation.
    """

    policies: PolicyArrays
    loss: Float[Array, " p"]


class Chains(NamedTuple):
    """Which chains are allowed.

    Attributes:
        starts: Models that may be asked first.
        steps: Whether model l may follow model j, at [j, l]; later models only.
    """

    starts: Bool[Array, "*batch k"]
    steps: Bool[Array, "*batch k k"]

    @classmethod
    def all_subcascades(cls, k: int) -> "Chains":
        """Every increasing chain over `k` models."""
        return cls(jnp.ones(k, bool), jnp.asarray(np.triu(np.ones((k, k), bool), 1)))

    @classmethod
    def only(cls, chain: Sequence[int], k: int) -> "Chains":
        """One chain of positions; a threshold at an end may cut it short."""
        steps = np.zeros((k, k), bool)
        steps[list(chain[:-1]), list(chain[1:])] = True
        return cls(jnp.arange(k) == chain[0], jnp.asarray(steps))


@eqx.filter_jit
def best_thresholds(
    chain: MarkovChain, asking_usd: Float[Array, " k"], error: Float[Array, " p"], allowed: Chains
) -> ThresholdSolution:
    """Minimises cost + price of error x P(wrong) over chains and thresholds, for every price.

    Args:
        chain: Joint model on a grid; thresholds are its edges.
        asking_usd: Dollars per call, latency priced in.
        error: Prices of an error.
        allowed: The chains to choose from.
    """
    tables = _tables(chain)
    return jax.lax.map(lambda price: _solve(chain, tables, asking_usd, price, allowed), error)


class _Tables(NamedTuple):
    passed: Float[Array, "k k e e"]
    wrong: Float[Array, "k k e e"]
    first_wrong: Float[Array, "k e"]


def _tables(chain: MarkovChain) -> _Tables:
    """P(l at most edge b | j at most edge a), and P(l above b and wrong | j at most a)."""
    passed = chain.lower_conditional
    doubt = 1.0 - chain.confidence
    wrong = _above(jnp.diff(passed, axis=-1) * doubt[None, :, None, :])
    return _Tables(passed, wrong, _above(chain.mass * doubt))


def _above(cells: Float[Array, "*batch m"]) -> Float[Array, "*batch e"]:
    """Sums over the cells above each edge."""
    sums = jax.lax.cumsum(cells, axis=cells.ndim - 1, reverse=True)
    return jnp.concatenate([sums, jnp.zeros_like(sums[..., :1])], axis=-1)


def _solve(
    chain: MarkovChain, tables: _Tables, asking: Array, price: Array, allowed: Chains
) -> ThresholdSolution:
    k, num_edges = chain.edges.shape

    def after(j: Array, further: Array) -> Array:
        """Loss from model l on, given that model j passed at each edge: [l, a]."""
        inner = price * tables.wrong[j] + tables.passed[j] * further[:, None, :]
        total = asking[:, None] + jnp.min(inner, axis=-1)
        return jnp.where(allowed.steps[j][:, None], total, _NEVER)

    def induct(further: Array, j: Array) -> tuple[Array, None]:
        return further.at[j].set(jnp.min(after(j, further), axis=0)), None

    never = jnp.full((k, num_edges), _NEVER)
    further, _ = jax.lax.scan(induct, never, jnp.arange(k)[::-1])
    begin = asking[:, None] + price * tables.first_wrong + chain.levels * further
    begin = jnp.where(allowed.starts[:, None], begin, jnp.inf)
    start, edge = jnp.unravel_index(jnp.argmin(begin), begin.shape)
    return ThresholdSolution(
        _trace(chain, tables, asking, price, allowed, further, start, edge), jnp.min(begin)
    )


def _trace(
    chain: MarkovChain,
    tables: _Tables,
    asking: Array,
    price: Array,
    allowed: Chains,
    further: Array,
    start: Array,
    edge: Array,
) -> PolicyArrays:
    """Follows the minimisers along the one path that is taken."""
    k = chain.edges.shape[0]

    def step(state: tuple, _: None) -> tuple[tuple, None]:
        at, edge, going, breakpoints, actions = state
        going = going & (edge > 0)
        inner = price * tables.wrong[at, :, edge] + tables.passed[at, :, edge] * further
        inner = jnp.where(allowed.steps[at][:, None], asking[:, None] + inner, jnp.inf)
        following, next_edge = jnp.unravel_index(jnp.argmin(inner), inner.shape)
        breakpoints = breakpoints.at[at].set(
            jnp.where(going, chain.edges[at, edge], breakpoints[at])
        )
        actions = actions.at[at, 0].set(jnp.where(going, following, actions[at, 0]))
        return (following, next_edge, going, breakpoints, actions), None

    blank = (jnp.full(k, jnp.inf), jnp.full((k, 2), ACCEPT, start.dtype))
    state = (start, edge, jnp.array(True), *blank)
    (_, _, _, breakpoints, actions), _ = jax.lax.scan(step, state, None, length=k)
    return PolicyArrays(start, breakpoints[:, None], actions)


class RationalTuning(NamedTuple):
    """One chain tuned over a grid of lambdas.

    Attributes:
        lambdas: Increasing; lambda is 1 / price of an error.
        thresholds: On calibrated confidence, one per model but the last; -inf accepts all.
        levels: Share of the model's training confidences at or below each threshold.
    """

    lambdas: Float[np.ndarray, " p"]
    thresholds: Float[np.ndarray, "p k-1"]
    levels: Float[np.ndarray, "p k-1"]


def rational_tuning(
    model: CascadeModel,
    lambdas: Float[np.ndarray, " p"],
    *,
    largest_gap: float = 0.1,
    max_rounds: int = 4,
    num_cells: int = 128,
) -> RationalTuning:
    """Tunes the full chain of a model's models over lambdas, filling in where thresholds jump.

    Args:
        model: Its models are the chain, in order.
        lambdas: Positive weights of cost against error (eq. 11); eq. 12 has them geometric.
        largest_gap: Lambdas are inserted, at geometric means, between neighbours whose thresholds
            differ by more than this probability of the model's marginal (eq. 13).
        max_rounds: Most rounds of insertion; each may double the grid.
        num_cells: Cells of the grid of thresholds.

    References:
        Zellinger and Thomson (2025), arXiv:2501.09345, section 3.4, eq. 11 to 13.
    """
    chain = markov_chain(model, num_cells)
    allowed = Chains.only(range(len(model.models)), len(model.models))

    def solve(lambdas: np.ndarray) -> RationalTuning:
        # Padded to a power of two, so that rounds of insertion share compilations.
        padded = np.pad(lambdas, (0, _padding(len(lambdas))), mode="edge")
        solution = best_thresholds(chain, model.cost_usd, jnp.asarray(1.0 / padded), allowed)
        return _full_chain(solution.policies, chain, lambdas)

    result = solve(np.sort(np.asarray(lambdas, float)))
    for _ in range(max_rounds):
        jumps = np.max(np.abs(np.diff(result.levels, axis=0)), axis=1) > largest_gap
        if not jumps.any():
            break
        middle = np.sqrt(result.lambdas[:-1] * result.lambdas[1:])[jumps]
        result = solve(np.sort(np.concatenate([result.lambdas, middle])))
    return result


def _padding(count: int) -> int:
    return (1 << (count - 1).bit_length()) - count


def _full_chain(
    policies: PolicyArrays, chain: MarkovChain, lambdas: Float[np.ndarray, " p"]
) -> RationalTuning:
    """Reads thresholds of a chain; where it is cut short, the rest accept everything."""
    count = len(lambdas)
    passes = np.asarray(policies.actions)[:count, :-1, 0] >= 0
    thresholds = np.where(passes, np.asarray(policies.breakpoints)[:count, :-1, 0], -np.inf)
    edges, levels = np.asarray(chain.edges), np.asarray(chain.levels)
    at = [np.searchsorted(edges[j], thresholds[:, j]) for j in range(edges.shape[0] - 1)]
    shares = np.stack([levels[j][place] for j, place in enumerate(at)], axis=1)
    return RationalTuning(lambdas, thresholds, shares)

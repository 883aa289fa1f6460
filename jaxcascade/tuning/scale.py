"""One call over many devices: draws of a model, chains and prices side by side.

The work is a block [draws, chains, prices] over a mesh of devices with an axis for each. Every
device solves its own part: what is not split is repeated, and no tables travel. A device takes
its draws and prices in turns, as many at once as its memory holds, in one compiled program.

It is `jit` of `vmap` with named shardings, not `shard_map`: a gradient inside that one was seen
to be silently wrong.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import Any, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from jaxcascade.cascade import (
    CascadeModel,
    MarkovChain,
    Prices,
    ThresholdTables,
    grid_edges,
    markov_chain,
    threshold_tables,
)
from jaxcascade.errors import InvalidInputError
from jaxcascade.tuning.chains import Chains, divided
from jaxcascade.tuning.stopping import StoppingSolution, optimal_stopping
from jaxcascade.tuning.thresholds import ThresholdSolution, thresholds_of_each

# Of `jax.Device`, which a static checker takes for a variable.
Devices: TypeAlias = Sequence[Any]

_AXES = ("draws", "chains", "prices")
_SHARE_OF_MEMORY = 0.5
# Of a device that does not tell how much memory it has.
_UNKNOWN_BYTES = 2 << 30


def spread_thresholds(
    models: CascadeModel,
    asking_usd: Float[Array, "*draws k"],
    error: Float[Array | np.ndarray, " p"],
    chains: Chains,
    *,
    num_cells: int = 128,
    devices: Devices | None = None,
    max_bytes: int | None = None,
) -> ThresholdSolution:
    """Finds the best thresholds of each chain for every draw and price, on all devices.

    The same as `thresholds_of_each` on the tables of each draw, with the same derivatives of the
    loss in models and prices.

    Args:
        models: Joint model over `k` models; every array with one leading axis of draws, or none.
        asking_usd: Dollars per call, latency priced in; one row per draw, or one for all.
        error: Prices of an error.
        chains: With `s` starts. Their arrays are concrete, also where the call is traced.
        num_cells: Cells of the grid of thresholds.
        devices: Where to work; all devices of this process by default. With those of several
            processes, all of them make the same call: see `docs/scale.md`.
        max_bytes: Memory of each device that the call may take, as estimated; by default half of
            what the device says it has, and 2 GiB where it says nothing, as CPUs do. What does
            not fit at once is done in turns. Reverse-mode derivatives take some ten times
            the memory of a turn.

    Returns:
        Policies and losses with leading axes (draws, s, p), without the first if `models` has
        none. Each part stays on the device that found it, if draws and prices divide evenly.

    Raises:
        InvalidInputError: Shapes contradict each other, or the memory is too small for one draw
            at one price, or for the answer.
    """
    draws, k = _num_draws(models), len(models.models)
    chains = Chains(*map(np.asarray, chains))
    if chains.models.max() >= k:
        raise InvalidInputError(
            f"`chains` must hold positions of {k} models, 0 to {k - 1}; the largest is "
            f"{chains.models.max()}. Build them for the models that were fitted."
        )
    shape = jnp.shape(models.cost_usd)
    if jnp.shape(asking_usd) not in {shape, shape[-1:]}:
        raise InvalidInputError(
            f"`asking_usd` must have shape {shape} or {shape[-1:]}, as `models.cost_usd`; got "
            f"{jnp.shape(asking_usd)}."
        )
    asking_usd = jnp.broadcast_to(asking_usd, shape)
    task = _Thresholds(num_cells, k, asking_usd.dtype.itemsize)
    prices = jnp.asarray(error, asking_usd.dtype)
    return _spread(task, (models, asking_usd), draws, prices, chains, devices, max_bytes)


def spread_stopping(
    models: CascadeModel,
    prices: Prices,
    *,
    num_cells: int = 128,
    devices: Devices | None = None,
    max_bytes: int | None = None,
) -> StoppingSolution:
    """Solves optimal stopping for every draw and price, on all devices.

    The same as `optimal_stopping` on the Markov chain of each draw.

    Args:
        models: Joint model over `k` models; every array with one leading axis of draws, or none.
        prices: One-dimensional, all of one length `p`, or single numbers.
        num_cells: Cells per model.
        devices: As in `spread_thresholds`.
        max_bytes: As in `spread_thresholds`.

    Returns:
        Policies and losses with leading axes (draws, p), without the first if `models` has none.
        A policy has one breakpoint per cell and model: a million of them, of five models, take
        10 GB.

    Raises:
        InvalidInputError: As in `spread_thresholds`.
    """
    draws, dtype = _num_draws(models), jnp.result_type(models.cost_usd)
    each = Prices(*jnp.broadcast_arrays(*(jnp.atleast_1d(jnp.asarray(p, dtype)) for p in prices)))
    task = _Stopping(num_cells, len(models.models), dtype.itemsize)
    # One chain, which nothing is asked of: there is nothing to share out but draws and prices.
    found = _spread(task, models, draws, each, Chains.each([(0,)]), devices, max_bytes)
    at = () if draws is None else (slice(None),)
    return jax.tree.map(lambda leaf: leaf[(*at, 0)], found)


# --- What is solved for one draw ------------------------------------------------------------------


class _Needs(NamedTuple):
    """What one draw asks of one device, roughly.

    Attributes:
        work: Of what all its prices share, in units of `work_per_price`.
        work_per_price: In any unit.
        num_bytes: Of what all its prices share.
        bytes_per_price: While a price is solved.
        bytes_of_answer: Per price, kept to the end.
    """

    work: float
    work_per_price: float
    num_bytes: int
    bytes_per_price: int
    bytes_of_answer: int


class _Task(eqx.Module):
    """What is solved for one draw, several prices and one graph of chains.

    Attributes:
        num_cells: Of the grid.
        num_models: How many models there are.
        size: Bytes of a number.
    """

    num_cells: int
    num_models: int
    size: int

    @abstractmethod
    def prepare(self, draw: Any) -> Any:
        """Returns what all prices of a draw share."""

    @abstractmethod
    def solve(self, draw: Any, prepared: Any, prices: Any, chains: Chains) -> Any:
        """Returns arrays with leading axes (s, p)."""

    @abstractmethod
    def needs(self, chains: Chains) -> _Needs:
        """Estimates work and memory for one of the graphs of `divided`."""


class _Thresholds(_Task):
    def prepare(self, draw: tuple[CascadeModel, Array]) -> ThresholdTables:
        model, _ = draw
        return threshold_tables(model, grid_edges(model, self.num_cells))

    def solve(
        self,
        draw: tuple[CascadeModel, Array],
        prepared: ThresholdTables,
        prices: Float[Array, " p"],
        chains: Chains,
    ) -> ThresholdSolution:
        return thresholds_of_each(prepared, draw[1], prices, chains)

    def needs(self, chains: Chains) -> _Needs:
        k, edges = self.num_models, self.num_cells + 1
        nodes, arcs, starts = (chains[part].shape[1] for part in (0, 1, 3))
        # The integrals of one pair take as long as 64 arcs of the program.
        return _Needs(
            64.0 * k * (k - 1) / 2,
            float(arcs + starts),
            self.size * (4 * k**2 + 40) * edges**2,
            self.size * (2 * nodes * edges + edges**2),
            self.size * starts * (3 * k + 2),
        )


class _Stopping(_Task):
    def prepare(self, draw: CascadeModel) -> MarkovChain:
        return markov_chain(draw, self.num_cells)

    def solve(
        self, draw: CascadeModel, prepared: MarkovChain, prices: Prices, chains: Chains
    ) -> StoppingSolution:
        found = optimal_stopping(prepared, draw.cost_usd, draw.latency_s, prices)
        return jax.tree.map(lambda leaf: leaf[None], found)

    def needs(self, chains: Chains) -> _Needs:
        pairs, cells = self.num_models * (self.num_models - 1) // 2, self.num_cells
        # The kernel of one pair takes as long as the induction over it for 400 prices.
        return _Needs(
            400.0 * pairs,
            float(pairs),
            self.size * (pairs + 8) * cells**2,
            self.size * 6 * self.num_models * cells,
            self.size * 2 * self.num_models * cells,
        )


# --- Who solves what, and when --------------------------------------------------------------------


class _Plan(NamedTuple):
    """How the work is shared out.

    Attributes:
        shards: Parts of the draws, chains and prices; a device for each combination.
        turns: In how many turns a device takes its draws, and its prices.
        at_once: Draws, and prices, in one turn.
    """

    shards: tuple[int, int, int]
    turns: tuple[int, int]
    at_once: tuple[int, int]


def _plan(
    task: _Task,
    draws: int,
    num_prices: int,
    chains: Chains,
    devices: Devices,
    max_bytes: int | None,
) -> _Plan:
    """Shares the work out evenly, and into turns that fit."""
    needs_of = cache(lambda parts: task.needs(divided(chains, parts)[0]))

    def load(shards: tuple[int, int, int]) -> tuple[float, int, int]:
        by_draw, by_chain, by_price = shards
        needs = needs_of(by_chain)
        work = needs.work + _parts(num_prices, by_price) * needs.work_per_price
        # Of about equal loads, the one that repeats the least, and leaves the answer in parts.
        work = _parts(draws, by_draw) * work * (1.0 if by_chain == 1 else 1.1)
        return work, -min(by_draw, draws), -min(by_price, num_prices)

    shards = min(_factors(len(devices)), key=load)
    by_draw, by_chain, by_price = shards
    mine, prices = _parts(draws, by_draw), _parts(num_prices, by_price)
    needs = needs_of(by_chain)
    # Once more to put turns in order; and all of it, where it is cut to size or chains are sorted.
    answer = 2 * mine * prices * needs.bytes_of_answer
    if by_chain > 1 or draws % by_draw or num_prices % by_price:
        answer += draws * num_prices * by_chain * needs.bytes_of_answer
    room = _room(devices) if max_bytes is None else max_bytes
    free = room - answer - needs.num_bytes
    if free < needs.bytes_per_price:
        work = f"{draws} draws x {chains.starts.size} chains x {num_prices} prices"
        raise _too_large(room, answer, needs.num_bytes + needs.bytes_per_price, work)
    price_turns = _parts(prices, free // needs.bytes_per_price)
    prices_at_once = _parts(prices, price_turns)
    # One draw fills the caches of a CPU. Others are the busier the more there is to do.
    most = (room - answer) // (needs.num_bytes + prices_at_once * needs.bytes_per_price)
    draw_turns = _parts(mine, 1 if devices[0].platform == "cpu" else min(most, mine))
    return _Plan(shards, (draw_turns, price_turns), (_parts(mine, draw_turns), prices_at_once))


def _too_large(room: int, answer: int, least: int, work: str) -> InvalidInputError:
    remedy = (
        "Call once for each part of the draws, prices or chains, or spread them over more devices."
        if answer > least
        else "Ask for a smaller `num_cells`, or for fewer chains."
    )
    return InvalidInputError(
        f"`max_bytes` must be at least {_size(answer + least)} on each device for {work}: "
        f"{_size(answer)} for the answer, {_size(least)} to solve one draw at one price. It is "
        f"{_size(room)}. {remedy}"
    )


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.1f} MB"


def _parts(total: int, most: int) -> int:
    """Rounds a quotient up."""
    return -(-total // most)


def _factors(n: int) -> Iterator[tuple[int, int, int]]:
    divisors = [d for d in range(1, n + 1) if n % d == 0]
    return ((a, b, n // (a * b)) for a in divisors for b in divisors if n % (a * b) == 0)


def _room(devices: Devices) -> int:
    """Bytes that may be taken of each device.

    What it has, not what is free: processes that work together must come to the same plan.
    """
    mine = (one for one in devices if one.process_index == jax.process_index())
    limits = ((one.memory_stats() or {}).get("bytes_limit") for one in mine)
    return min(int(_SHARE_OF_MEMORY * limit) if limit else _UNKNOWN_BYTES for limit in limits)


# --- The work -------------------------------------------------------------------------------------


def _spread(
    task: _Task,
    models: Any,
    draws: int | None,
    prices: Any,
    chains: Chains,
    devices: Devices | None,
    max_bytes: int | None,
) -> Any:
    """Solves a task for every draw, start and price; returns arrays with these leading axes."""
    if draws is None:
        found = _spread(task, _as_one_draw(models), 1, prices, chains, devices, max_bytes)
        return _of_one_draw(found)
    devices = jax.local_devices() if devices is None else list(devices)
    if not devices:
        raise InvalidInputError("`devices` must name at least one device; got none.")
    shape = jax.tree.leaves(prices)[0].shape
    if len(shape) != 1 or not shape[0]:
        raise InvalidInputError(
            f"Prices must be one-dimensional, at least one of them; got shape {shape}."
        )
    plan = _plan(task, draws, shape[0], chains, devices, max_bytes)
    mesh = Mesh(np.reshape(np.array(devices), plan.shards), _AXES)
    graphs, place = divided(chains, plan.shards[1])

    def put(tree: Any, axis: str) -> Any:
        """Shares out the leading axis, filled up with copies of its last entry."""
        parts = mesh.shape[axis]
        full = jax.tree.map(
            lambda leaf: _filled(leaf, 0, parts * _parts(leaf.shape[0], parts)), tree
        )
        return jax.device_put(full, NamedSharding(mesh, PartitionSpec(axis)))

    found = _solve(
        task, put(models, "draws"), put(graphs, "chains"), put(prices, "prices"), plan, mesh
    )

    def cut(leaf: Array) -> Array:
        if leaf.shape[0] != draws or leaf.shape[2] != shape[0]:
            leaf = leaf[:draws, :, : shape[0]]
        return leaf if np.array_equal(place, np.arange(leaf.shape[1])) else leaf[:, place]

    return jax.tree.map(cut, found)


# Compiled, for a call has dozens of arrays.
@jax.jit
def _as_one_draw(models: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[None], models)


@jax.jit
def _of_one_draw(found: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[0], found)


@eqx.filter_jit
def _solve(task: _Task, models: Any, graphs: Chains, prices: Any, plan: _Plan, mesh: Mesh) -> Any:
    """The compiled program; what comes and goes is placed by `_AXES`, all parts of one size."""

    def placed(tree: Any, *axes: str | None) -> Any:
        sharding = NamedSharding(mesh, PartitionSpec(*axes))
        return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, sharding), tree)

    def in_turns(tree: Any, axis: str, turns: int, at_once: int) -> Any:
        """Rows of turns; in each, the next ones of every part."""
        parts = mesh.shape[axis]

        def rows(leaf: Array) -> Array:
            by_part = leaf.reshape(parts, -1, *leaf.shape[1:])
            full = _filled(by_part, 1, turns * at_once)
            return jnp.swapaxes(full.reshape(parts, turns, at_once, *leaf.shape[1:]), 0, 1)

        return placed(jax.tree.map(rows, tree), None, axis)

    draw_rows = in_turns(models, "draws", plan.turns[0], plan.at_once[0])
    price_rows = in_turns(prices, "prices", plan.turns[1], plan.at_once[1])

    def one_draw(draw: Any) -> Any:
        prepared = task.prepare(draw)

        def solve(graph: Chains, some: Any) -> Any:
            return task.solve(draw, prepared, some, graph)

        each = jax.vmap(jax.vmap(solve, (None, 0)), (0, None))
        return jax.lax.map(lambda row: each(graphs, row), price_rows)

    # Reverse mode keeps the draws of a turn and computes the rest once more.
    @partial(jax.checkpoint, prevent_cse=False)
    def one_row(draws: Any) -> Any:
        found = jax.vmap(jax.vmap(one_draw))(placed(draws, "draws"))
        return placed(found, "draws", None, None, "chains", "prices")

    found = jax.lax.map(one_row, draw_rows)
    mine, my_prices = (
        jax.tree.leaves(tree)[0].shape[0] // mesh.shape[axis]
        for tree, axis in ((models, "draws"), (prices, "prices"))
    )

    def block(leaf: Array) -> Array:
        # [turn, part, draw, turn of prices, part of chains, part of prices, start, price, ...]
        leaf = jnp.moveaxis(leaf, (1, 0, 2, 4, 6, 5, 3, 7), range(8))
        by_draw, _, _, by_chain, starts, by_price = leaf.shape[:6]
        rest = leaf.shape[8:]
        leaf = leaf.reshape(
            by_draw, math.prod(leaf.shape[1:3]), by_chain * starts, by_price, -1, *rest
        )
        leaf = leaf[:, :mine, :, :, :my_prices]
        return leaf.reshape(by_draw * mine, by_chain * starts, by_price * my_prices, *rest)

    return placed(jax.tree.map(block, found), *_AXES)


def _filled(leaf: Array, axis: int, length: int) -> Array:
    """Repeats the last entry of an axis until it has a length."""
    missing = length - leaf.shape[axis]
    if not missing:
        return leaf
    last = jax.lax.slice_in_dim(leaf, -1, None, axis=axis)
    return jnp.concatenate([leaf, *[last] * missing], axis=axis)


def _num_draws(models: CascadeModel) -> int | None:
    """Length of the axis of draws, None where there is no such axis."""
    batch = jnp.shape(models.cost_usd)[:-1]
    if len(batch) > 1 or 0 in batch:
        raise InvalidInputError(
            "`models` must have one leading axis of draws, at least one of them, or none; "
            f"`cost_usd` has shape {jnp.shape(models.cost_usd)}."
        )
    if batch and any(jnp.shape(leaf)[:1] != batch for leaf in jax.tree.leaves(models)):
        raise InvalidInputError(
            f"Every array of `models` must have the leading axis of {batch[0]} draws that "
            "`cost_usd` has. Stack whole models, or broadcast what they share."
        )
    return batch[0] if batch else None

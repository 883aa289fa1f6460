"""Which chains of models are allowed: a graph whose paths they are, and its parts."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Int

from jaxcascade.errors import InvalidInputError


class Chains(NamedTuple):
    """Which chains are allowed, as a graph: every path from a start is a chain.

    A node is a model and what may follow it. Chains that end alike share the nodes of their end,
    so that it is solved once.

    Attributes:
        models: Position of each node's model; only later models may follow it.
        arcs: Nodes passed from and to; all that leave a node come before those that enter it.
        following: Nodes that may follow each node, padded by -1.
        starts: Nodes at which a chain may begin.
    """

    models: Int[Array | np.ndarray, " v"]
    arcs: Int[Array | np.ndarray, "a 2"]
    following: Int[Array | np.ndarray, "v d"]
    starts: Int[Array | np.ndarray, " s"]

    @classmethod
    def all_subcascades(cls, k: int) -> "Chains":
        """Every increasing chain over `k` models; the starts are the models in order."""
        return _graph(range(k), [range(j + 1, k) for j in range(k)], range(k))

    @classmethod
    def each(cls, chains: Iterable[Sequence[int]]) -> "Chains":
        """The given chains of increasing positions, one start each, in their order.

        Raises:
            InvalidInputError: A chain is empty or does not increase, or there is none.
        """
        chains = [tuple(chain) for chain in chains]
        if not chains:
            raise InvalidInputError("`chains` must have at least one chain of models; got none.")
        for chain in chains:
            if not chain or list(chain) != sorted(set(chain)) or chain[0] < 0:
                raise InvalidInputError(
                    "Every chain must be one or more positions of models, at least 0 and "
                    f"increasing; got {chain}."
                )
        ends = sorted({chain[i:] for chain in chains for i in range(len(chain))}, key=len)
        node = {end: at for at, end in enumerate(reversed(ends))}
        following = [[node[end[1:]]] if end[1:] else [] for end in reversed(ends)]
        return _graph([end[0] for end in node], following, [node[chain] for chain in chains])


def subcascades(k: int, shortest: int = 2) -> list[tuple[int, ...]]:
    """Lists all increasing chains over `k` models, short ones first.

    Args:
        k: Number of models.
        shortest: Fewest models of a chain.

    Example:
        >>> subcascades(3)
        [(0, 1), (0, 2), (1, 2), (0, 1, 2)]
    """
    return [chain for size in range(shortest, k + 1) for chain in combinations(range(k), size)]


def _graph(
    models: Iterable[int], following: Sequence[Iterable[int]], starts: Iterable[int]
) -> Chains:
    """Builds the graph of nodes that are followed by nodes further down only."""
    following = [list(nodes) for nodes in following]
    arcs = [(at, to) for at in reversed(range(len(following))) for to in following[at]]
    padded = np.full((len(following), max(1, *map(len, following))), -1)
    for at, nodes in enumerate(following):
        padded[at, : len(nodes)] = nodes
    return Chains(
        np.array([*models]), np.array(arcs, int).reshape(-1, 2), padded, np.array([*starts])
    )


def divided(chains: Chains, parts: int) -> tuple[Chains, Int[np.ndarray, " s"]]:
    """Splits the starts evenly, each part with the graph that it needs, filled up to one shape.

    Returns:
        Graphs with a leading axis of parts; and where each start's answer stands among those of
        all parts, one after the other.
    """
    order = np.arange(chains.starts.size)
    if parts > 1:
        # Chains that end alike stay together.
        order = np.array(sorted(order, key=lambda at: _path(chains, int(chains.starts[at]))[::-1]))
    rows = np.pad(order, (0, -order.size % parts), mode="edge").reshape(parts, -1)
    reached = _reached(chains)
    graphs = [_part(chains, np.asarray(chains.starts)[row], reached) for row in rows]
    # What fills up leads from a node that nothing leads to, the last one, to itself.
    nodes = 1 + max(graph.models.size for graph in graphs)
    num_arcs = max(len(graph.arcs) for graph in graphs)
    filled = [
        Chains(
            _ended(graph.models, nodes, 0),
            _ended(graph.arcs, num_arcs, nodes - 1),
            _ended(graph.following, nodes, -1),
            graph.starts,
        )
        for graph in graphs
    ]
    return Chains(*map(np.stack, zip(*filled, strict=True))), np.argsort(order)


def _ended(rows: Any, length: int, value: int) -> Int[np.ndarray, "l ..."]:
    """Appends rows of one value."""
    ends = ((0, length - len(rows)), *[(0, 0)] * (rows.ndim - 1))
    return np.pad(rows, ends, constant_values=value)


def _part(
    chains: Chains, starts: Int[np.ndarray, " s"], reached: Bool[np.ndarray, "v v"]
) -> Chains:
    """The graph of some of the starts; nodes and arcs keep their order."""
    models, arcs, following, _ = map(np.asarray, chains)
    kept = np.any(reached[starts], axis=0)
    new = np.cumsum(kept) - 1
    later = np.where(following >= 0, new[following], -1)
    return Chains(models[kept], new[arcs[kept[arcs[:, 0]]]], later[kept], new[starts])


def _path(chains: Chains, node: int) -> list[int]:
    """Models of a node and of what first follows it."""
    path = []
    while node >= 0:
        path.append(int(chains.models[node]))
        node = int(chains.following[node, 0])
    return path


def _reached(chains: Chains) -> Bool[np.ndarray, "v v"]:
    """Which nodes can be reached from each, itself among them."""
    reached = np.eye(chains.models.size, dtype=bool)
    for node, to in np.asarray(chains.arcs).tolist():
        reached[node] |= reached[to]
    return reached

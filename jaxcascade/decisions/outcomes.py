"""What may become known: which sources were asked and what they said, for all items at once.

An outcome says of each source whether it was not asked, said no or said yes. The likelihood of an
outcome in each state is the same for every item, so that all items share one table; and nothing is
normalised on the way, for costs times the probability of an outcome add up over what may follow it.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

STOP = -1
UNASKED, NO, YES = 0, 1, 2
# What a batch needs on the way should stay in the cache of a processor.
_BATCH = 250


class Layer(NamedTuple):
    """Outcomes with one number of sources asked, in the order of their digits.

    Attributes:
        digits: Of each source: 0 not asked, 1 no, 2 yes.
        source: Which may be asked further.
        no: Position in the next layer of what is known after a no; `yes`: after a yes.
    """

    digits: Int[np.ndarray, "o m"]
    source: Int[np.ndarray, "o rest"]
    no: Int[np.ndarray, "o rest"]
    yes: Int[np.ndarray, "o rest"]


class Prospect(NamedTuple):
    """What each outcome of a layer means for each item of a batch; items last: they are contiguous.

    Attributes:
        layer: Outcomes, and what may follow them.
        chance: Probability of each outcome, if those sources are asked.
        stop_usd: Dollars of the cheapest action then, times the chance.
        action: Its position.
    """

    layer: Layer
    chance: Float[Array, "o n"]
    stop_usd: Float[Array, "o n"]
    action: Int[Array, "o n"]


@cache
def outcome_layers(num_sources: int, depth: int) -> tuple[Layer, ...]:
    """Returns all outcomes with up to `depth` sources asked, from none asked; the last is final."""
    digits, layers = np.zeros((1, num_sources), int), []
    for count in range(depth + 1):
        rest = num_sources - count if count < depth else 0
        source = np.nonzero(digits == UNASKED)[1].reshape(len(digits), -1)[:, :rest]
        said = np.eye(num_sources, dtype=int)[source]
        after = digits[:, None, None] + np.stack([NO * said, YES * said], axis=2)
        following, at = np.unique(after.reshape(-1, num_sources), axis=0, return_inverse=True)
        at = at.reshape(len(digits), rest, 2)
        layers.append(Layer(digits, source, at[..., 0], at[..., 1]))
        digits = following
    return tuple(layers)


def answer_chances(p_yes: Float[Array, "m *s"]) -> Float[Array, "3 m *s"]:
    """Returns the probability of what each source may have said: nothing, if not asked; no; yes."""
    return jnp.stack([jnp.ones_like(p_yes), 1.0 - p_yes, p_yes])


def likelihoods(p_yes: Float[Array, "m *s"], layers: tuple[Layer, ...]) -> list[Array]:
    """Returns the probability of every outcome's answers, if those sources are asked, by layer."""
    of_answer = answer_chances(p_yes)
    found = []
    for count, layer in enumerate(layers):
        asked = np.nonzero(layer.digits)[1].reshape(len(layer.digits), count)
        product = jnp.ones((len(asked), *p_yes.shape[1:]), p_yes.dtype)
        for source in asked.T:
            product = product * of_answer[layer.digits[np.arange(len(asked)), source], source]
        found.append(product)
    return found


def prospects(
    layers: tuple[Layer, ...],
    tables: list[Array],
    usd: Float[Array, "a s"],
    belief: Float[Array, "n s"],
) -> list[Prospect]:
    """Returns what each outcome means for items with a belief each, by layer.

    Args:
        layers: See `outcome_layers`.
        tables: Probability of each outcome in each state, by layer.
        usd: Dollars of each action in each state.
        belief: Probability of each state, of each item.
    """
    found = []
    for layer, table in zip(layers, tables, strict=True):
        expected = jnp.einsum("oas,ns->aon", table[:, None] * usd, belief)
        action = expected.argmin(axis=0).astype(jnp.int16)
        found.append(Prospect(layer, table @ belief.T, expected.min(axis=0), action))
    return found


def asking_usd(
    prospect: Prospect, price_usd: Float[Array, " m"], after: Float[Array, "next n"]
) -> Iterator[tuple[Int[np.ndarray, " o"], Float[Array, "o n"]]]:
    """Yields one further source of every outcome, and dollars with it, until all are through.

    Args:
        prospect: Of a layer.
        price_usd: Of each source.
        after: Dollars at each outcome of the next layer.
    """
    layer = prospect.layer
    for source, no, yes in zip(layer.source.T, layer.no.T, layer.yes.T, strict=True):
        price = prospect.chance * price_usd[source][:, None]
        yield source, after[no] + after[yes] + price


def best_question(
    prospect: Prospect,
    price_usd: Float[Array, " m"],
    after: Float[Array, "next n"],
    may_ask: Bool[Array, "m n"] | None = None,
) -> tuple[Float[Array, "o n"], Int[Array, "o n"]]:
    """Returns the least dollars of acting or asking, and the first source to reach it, or `STOP`.

    Args:
        prospect: Of a layer.
        price_usd: Of each source.
        after: Dollars at each outcome of the next layer.
        may_ask: Of each source and item; by default all.
    """
    least = prospect.stop_usd
    # Thousands of small numbers for every item.
    small = jnp.int8 if price_usd.shape[0] < 128 else jnp.int32
    ask = jnp.full(least.shape, STOP, small)
    for source, usd in asking_usd(prospect, price_usd, after):
        pays = usd < least
        if may_ask is not None:
            pays &= may_ask[source]
        least, ask = (
            jnp.where(pays, usd, least),
            jnp.where(pays, source[:, None].astype(small), ask),
        )
    return least, ask


def following_usd(
    prospect: Prospect,
    price_usd: Float[Array, " m"],
    after: Float[Array, "next n"],
    ask: Int[Array, "o n"],
) -> Float[Array, "o n"]:
    """Returns dollars of asking what a policy asks; see `best_question`."""
    found = prospect.stop_usd
    for source, usd in asking_usd(prospect, price_usd, after):
        found = jnp.where(ask == source[:, None], usd, found)
    return found


def whole(layers: tuple[Layer, ...], of_layers: list[Array]) -> Shaped[Array, "n o"]:
    """Returns what is of each layer and item as one row per item, in the order of the numbers."""
    return jnp.concatenate(of_layers)[np.argsort(_numbers(layers))].T


def by_layer(layers: tuple[Layer, ...], rows: Shaped[Array, "n o"]) -> list[Array]:
    """Returns one row per item, in the order of the numbers of outcomes, by layer; see `whole`."""
    ends = np.cumsum([len(layer.digits) for layer in layers])[:-1]
    return jnp.split(rows.T[_numbers(layers)], ends)


def in_batches(function: Callable[..., Any], *of_items: Shaped[Array, "n ..."]) -> Any:
    """Applies a function of many items to all of them, a batch after another.

    Args:
        function: Takes arrays with items first and returns arrays with items first.
        *of_items: Arrays of all items.
    """
    n = of_items[0].shape[0]
    rounds = -(-n // _BATCH)
    # Batches of nearly one size: less of the last is made up.
    size = -(-n // max(rounds, 1))
    batches = [_filled(x, rounds * size).reshape(rounds, size, *x.shape[1:]) for x in of_items]
    found = jax.lax.map(lambda batch: function(*batch), tuple(batches))
    return jax.tree.map(lambda leaf: leaf.reshape(rounds * size, *leaf.shape[2:])[:n], found)


def _filled(values: Array, length: int) -> Array:
    """Repeats the last item up to a length."""
    return jnp.pad(values, ((0, length - len(values)), *((0, 0),) * (values.ndim - 1)), mode="edge")


def _numbers(layers: tuple[Layer, ...]) -> Int[np.ndarray, " o"]:
    digits = np.concatenate([layer.digits for layer in layers])
    return digits @ 3 ** np.arange(digits.shape[1])[::-1]

"""What each action costs in each state: the only truth about actions."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcascade.errors import InvalidInputError


class Costs(eqx.Module):
    """Dollars of every action in every state.

    Attributes:
        usd: One row per action, one column per state; negative where something is earned.
        actions: Names.
        states: Names.

    Example:
        >>> hiring = cost_matrix({"reject": {"unfit": 0, "fit": 40_000},
        ...                       "interview": {"unfit": 2_500, "fit": 0}})
        >>> round(hiring.threshold("reject", "interview"), 6)
        0.058824
    """

    usd: Float[Array, "a s"]
    actions: tuple[str, ...] = eqx.field(static=True)
    states: tuple[str, ...] = eqx.field(static=True)

    def __check_init__(self):
        shape = (len(self.actions), len(self.states))
        if self.usd.shape != shape:
            raise InvalidInputError(
                f"`usd` must have a row per action and a column per state, {shape}; it has the "
                f"shape {self.usd.shape}."
            )
        for name, names in (("actions", self.actions), ("states", self.states)):
            if len(set(names)) < len(names):
                raise InvalidInputError(f"`{name}` must be distinct; got {', '.join(names)}.")

    def expected(self, probability: Float[Array, "*batch s"]) -> Float[Array, "*batch a"]:
        """Returns the expected dollars of every action.

        Raises:
            InvalidInputError: Probabilities are not of these states.
        """
        if probability.shape[-1:] != (len(self.states),):
            raise InvalidInputError(
                f"`probability` must have {len(self.states)} columns, one for each of "
                f"{', '.join(self.states)}; it has the shape {probability.shape}."
            )
        return probability @ self.usd.T

    def best(self, probability: Float[Array, "*batch s"]) -> Int[Array, "*batch"]:
        """Returns the position of the cheapest action; of equals, the first."""
        return jnp.argmin(self.expected(probability), axis=-1)

    def value(self, probability: Float[Array, "*batch s"]) -> Float[Array, "*batch"]:
        """Returns the expected dollars of the cheapest action."""
        return jnp.min(self.expected(probability), axis=-1)

    def perfect_information(self, probability: Float[Array, "*batch s"]) -> Float[Array, "*batch"]:
        """Returns what it would be worth to know the state: at least 0 dollars."""
        return self.value(probability) - probability @ jnp.min(self.usd, axis=0)

    def threshold(self, below: str, above: str) -> float:
        """Returns the probability of the second of two states at which two actions cost the same.

        Args:
            below: Action that is cheaper where the second state is improbable.
            above: Action that is cheaper where it is probable.

        Raises:
            InvalidInputError: There are not two states, an action is unknown, or no probability
                from 0 to 1 has both actions cost the same, the first being cheaper below it.
        """
        if len(self.states) != 2:
            raise InvalidInputError(
                f"A threshold needs two states; there are {len(self.states)}: "
                f"{', '.join(self.states)}. With more, compare `expected` costs."
            )
        rows = [
            self._row(name, argument) for name, argument in ((below, "below"), (above, "above"))
        ]
        extra = np.asarray(self.usd, float)[rows[1]] - np.asarray(self.usd, float)[rows[0]]
        if not extra[0] > 0 > extra[1]:
            raise InvalidInputError(
                f'"{below}" must be cheaper than "{above}" in "{self.states[0]}" and dearer in '
                f'"{self.states[1]}"; "{above}" costs {extra[0]:g} and {extra[1]:g} dollars more.'
            )
        return float(extra[0] / (extra[0] - extra[1]))

    def dominated(self) -> tuple[str, ...]:
        """Returns the actions that no belief prefers: another costs no more in every state."""
        usd = np.asarray(self.usd)
        no_more = (usd[:, None] <= usd[None]).all(axis=-1)
        less = (usd[:, None] < usd[None]).any(axis=-1)
        beaten = np.flatnonzero((no_more & less).any(axis=0))
        return tuple(self.actions[a] for a in beaten)

    def _row(self, action: str, argument: str) -> int:
        if action not in self.actions:
            raise InvalidInputError(
                f'`{argument}` must be one of {", ".join(self.actions)}; got "{action}".'
            )
        return self.actions.index(action)


def cost_matrix(table: dict[str, dict[str, float]]) -> Costs:
    """Reads dollars by action and state.

    Args:
        table: For each action, dollars by state; every action has all states.

    Raises:
        InvalidInputError: There are fewer than one action or two states, an action lacks a state
            or has an unknown one, or a cost is not a finite number.
    """
    states = tuple(next(iter(table.values()), {}))
    if len(states) < 2:
        raise InvalidInputError(
            f"`table` needs one action or more, each with two states or more; got {table}."
        )
    for action, of_states in table.items():
        if set(of_states) != set(states):
            raise InvalidInputError(
                f'Every action of `table` must have the states {", ".join(states)}; "{action}" '
                f"has {', '.join(of_states) or 'none'}."
            )
    usd = np.array([[of_states[state] for state in states] for of_states in table.values()], float)
    if not np.isfinite(usd).all():
        raise InvalidInputError("Costs in `table` must be finite numbers of dollars.")
    return Costs(jnp.asarray(usd), tuple(table), states)


class Decision(NamedTuple):
    """What to do with each item, and why.

    Attributes:
        action: Position of the cheapest action.
        expected_usd: Its expected cost.
        probability: Belief that it was chosen by.
        perfect_information: What it would be worth to know the state.
    """

    action: Int[Array, "*batch"]
    expected_usd: Float[Array, "*batch"]
    probability: Float[Array, "*batch s"]
    perfect_information: Float[Array, "*batch"]


def decide(costs: Costs, probability: Float[Array, "*batch s"]) -> Decision:
    """Picks the action of least expected cost.

    Args:
        costs: See `cost_matrix`.
        probability: Of each state; sums to 1.
    """
    return Decision(
        costs.best(probability),
        costs.value(probability),
        probability,
        costs.perfect_information(probability),
    )

"""Policies: whom to ask first, and what to do with each answer."""

import graphlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Array, Float, Int

from jaxcascade.errors import PolicyError

ACCEPT, ABSTAIN, MISSING = -1, -2, -3
_NAMED_ACTIONS = {"accept": ACCEPT, "abstain": ABSTAIN}
_ACTION_NAMES = {code: name for name, code in _NAMED_ACTIONS.items()}


class Rule(NamedTuple):
    """What to do with one model's answer.

    Attributes:
        breakpoints: Increasing calibrated confidences. Intervals are closed on the right: a
            confidence equal to a breakpoint belongs to the interval below it.
        actions: One per interval, lowest first: "accept", "abstain" or the next model's name.
    """

    breakpoints: tuple[float, ...]
    actions: tuple[str, ...]


_ACCEPT_ALL = Rule((), ("accept",))


class PolicyArrays(NamedTuple):
    """Policies as arrays, for `vmap`: models by position, in an order they are asked in.

    Attributes:
        start: Position of the first model.
        breakpoints: Padded with +inf.
        actions: Position of the next model, or ACCEPT, or ABSTAIN.
    """

    start: Int[Array | np.ndarray, "*batch"]
    breakpoints: Float[Array | np.ndarray, "*batch k b"]
    actions: Int[Array | np.ndarray, "*batch k b+1"]


@dataclass(frozen=True)
class Policy:
    """A start model and a rule for each model that can be reached.

    Example:
        >>> policy = Policy.threshold_cascade(["small", "large"], [0.8])
        >>> policy.rules["small"]
        Rule(breakpoints=(0.8,), actions=('large', 'accept'))
        >>> policy.describe()
        'small: to large up to 0.8, else accept'

    Attributes:
        start: Name of the model that every query is put to.
        rules: By model.

    Raises:
        PolicyError: Breakpoints do not increase, a rule is missing or has the wrong number of
            actions, a rule cannot be reached, or a query could be put to a model twice.
    """

    start: str
    rules: Mapping[str, Rule]

    def __post_init__(self) -> None:
        for name, rule in self.rules.items():
            _check_rule(name, rule)
        self.order()

    @classmethod
    def single(cls, model: str) -> Self:
        """Returns the policy that accepts every answer of one model."""
        return cls(model, {model: Rule((), ("accept",))})

    @classmethod
    def threshold_cascade(cls, models: Sequence[str], thresholds: Sequence[float]) -> Self:
        """Returns the chain that passes a query on while confidence is at most the threshold.

        Args:
            models: Names in the order asked.
            thresholds: One fewer than models; -inf accepts every answer, inf none.
        """
        if len(thresholds) != len(models) - 1:
            raise PolicyError(
                f"`thresholds` must be one fewer than the {len(models)} models; got "
                f"{len(thresholds)}."
            )
        rules: dict[str, Rule] = {}
        for model, following, threshold in zip(models[:-1], models[1:], thresholds, strict=True):
            if threshold == -np.inf:
                rules[model] = _ACCEPT_ALL
                return cls(models[0], rules)
            edges = (float(threshold),) if threshold < np.inf else ()
            rules[model] = Rule(edges, (following, "accept")[: len(edges) + 1])
        return cls(models[0], rules | {models[-1]: _ACCEPT_ALL})

    @classmethod
    def from_arrays(cls, arrays: PolicyArrays, models: Sequence[str]) -> Self:
        """Names the models of one policy that a query can reach.

        Intervals that share an action are merged, and a model that passes every query on to one
        other is left out: its answer is paid for and never used. (A Markov chain forgets what
        came before the last model, so optimal stopping may pay to have a bad signal forgotten.)
        """
        start, breakpoints, actions = (np.asarray(part) for part in arrays)
        # From last to first, since leaving out a later model can make an earlier one idle.
        instead = {ACCEPT: ACCEPT, ABSTAIN: ABSTAIN}
        merged: dict[int, _Merged] = {}
        for at in reversed(range(len(models))):
            heirs = np.array([instead.get(int(a), ACCEPT) for a in actions[at]])
            merged[at] = _merged(breakpoints[at], heirs)
            idle = len(merged[at].actions) == 1 and merged[at].actions[0] >= 0
            instead[at] = merged[at].actions[0] if idle else at
        first = instead[int(start)]
        rules: dict[str, Rule] = {}
        waiting = [first]
        while waiting:
            at = waiting.pop()
            names = tuple(_ACTION_NAMES.get(a) or models[a] for a in merged[at].actions)
            rules[models[at]] = Rule(tuple(merged[at].breakpoints), names)
            waiting += [a for a in merged[at].actions if a >= 0 and models[a] not in rules]
        return cls(models[first], rules)

    def order(self) -> tuple[str, ...]:
        """Returns the models in an order in which each comes after all that pass on to it."""
        graph: dict[str, set[str]] = {self.start: set()}
        waiting, seen = [self.start], {self.start}
        while waiting:
            name = waiting.pop()
            if name not in self.rules:
                raise PolicyError(f'The policy can ask "{name}" but has no rule for its answer.')
            for following in _successors(self.rules[name]):
                graph.setdefault(following, set()).add(name)
                if following not in seen:
                    seen.add(following)
                    waiting.append(following)
        unreached = [name for name in self.rules if name not in seen]
        if unreached:
            raise PolicyError(f'The policy has a rule for "{unreached[0]}" but never asks it.')
        try:
            return tuple(graphlib.TopologicalSorter(graph).static_order())
        except graphlib.CycleError as error:
            circle = " > ".join(f'"{name}"' for name in error.args[1])
            raise PolicyError(f"The policy could ask a model twice: {circle}.") from None

    def to_arrays(self, models: Sequence[str], num_breakpoints: int | None = None) -> PolicyArrays:
        """Returns the policy as arrays over `models`, which must contain all that it asks.

        Args:
            models: Names; a model must come after all that pass on to it.
            num_breakpoints: Padded length, at least the longest rule's.

        Raises:
            PolicyError: A model is missing, or stands before one that passes on to it.
        """
        index = {name: position for position, name in enumerate(models)}
        for name in self.rules:
            if name not in index:
                raise PolicyError(f'The policy asks "{name}", which is not among the models given.')
        longest = max(len(rule.breakpoints) for rule in self.rules.values())
        width = longest if num_breakpoints is None else max(longest, num_breakpoints)
        breakpoints = np.full((len(models), width), np.inf)
        actions = np.full((len(models), width + 1), ACCEPT)
        for name, rule in self.rules.items():
            breakpoints[index[name], : len(rule.breakpoints)] = rule.breakpoints
            codes = [_NAMED_ACTIONS.get(a, index.get(a, ACCEPT)) for a in rule.actions]
            if any(0 <= code <= index[name] for code in codes):
                raise PolicyError(f'`models` must list "{name}" before the models it passes on to.')
            actions[index[name], : len(codes)] = codes
        return PolicyArrays(np.array(index[self.start]), breakpoints, actions)

    def describe(self) -> str:
        """Returns the policy in words, on one line: each model's intervals from below."""
        order = [name for name in self.order() if self.rules[name] != _ACCEPT_ALL]
        if not order:
            return self.start
        return "; ".join(f"{name}: {_in_words(self.rules[name])}" for name in order)


def _in_words(rule: Rule) -> str:
    words = [a if a in _NAMED_ACTIONS else f"to {a}" for a in rule.actions]
    limits = [
        f"{word} up to {edge:.4g}" for word, edge in zip(words, rule.breakpoints, strict=False)
    ]
    return ", ".join([*limits, f"else {words[-1]}" if limits else words[-1]])


def stack_policies(policies: Sequence[Policy], models: Sequence[str]) -> PolicyArrays:
    """Returns policies with a leading axis, padded to a shared width of 8, 16, 32 or so on.

    Few widths mean few shapes, and so few compilations.
    """
    longest = max(len(rule.breakpoints) for p in policies for rule in p.rules.values())
    width = 1 << max(longest - 1, 7).bit_length()
    arrays = [policy.to_arrays(models, width) for policy in policies]
    return PolicyArrays(*(np.stack(parts) for parts in zip(*arrays, strict=True)))


class _Merged(NamedTuple):
    breakpoints: list[float]
    actions: list[int]


def _merged(breakpoints: np.ndarray, actions: np.ndarray) -> _Merged:
    """Drops intervals that hold no confidence, and joins neighbours that share an action."""
    edges = [-np.inf, *breakpoints[breakpoints < np.inf].tolist(), np.inf]
    kept = [i for i in range(len(edges) - 1) if edges[i] < edges[i + 1]]
    starts = [kept[0]] + [b for a, b in itertools.pairwise(kept) if actions[a] != actions[b]]
    return _Merged([edges[i] for i in starts[1:]], [int(actions[i]) for i in starts])


def _successors(rule: Rule) -> list[str]:
    # A list without repetitions, not a set: the order of models must not depend on hashing.
    return list(dict.fromkeys(a for a in rule.actions if a not in _NAMED_ACTIONS))


def _check_rule(name: str, rule: Rule) -> None:
    if len(rule.actions) != len(rule.breakpoints) + 1:
        raise PolicyError(
            f'The rule of "{name}" must have one action more than breakpoints; it has '
            f"{len(rule.breakpoints)} breakpoints and {len(rule.actions)} actions."
        )
    edges = np.array(rule.breakpoints, float)
    if not np.all(np.isfinite(edges)) or np.any(np.diff(edges) <= 0):
        raise PolicyError(
            f'The breakpoints of "{name}" must be finite and increase; got {edges.tolist()}.'
        )

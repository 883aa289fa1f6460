"""A frontier as one JSON file: readable, reviewable, strictly checked, enough to route by."""

import itertools
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxcascade.calibration import Calibrator
from jaxcascade.cascade import Outcome, Policy, Prices, Rule
from jaxcascade.cascade.storage import decode, encode, read_json, take, write_json
from jaxcascade.errors import FileFormatError, PolicyError
from jaxcascade.tuning.frontier import Bands, Frontier, HeldOut, Point
from jaxcascade.tuning.reference import MOST_SCORES, Reference

FRONTIER_FORMAT, FRONTIER_VERSION = "jaxcascade.frontier", 1
_MEMBERS = {"format", "version", "models", "points", "held_out", "bands", "reference"}
# What a fit computed may miss 0 or 1 by.
_ROUNDING = 1e-9
_OUTCOME_MEMBERS = ("error", "abstention", "cost_usd", "latency_s")


def save_frontier(frontier: Frontier, path: str | PathLike) -> None:
    """Writes a frontier as JSON, whole or not at all.

    Args:
        frontier: See `tune`.
        path: File to write, by custom ending in `.json`.
    """
    write_json(_encode_frontier(frontier), path)


def load_frontier(path: str | PathLike) -> Frontier:
    """Reads what `save_frontier` wrote.

    Raises:
        FileFormatError: The file is missing, cut short, of another version, or edited into
            something that cannot be followed.
    """
    content = read_json(path, FRONTIER_FORMAT, FRONTIER_VERSION)
    unknown = sorted(set(content) - _MEMBERS)
    if unknown:
        raise FileFormatError(f'{path} has a member "{unknown[0]}", which no frontier has.')
    try:
        return _decode_frontier(content, str(path))
    except PolicyError as error:
        raise FileFormatError(f"{path} cannot be followed: {error}") from None


def _one(calibrators: Calibrator, j: int) -> Calibrator:
    return jax.tree.map(lambda leaf: leaf[j], calibrators)


def _encode_frontier(frontier: Frontier) -> dict[str, Any]:
    held_out = frontier.held_out
    on_host = jax.tree.map(np.asarray, frontier.calibrators)
    models = [
        {
            "name": name,
            "cost_usd": float(frontier.cost_usd[j]),
            "latency_s": _number(frontier.latency_s[j]),
            "calibrator": encode(_one(on_host, j)),
        }
        for j, name in enumerate(frontier.models)
    ]
    return {
        "format": FRONTIER_FORMAT,
        "version": FRONTIER_VERSION,
        "models": models,
        "points": [_encode_point(point, frontier.models) for point in frontier.points],
        "held_out": None
        if held_out is None
        else {name: np.asarray(values).tolist() for name, values in held_out._asdict().items()},
        "bands": None if frontier.bands is None else _encode_bands(frontier.bands),
        "reference": None
        if frontier.reference is None
        else _encode_reference(frontier.reference, frontier.models),
    }


def _encode_bands(bands: Bands) -> dict[str, Any]:
    members = {name: np.asarray(values).tolist() for name, values in bands._asdict().items()}
    return members | {"beats_single": [_number(share) for share in bands.beats_single]}


def _encode_reference(reference: Reference, models: Sequence[str]) -> dict[str, str]:
    # Numbers in one text, not in a list: a line per model can be reviewed, one per number cannot.
    lines = (" ".join(f"{score:g}" for score in scores) for scores in reference.scores)
    return dict(zip(models, lines, strict=True))


def _encode_point(point: Point, models: Sequence[str]) -> dict[str, Any]:
    rules = {
        name: {"breakpoints": list(rule.breakpoints), "actions": list(rule.actions)}
        for name, rule in point.policy.rules.items()
    }
    return {
        "prices": {name: _number(value) for name, value in point.prices._asdict().items()},
        "kind": point.kind,
        "policy": {"start": point.policy.start, "rules": rules},
        "expected": _encode_outcome(point.expected, models),
        "training": _encode_outcome(point.training, models),
        "best_single": point.best_single,
    }


def _encode_outcome(outcome: Outcome, models: Sequence[str]) -> dict[str, Any]:
    members = {name: _number(getattr(outcome, name)) for name in _OUTCOME_MEMBERS}
    shares = np.asarray(outcome.answered_by).tolist()
    return members | {"answered_by": dict(zip(models, shares, strict=True))}


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _decode_frontier(content: Mapping[str, Any], where: str) -> Frontier:
    entries = take(content, "models", list, where)
    if not all(isinstance(entry, Mapping) for entry in entries):
        raise FileFormatError(f'{where}: "models" must be a list of objects.')
    models = tuple(take(entry, "name", str, f"{where}: models") for entry in entries)
    if not models or len(set(models)) != len(models):
        raise FileFormatError(f'{where}: "models" must be a list of distinct models; got {models}.')
    calibrators = [
        decode(take(entry, "calibrator", Mapping, f'{where}: model "{name}"'), f'{where}: "{name}"')
        for name, entry in zip(models, entries, strict=True)
    ]
    points = tuple(
        _decode_point(point, models, f"{where}: point {number}")
        for number, point in enumerate(take(content, "points", list, where))
    )
    if not points:
        raise FileFormatError(f'{where}: "points" must not be empty.')
    prices = [float(point.prices.error) for point in points]
    if any(high < low for low, high in itertools.pairwise(prices)):
        raise FileFormatError(f"{where}: the points' prices of an error must increase.")
    return Frontier(
        models,
        np.array([_positive(entry, "cost_usd", where) for entry in entries]),
        np.array([_positive(entry, "latency_s", where, default=np.nan) for entry in entries]),
        _stack(calibrators, where),
        points,
        _decode_held_out(take(content, "held_out", (Mapping, type(None)), where), points, where),
        # Files from before there were bands or a reference lack the member.
        _decode_bands(content.get("bands"), len(points), where),
        _decode_reference(content.get("reference"), models, where),
    )


def _stack(calibrators: list[eqx.Module], where: str) -> Calibrator:
    for calibrator in calibrators:
        if not isinstance(calibrator, Calibrator):
            raise FileFormatError(f"{where}: a calibrator is a {type(calibrator).__name__}.")
        if not _is_sound(calibrator):
            raise FileFormatError(
                f"{where}: a calibrator has a value that is missing or not a number, or falls as "
                "the confidence rises."
            )
    try:
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *calibrators)
    except (TypeError, ValueError):
        raise FileFormatError(f"{where}: the calibrators are not all of one kind.") from None


def _is_sound(calibrator: Calibrator) -> bool:
    """Whether all values are finite numbers and the calibrated confidence never falls."""
    leaves = jax.tree.leaves(calibrator)
    if not leaves or not all(isinstance(leaf, jax.Array) for leaf in leaves):
        return False
    if not all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in leaves):
        return False
    try:
        rising = calibrator(jnp.log(jnp.linspace(0.001, 0.999, 101)))
    except TypeError:  # JAX's word for shapes that do not fit each other
        return False
    return bool(jnp.all(jnp.diff(rising) >= -1e-12))


def _decode_point(content: Any, models: Sequence[str], where: str) -> Point:
    if not isinstance(content, Mapping):
        raise FileFormatError(f"{where} must be an object.")
    prices = take(content, "prices", Mapping, where)
    policy = take(content, "policy", Mapping, where)
    rules = {
        name: _decode_rule(rule, models, f'{where}: rule of "{name}"')
        for name, rule in take(policy, "rules", Mapping, where).items()
    }
    start, single = take(policy, "start", str, where), take(content, "best_single", str, where)
    for name in (*rules, start, single):
        if name not in models:
            raise FileFormatError(f'{where} names "{name}", which is not among the models.')
    error = _positive(prices, "error", where)
    if error == 0:
        raise FileFormatError(f'{where}: the price "error" must be above 0.')
    return Point(
        Prices(
            error,
            _positive(prices, "latency", where, default=0.0),
            _positive(prices, "abstention", where, default=np.inf),
        ),
        Policy(start, rules),
        take(content, "kind", str, where),
        _decode_outcome(take(content, "expected", Mapping, where), models, where),
        _decode_outcome(take(content, "training", Mapping, where), models, where),
        single,
    )


def _decode_rule(content: Any, models: Sequence[str], where: str) -> Rule:
    if not isinstance(content, Mapping):
        raise FileFormatError(f"{where} must be an object.")
    breakpoints = take(content, "breakpoints", list, where)
    actions = take(content, "actions", list, where)
    if not all(type(edge) in (int, float) and 0 <= edge <= 1 for edge in breakpoints):
        raise FileFormatError(
            f"{where}: breakpoints must be confidences in [0, 1]; got {breakpoints}."
        )
    for action in actions:
        if action not in ("accept", "abstain", *models):
            raise FileFormatError(
                f'{where}: an action must be "accept", "abstain" or a model; got {action!r}.'
            )
    return Rule(tuple(float(edge) for edge in breakpoints), tuple(actions))


def _decode_outcome(content: Mapping[str, Any], models: Sequence[str], where: str) -> Outcome:
    members = {
        name: np.array(_positive(content, name, where, default=np.nan)) for name in _OUTCOME_MEMBERS
    }
    shares = take(content, "answered_by", Mapping, where)
    answered_by = np.array([_positive(shares, name, where) for name in models])
    probabilities = {name: members[name] for name in ("error", "abstention")}
    for name, value in (*probabilities.items(), *zip(models, answered_by, strict=True)):
        if value > 1 + _ROUNDING:
            raise FileFormatError(f'{where}: "{name}" must be at most 1; it is {value}.')
    return Outcome(**members, answered_by=answered_by)


def _decode_held_out(
    content: Mapping[str, Any] | None, points: Sequence[Point], where: str
) -> HeldOut | None:
    if content is None:
        return None
    columns = []
    *per_point, overall = HeldOut._fields
    for name in per_point:
        values = take(content, name, list, f"{where}: held_out")
        numbers = all(isinstance(value, int | float) for value in values)
        if len(values) != len(points) or not numbers:
            raise FileFormatError(
                f'{where}: held_out "{name}" must be {len(points)} numbers, one per point.'
            )
        columns.append(np.array(values, float))
    policy, single, error = columns
    return HeldOut(policy, single, error, _positive(content, overall, f"{where}: held_out"))


def _decode_bands(content: Any, count: int, where: str) -> Bands | None:
    if content is None:
        return None
    if not isinstance(content, Mapping):
        raise FileFormatError(f'{where}: "bands" must be an object or null.')
    where = f"{where}: bands"
    level = _positive(content, "level", where)
    if not 0 < level < 1:
        raise FileFormatError(f'{where}: "level" must lie between 0 and 1; it is {level}.')
    shares = take(content, "beats_single", list, where)
    widths = {"error": 3, "cost_usd": 3, "loss": 3, "whole_loss": 2}
    try:
        columns = {name: np.array(take(content, name, list, where), float) for name in widths}
        beats_single = np.array([np.nan if share is None else share for share in shares], float)
    except (TypeError, ValueError) as error:
        raise FileFormatError(f"{where}: every member must hold numbers; {error}.") from None
    for name, width in widths.items():
        values = columns[name]
        if values.shape != (count, width) or not np.all(np.diff(values, axis=1) >= 0):
            raise FileFormatError(
                f'{where}: "{name}" must be {count} lists of {width} numbers that do not decrease.'
            )
    if beats_single.shape != (count,) or np.any((beats_single < 0) | (beats_single > 1)):
        raise FileFormatError(
            f'{where}: "beats_single" must be {count} probabilities, or null for single models.'
        )
    return Bands(level, **columns, beats_single=beats_single)


def _decode_reference(content: Any, models: Sequence[str], where: str) -> Reference | None:
    if content is None:
        return None
    if not isinstance(content, Mapping):
        raise FileFormatError(f'{where}: "reference" must be an object or null.')
    scores = []
    for name in models:
        words = take(content, name, str, f"{where}: reference").split()
        try:
            found = np.array(words, float)
        except ValueError as error:
            raise FileFormatError(f'{where}: reference of "{name}": {error}.') from None
        sorted_numbers = np.isfinite(found).all() and np.all(np.diff(found) >= 0)
        if not 0 < found.size <= MOST_SCORES or not sorted_numbers:
            raise FileFormatError(
                f'{where}: reference of "{name}" must be 1 to {MOST_SCORES} numbers that do not '
                f"decrease, with spaces between them; it has {found.size} values."
            )
        scores.append(found)
    unknown = sorted(set(content) - set(models))
    if unknown:
        raise FileFormatError(
            f'{where}: reference names "{unknown[0]}", which is not among the models.'
        )
    return Reference(tuple(scores))


def _positive(
    content: Mapping[str, Any], key: str, where: str, default: float | None = None
) -> float:
    """Reads a number that is not negative; null means the default, where there is one."""
    if default is not None and key in content and content[key] is None:
        return default
    value = take(content, key, (int, float), where)
    if not -_ROUNDING <= value < np.inf:
        raise FileFormatError(f'{where}: "{key}" must be finite and not negative; it is {value}.')
    return float(value)

"""Fitted objects as versioned JSON: readable, reviewable, strictly checked, never pickled."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jaxcascade.calibration import (
    IsotonicCalibrator,
    LogisticCalibrator,
    log_odds,
    log_pair,
    one_sided,
    two_sided,
)
from jaxcascade.cascade.model import CascadeModel
from jaxcascade.copulas import FAMILIES
from jaxcascade.errors import FileFormatError, InvalidInputError
from jaxcascade.marginals import BetaMixture, HistogramLaw, Marginal
from jaxcascade.records import json_value, replaced_file

MODEL_FORMAT, MODEL_VERSION = "jaxcascade.model", 1

# What a file may name. Anything else is refused, so that reading runs no code of the file's.
_CLASSES: dict[str, type[eqx.Module]] = {
    cls.__name__: cls
    for cls in (
        BetaMixture,
        CascadeModel,
        HistogramLaw,
        IsotonicCalibrator,
        LogisticCalibrator,
        Marginal,
        *FAMILIES,
    )
}
_FUNCTIONS: dict[str, Callable] = {
    function.__name__: function for function in (log_odds, log_pair, one_sided, two_sided)
}


def save_model(model: CascadeModel, path: str | PathLike) -> None:
    """Writes a fitted joint model, whole or not at all.

    Args:
        model: Fitted model; leading axes are kept.
        path: File to write, by custom ending in `.json`.

    Raises:
        InvalidInputError: A part of the model is of a kind that files do not hold.
    """
    write_json({"format": MODEL_FORMAT, "version": MODEL_VERSION, "model": encode(model)}, path)


def load_model(path: str | PathLike) -> CascadeModel:
    """Reads what `save_model` wrote.

    Raises:
        FileFormatError: The file is missing, truncated, of another kind or version, or edited
            into something that is not a model.
    """
    content = read_json(path, MODEL_FORMAT, MODEL_VERSION)
    model = decode(take(content, "model", Mapping, str(path)), f"{path}: model")
    if not isinstance(model, CascadeModel):
        raise FileFormatError(f"{path}: `model` must be a CascadeModel; it is a {type(model)}.")
    _check_counts(model, str(path))
    return model


def write_json(content: Mapping[str, Any], path: str | PathLike) -> None:
    """Writes JSON, whole or not at all; infinities and NaN must have been turned to null."""
    with replaced_file(path) as temporary:
        text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
        Path(temporary).write_text(text + "\n", encoding="utf-8")


def read_json(path: str | PathLike, expected_format: str, expected_version: int) -> dict[str, Any]:
    """Reads one of our JSON files and checks what it says it is."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileFormatError(f"There is no file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} cannot be read as text: {error}.") from None
    try:
        content = json_value(text, _refuse_constant)
    except ValueError as error:
        raise FileFormatError(
            f"{path} is not valid JSON: {error}. Was it cut short, or edited by hand?"
        ) from None
    if not isinstance(content, dict) or content.get("format") != expected_format:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise FileFormatError(
            f'{path} must have the "format" "{expected_format}"; it has {json.dumps(found)}.'
        )
    version = content.get("version")
    if type(version) is not int or version != expected_version:
        raise FileFormatError(
            f'{path} must have the "version" {expected_version}, the one this release reads; it '
            f"has {json.dumps(version)}. Make the file anew, or use another release."
        )
    return content


def take(content: Mapping[str, Any], key: str, kind: type | tuple, where: str) -> Any:
    """Returns a member of a JSON object, of the kind that is expected."""
    if key not in content:
        raise FileFormatError(f'{where} lacks the member "{key}".')
    value = content[key]
    wrong_bool = isinstance(value, bool) and kind is not bool
    if not isinstance(value, kind) or wrong_bool:
        wanted = kind if isinstance(kind, tuple) else (kind,)
        names = " or ".join(_JSON_NAMES[k] for k in wanted)
        raise FileFormatError(f'{where}: "{key}" must be {names}; it is {json.dumps(value)[:60]}.')
    return value


_JSON_NAMES = {
    Mapping: "an object",
    list: "a list",
    str: "a string",
    int: "a whole number",
    float: "a number",
    type(None): "null",
    object: "an object or numbers",
}


def encode(module: eqx.Module) -> dict[str, Any]:
    """Turns a fitted object into what JSON can hold; NaN becomes null."""
    if type(module) not in _CLASSES.values():
        raise InvalidInputError(
            f"A {type(module).__name__} cannot be kept in a file; it holds "
            f"{', '.join(sorted(_CLASSES))}."
        )
    content: dict[str, Any] = {"type": type(module).__name__}
    for field in dataclasses.fields(module):
        content[field.name] = _encode_value(getattr(module, field.name))
    return content


def decode(content: Mapping[str, Any], where: str) -> eqx.Module:
    """Builds the fitted object that `encode` described."""
    name = take(content, "type", str, where)
    if name not in _CLASSES:
        known = ", ".join(sorted(_CLASSES))
        raise FileFormatError(f'{where}: "type" must be one of {known}; it is "{name}".')
    cls = _CLASSES[name]
    fields = {field.name: field for field in dataclasses.fields(cls)}
    unknown = sorted(set(content) - set(fields) - {"type"})
    if unknown:
        raise FileFormatError(f'{where}: {name} has no member "{unknown[0]}".')
    values = {}
    for key, field in fields.items():
        read = _decode_static if field.metadata.get("static") else _decode_value
        values[key] = read(take(content, key, object, where), f"{where}.{key}")
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise FileFormatError(f"{where} is not a valid {name}: {error}.") from None


def _encode_value(value: Any) -> Any:
    if isinstance(value, eqx.Module):
        return encode(value)
    if callable(value):
        return value.__name__
    if isinstance(value, tuple):
        return list(value)
    numbers = np.asarray(value, float)
    nested = numbers.astype(object)
    nested[np.isnan(numbers)] = None
    return nested.tolist()


def _decode_value(value: Any, where: str) -> Any:
    """Reads a member that is data: a fitted object, or numbers."""
    if isinstance(value, Mapping):
        return decode(value, where)
    try:
        return jnp.asarray(np.array(value, float))
    except (TypeError, ValueError):
        shown = json.dumps(value)[:60]
        raise FileFormatError(f"{where} must be an array of numbers; it is {shown}.") from None


def _decode_static(value: Any, where: str) -> Any:
    """Reads a member that is structure: the name of a transform, or a list of names."""
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return tuple(value)
    if not isinstance(value, str) or value not in _FUNCTIONS:
        known = ", ".join(sorted(_FUNCTIONS))
        raise FileFormatError(f"{where} must be one of {known}; it is {json.dumps(value)[:60]}.")
    return _FUNCTIONS[value]


def _check_counts(model: CascadeModel, where: str) -> None:
    k = len(model.models)
    marginal, copula = model.marginal, model.copula.tau
    shapes = {"cost_usd": model.cost_usd, "latency_s": model.latency_s, "marginal": marginal.low}
    for name, values in shapes.items():
        if values.ndim == 0 or values.shape[-1] != k:
            raise FileFormatError(
                f"{where}: `{name}` must have {k} values, one per model; it has {values.shape}."
            )
    if copula.shape[-2:] != (k, k):
        raise FileFormatError(
            f"{where}: `copula` must be {k} by {k}, one per pair; it has shape {copula.shape}."
        )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")

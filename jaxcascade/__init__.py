"""Cascades of language models: whom to ask first, when to pass on, when to ask a person.

Names are imported when first used, so that `jaxcascade --help` need not wait for JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jaxcascade._version import __version__

if TYPE_CHECKING:
    from jaxcascade.cascade import (
        CascadeModel,
        Outcome,
        Policy,
        Prices,
        Rule,
        expected_outcome,
        fit_cascade,
    )
    from jaxcascade.errors import JaxcascadeError
    from jaxcascade.posterior import infer
    from jaxcascade.records import Records, example_records, read_records
    from jaxcascade.reports import write_report
    from jaxcascade.tuning import Frontier, evaluate, load_frontier, save_frontier, tune, verdict

_HOME = {
    "CascadeModel": "cascade",
    "Frontier": "tuning",
    "JaxcascadeError": "errors",
    "Outcome": "cascade",
    "Policy": "cascade",
    "Prices": "cascade",
    "Records": "records",
    "Rule": "cascade",
    "evaluate": "tuning",
    "example_records": "records",
    "expected_outcome": "cascade",
    "fit_cascade": "cascade",
    "infer": "posterior",
    "load_frontier": "tuning",
    "read_records": "records",
    "save_frontier": "tuning",
    "tune": "tuning",
    "verdict": "tuning",
    "write_report": "reports",
}

__all__ = [
    "CascadeModel",
    "Frontier",
    "JaxcascadeError",
    "Outcome",
    "Policy",
    "Prices",
    "Records",
    "Rule",
    "__version__",
    "evaluate",
    "example_records",
    "expected_outcome",
    "fit_cascade",
    "infer",
    "load_frontier",
    "read_records",
    "save_frontier",
    "tune",
    "verdict",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'jaxcascade' has no attribute {name!r}")
    return getattr(import_module(f"jaxcascade.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)

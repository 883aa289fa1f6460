"""One direction: a room imports only from rooms above it, and no private name of another."""

import ast
from pathlib import Path

import jax.numpy as jnp
import pytest
from jaxtyping import TypeCheckError

from jaxcascade.marginals import BetaMixture, Marginal
from jaxcascade.numerics import kendall_tau

PACKAGE = Path(__file__).parents[1] / "jaxcascade"
ROOMS = (
    "numerics",
    "records",
    "calibration",
    "marginals",
    "copulas",
    "cascade",
    "tuning",
    "posterior",
    "economics",
    "decisions",
    "selection",
    "collaboration",
    "synthetic",
    "runtime",
    "reports",
    "cli",
)
FREE_TO_ALL = ("errors", "_version")
FILES = sorted(PACKAGE.rglob("*.py"))


def imported(source: str, package: list[str]):
    """Yields (dotted module, names taken from it) for every import, lazy and typing ones too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, []
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module, [alias.name for alias in node.names]


def room_of(file: Path) -> str | None:
    parts = file.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else None


def offences(source: str, room: str, package: list[str]) -> list[str]:
    found = []
    for module, names in imported(source, package):
        parts = module.split(".")
        if parts[0] != "jaxcascade":
            continue
        # `from jaxcascade import tuning` names the room on the right.
        targets = [parts[1:]] if len(parts) > 1 else [[name] for name in names]
        for target in targets:
            other = target[0] if target else ""
            if other in FREE_TO_ALL or other == room:
                continue
            if other not in ROOMS:
                found.append(f"imports {module}, which is no room")
            elif ROOMS.index(other) > ROOMS.index(room):
                found.append(f"imports from {other}, a room below")
            private = [n for n in (*target[1:], *names) if n.startswith("_")]
            found += [f"takes the private {name} from {other}" for name in private]
    return found


@pytest.mark.parametrize(
    "file", [f for f in FILES if room_of(f)], ids=lambda f: str(f.relative_to(PACKAGE))
)
def test_a_room_imports_only_from_rooms_above_it(file):
    room = room_of(file)
    assert room is not None
    package = ["jaxcascade", *file.relative_to(PACKAGE).parts[:-1]]
    assert offences(file.read_text(encoding="utf-8"), room, package) == []


def test_every_folder_is_a_room_and_every_module_outside_is_known():
    folders = {f.parent.name for f in FILES if room_of(f)} - {"jaxcascade"}
    assert folders <= set(ROOMS)
    assert {f.stem for f in FILES if room_of(f) is None} <= {*FREE_TO_ALL, "__init__", "__main__"}


@pytest.mark.parametrize("name", FREE_TO_ALL)
def test_what_is_free_to_all_imports_nothing_of_ours(name):
    source = (PACKAGE / f"{name}.py").read_text(encoding="utf-8")
    assert not [m for m, _ in imported(source, ["jaxcascade"]) if m.startswith("jaxcascade")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("from jaxcascade.tuning import tune", ["imports from tuning, a room below"]),
        ("import jaxcascade.cli.main", ["imports from cli, a room below"]),
        ("from jaxcascade import reports", ["imports from reports, a room below"]),
        ("from ..tuning import tune", ["imports from tuning, a room below"]),
        ("def f():\n    from jaxcascade.tuning import tune", ["imports from tuning, a room below"]),
        (
            "from jaxcascade.marginals.fit import _start",
            ["takes the private _start from marginals"],
        ),
        (
            "from jaxcascade.marginals._hidden import x",
            ["takes the private _hidden from marginals"],
        ),
        ("from jaxcascade.elsewhere import x", ["imports jaxcascade.elsewhere, which is no room"]),
        ("from jaxcascade.cascade.fit import _private_of_its_own", []),
        ("from .fit import anything", []),
        ("from jaxcascade.errors import PolicyError", []),
        ("from jaxcascade.numerics import betainc", []),
        ("import numpy", []),
    ],
)
def test_the_check_sees_each_kind_of_import(line, expected):
    assert offences(line, "cascade", ["jaxcascade", "cascade"]) == expected


def test_shapes_of_kernels_are_checked_while_tests_run():
    """A room that is imported before its check is in place goes unchecked, and nothing says so."""
    with pytest.raises(TypeCheckError):
        kendall_tau(jnp.ones(3))
    with pytest.raises(TypeCheckError):
        Marginal(jnp.zeros(2), *[jnp.zeros(3)] * 3, BetaMixture(*[jnp.ones(2)] * 3))

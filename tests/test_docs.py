"""Pages name what there is, and their links lead somewhere."""

import importlib
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "numerics.md"
# Types of results and interfaces compute nothing themselves.
NO_FUNCTION = {"QuadratureRule", "PanelRule", "CensoredPairs", "Copula", "CopulaFit",
               "FamilyComparison", "GoodnessOfFit", "InteriorLaw", "MarginalFit",
               "MarginalMethod", "BetaMixture", "HistogramLaw"}  # fmt: skip


@pytest.mark.parametrize("room", ["numerics", "marginals", "copulas"])
def test_names_every_function(room):
    told = set(re.findall(r"\w+", PAGE.read_text()))
    public = set(importlib.import_module(f"jaxcascade.{room}").__all__)
    assert public - NO_FUNCTION - told == set()


def test_links_lead_somewhere():
    for page in [*PAGE.parent.glob("*.md"), PAGE.parents[1] / "README.md"]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert "://" in link or (page.parent / link).exists(), f"{page.name}: {link}"


def test_theory_names_what_there_is():
    page = PAGE.parent / "theory.md"
    public = {}
    for room in ("calibration", "cascade", "tuning"):
        home = importlib.import_module(f"jaxcascade.{room}")
        public |= {name: getattr(home, name) for name in home.__all__}
    bounds = {"lower", "upper"}
    named = set(re.findall(r"`(\w+(?:\.\w+)?)`", page.read_text())) - bounds
    assert len(named) > 10
    for name in named - {"jax.grad"}:
        head, _, member = name.partition(".")
        assert head in public, name
        assert not member or hasattr(public[head], member), name

"""The page of domains and errors names everything that the numerical rooms offer."""

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
    if not PAGE.exists():
        pytest.skip("the page is not beside the tests, as in an installed package")
    told = set(re.findall(r"\w+", PAGE.read_text()))
    public = set(importlib.import_module(f"jaxcascade.{room}").__all__)
    assert public - NO_FUNCTION - told == set()


def test_links_lead_somewhere():
    if not PAGE.exists():
        pytest.skip("the page is not beside the tests, as in an installed package")
    for page in [*PAGE.parent.glob("*.md"), PAGE.parents[1] / "README.md"]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert "://" in link or (page.parent / link).exists(), f"{page.name}: {link}"

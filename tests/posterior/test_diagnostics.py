"""Good draws pass, spoilt ones are called what they are."""

import dataclasses
import re
import warnings

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcascade.copulas import Independence
from jaxcascade.errors import InferenceError, PosteriorWarning
from jaxcascade.posterior.diagnostics import diagnose, require_good


def chained(posterior, sites=None, diverging=0):
    """The posterior as if its 200 draws had come from four chains."""
    return dataclasses.replace(
        posterior,
        sites=posterior.sites | (sites or {}),
        num_chains=4,
        method="Nuts",
        diagnostics={"diverging": jnp.arange(200) < diverging},
    )


def shifted(posterior, by: float, site: str = "slope"):
    """One model's slope, one of four chains moved by so many standard deviations."""
    draws = posterior.sites[site]
    moved = jnp.where(jnp.arange(200)[:, None] < 50, by * draws.std(axis=0), 0.0)
    return {site: draws + moved * jnp.array([0.0, 1.0, 0.0])}


def test_laplace_is_judged_block_by_block(posterior):
    found = diagnose(posterior)
    assert found.severity == "good"
    assert list(found.pareto_k) == ["llama3.1-8b", "llama3.1-70b", "gpt-4o", "(labels)"]
    assert max(found.gradient_norm.values()) < 1e-3
    assert "Pareto k" in found.text


def test_good_chains_pass(posterior):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = require_good(chained(posterior))
    assert max(found.r_hat.values()) < 1.05
    assert min(found.ess_bulk.values()) > 100
    assert found.divergences == 0.0


@pytest.mark.parametrize(("by", "severity"), [(0.9, "doubtful"), (12.0, "bad")])
def test_chains_that_disagree(posterior, by, severity):
    found = diagnose(chained(posterior, shifted(posterior, by)))
    assert found.severity == severity
    assert "R-hat of `slope`" in " ".join(found.messages)
    assert found.r_hat["slope"] > 1.05 > found.r_hat["weight"]


def test_chains_that_describe_one_law_by_different_mixtures_are_not_refused(posterior):
    assert diagnose(chained(posterior, shifted(posterior, 12.0, "gap"))).severity == "doubtful"


def test_chains_that_creep(posterior):
    """Draws in the order of their size have next to no effective number."""
    slope = jnp.sort(posterior.sites["slope"], axis=0)
    found = diagnose(
        chained(posterior, {"slope": slope.reshape(50, 4, 3).swapaxes(0, 1).reshape(200, 3)})
    )
    assert found.severity == "bad"
    assert found.ess_bulk["slope"] < 20 < found.ess_bulk["weight"]


def test_divergences(posterior):
    assert diagnose(chained(posterior, diverging=2)).severity == "good"
    found = diagnose(chained(posterior, diverging=3))
    assert found.severity == "doubtful"
    assert "divergent" in found.messages[0]


SPOILT = {
    "no mode": ({"gradient_norm": [0.0, 2.0, 0.0, 0.0]}, "bad", "mode.*llama3.1-70b"),
    "mode of nothing": ({"gradient_norm": [0.0, 0.0, 0.0, np.nan]}, "bad", "labels"),
    "mode missed": ({"gradient_norm": [0.0, 0.2, 0.0, 0.0]}, "doubtful", "mode"),
    "heavy tail": ({"pareto_k": [0.1, 0.2, 1.3, 0.4]}, "doubtful", "gpt-4o"),
    "tail of thirty labels": ({"pareto_k": [0.1, 0.2, 0.95, 0.4]}, "good", ""),
    "falling loss": ({"loss": np.linspace(90.0, 80.0, 300)}, "doubtful", "falling"),
    "level loss": ({"loss": np.sin(np.arange(300.0))}, "good", ""),
    "joint mode": ({"gradient_norm": [3.0]}, "bad", "joint model"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_what_the_method_tells(posterior, case):
    told, severity, words = SPOILT[case]
    told = {name: jnp.asarray(values) for name, values in told.items()}
    found = diagnose(dataclasses.replace(posterior, diagnostics=told))
    assert found.severity == severity
    assert re.search(words, " ".join(found.messages))


def test_nan_draws_are_refused(posterior):
    sites = posterior.sites | {"tau": posterior.sites["tau"].at[3, 1].set(jnp.nan)}
    with pytest.raises(InferenceError, match=r"`tau` are NaN.*`check=False`"):
        require_good(dataclasses.replace(posterior, sites=sites))


def test_seconds_need_not_be_known(posterior):
    sites = posterior.sites | {"latency_s": jnp.full((200, 3), jnp.nan)}
    assert diagnose(dataclasses.replace(posterior, sites=sites)).severity == "good"
    assert diagnose(chained(posterior, sites)).severity == "good"


def test_what_never_varies_is_no_fault(posterior):
    sites = {"tau": jnp.zeros((200, 3))}
    found = diagnose(dataclasses.replace(chained(posterior, sites), family=Independence))
    assert found.severity == "good"
    assert "tau" not in found.r_hat


def test_doubtful_draws_warn(posterior):
    with pytest.warns(PosteriorWarning, match=r"`slope`.*Nuts"):
        require_good(chained(posterior, shifted(posterior, 0.9)))

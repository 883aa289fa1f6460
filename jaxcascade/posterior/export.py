"""A posterior as ArviZ reads it."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jaxtyping import PRNGKeyArray

from jaxcascade._version import __version__
from jaxcascade.posterior.evidence import Evidence
from jaxcascade.posterior.layout import (
    CELL,
    COMPONENT,
    END,
    EVIDENCE,
    FORMAT,
    FRAME,
    MODEL,
    PAIR,
    PER_DRAW,
    SITES,
    VERSION,
    prior_dims,
)
from jaxcascade.posterior.pointwise import log_likelihoods
from jaxcascade.posterior.posterior import Posterior, picked
from jaxcascade.posterior.predictive import prior_sites, replicates

if TYPE_CHECKING:
    import xarray as xr

NUM_PREDICTIVE = 100

Variables = Mapping[str, tuple[tuple[str, ...], Any]]


def to_datatree(
    posterior: Posterior, *, key: PRNGKeyArray | None = None, log_likelihood: bool = True
) -> "xr.DataTree":
    """Lays a posterior out in the groups and names of ArviZ.

    `posterior` has the draws by chain, with dimensions `model`, `pair` ("a > b"), `end` (low,
    between, high) and `component` (lower, higher). `sample_stats` has what NUTS tells of each
    draw; other methods tell theirs in `diagnostics`. `observed_data` has labels and confidences,
    `constant_data` the scale of signals, priors and costs: all that `load_posterior` needs.

    Confidences are on the reference scale, the same for all draws.

    Args:
        posterior: See `infer`.
        key: For draws from the prior and of 100 data sets each that prior and posterior expect
            (groups `prior`, `prior_predictive`, `posterior_predictive`); by default there are
            none. Queries of such a data set are new ones, `new_query`.
        log_likelihood: Whether to tell the log-likelihood of every label (`correct`), confidence,
            and pair of confidences (`dependence`), for leave-one-out cross-validation by
            `arviz_stats.loo(tree, var_name="correct")`. Dimensions are query and model, or query
            and pair. Leave-one-out takes no gaps: where cells are missing, those that there are
            follow one another along `correct_cell`, `confidence_cell` or `dependence_cell`, with
            `..._query` and `..._model` or `..._pair` to tell them. Densities of confidences are
            per unit of place, so they compare posteriors of one calibration.
    """
    import xarray as xr

    groups = {
        "posterior": _draws(posterior, posterior.sites),
        **_diagnostics(posterior),
        "observed_data": _dataset(posterior, _observed(posterior)),
        "constant_data": _dataset(posterior, _constants(posterior)),
    }
    if log_likelihood:
        groups["log_likelihood"] = _log_likelihood_group(posterior)
    if key is not None:
        groups |= _predictive_groups(key, posterior)
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {
        "format": FORMAT,
        "version": VERSION,
        "created_by": f"jaxcascade {__version__}",
        "inference_library": "numpyro",
        "inference_library_version": numpyro.__version__,
        "method": posterior.method,
        "copula": posterior.family.__name__,
        "transform": posterior.frame.transform.__name__,
    }
    return tree


def _dataset(posterior: Posterior, variables: Variables) -> "xr.Dataset":
    """Gives names to the positions along the dimensions that variables have."""
    import xarray as xr

    models = posterior.frame.models
    names = {
        "model": list(models),
        "pair": [f"{models[i]} > {models[j]}" for i, j in posterior.pairs],
        "end": list(END),
        "component": list(COMPONENT),
        "query": np.arange(posterior.evidence.signal.shape[0]),
    }
    used = {dim for dims, _ in variables.values() for dim in dims}
    known = {dim: labels for dim, labels in names.items() if dim in used}
    return xr.Dataset({name: (dims, np.asarray(v)) for name, (dims, v) in variables.items()}, known)


def _draws(
    posterior: Posterior, sites: Mapping[str, Any], dims: Mapping[str, tuple[str, ...]] = SITES
) -> "xr.Dataset":
    """Variables with chains and draws in front."""
    chains = posterior.num_chains
    variables = {
        name: (("chain", "draw", *dims[name]), _by_chain(values, chains))
        for name, values in sites.items()
    }
    dataset = _dataset(posterior, variables)
    return dataset.assign_coords(chain=np.arange(chains), draw=np.arange(dataset.sizes["draw"]))


def _by_chain(values: Any, chains: int) -> np.ndarray:
    values = np.asarray(values)
    return values.reshape(chains, -1, *values.shape[1:])


def _diagnostics(posterior: Posterior) -> dict[str, "xr.Dataset"]:
    """What the method tells: draw by draw, and of the whole."""
    import xarray as xr

    told = posterior.diagnostics
    count = posterior.num_draws
    # Draws may have been thinned since.
    kept = {name: v for name, v in told.items() if name in PER_DRAW and len(v) == count}
    whole = {name: v for name, v in told.items() if name not in PER_DRAW}
    groups = {}
    if kept:
        renamed = {PER_DRAW[name]: values for name, values in kept.items()}
        groups["sample_stats"] = _draws(posterior, renamed, dict.fromkeys(renamed, ()))
    if whole:
        groups["diagnostics"] = xr.Dataset(
            {name: ((f"{name}_part",), np.asarray(values)) for name, values in whole.items()}
        )
    return groups


def _observed(posterior: Posterior) -> Variables:
    evidence, frame = posterior.evidence, posterior.frame
    confidence = np.asarray(frame.confidence(evidence.signal))
    return {
        "correct": (CELL, np.where(evidence.labelled > 0, evidence.correct, np.nan)),
        "confidence": (CELL, np.where(evidence.asked > 0, confidence, np.nan)),
    }


def _constants(posterior: Posterior) -> Variables:
    evidence, frame, priors = posterior.evidence, posterior.frame, posterior.priors
    first, second = np.array(posterior.pairs).T
    return {
        **{written: (CELL, getattr(evidence, name)) for name, written in EVIDENCE.items()},
        **{f"frame_{name}": (MODEL, getattr(frame, name)) for name in FRAME},
        **{f"residual_{name}": (PAIR, v) for name, v in posterior.residuals._asdict().items()},
        "pair_first": (PAIR, first),
        "pair_second": (PAIR, second),
        **{
            f"prior_{field.name}": (prior_dims(field.name), getattr(priors, field.name))
            for field in dataclasses.fields(priors)
        },
    }


def _predictive_groups(key: PRNGKeyArray, posterior: Posterior) -> dict[str, "xr.Dataset"]:
    of_prior, before, after = jax.random.split(key, 3)
    each = max(NUM_PREDICTIVE // posterior.num_chains, 1)
    drawn = posterior.num_draws // posterior.num_chains
    within = np.linspace(0, drawn - 1, min(each, drawn)).round().astype(int)
    rows = (np.arange(posterior.num_chains)[:, None] * drawn + within).reshape(-1)
    prior = prior_sites(of_prior, posterior, NUM_PREDICTIVE)
    alone = dataclasses.replace(posterior, num_chains=1)
    later = _predicted(
        posterior, replicates(after, posterior, picked(posterior.sites, jnp.asarray(rows)))
    )
    return {
        "prior": _draws(alone, prior),
        "prior_predictive": _predicted(alone, replicates(before, posterior, prior)),
        "posterior_predictive": later.assign_coords(draw=within),
    }


def _predicted(posterior: Posterior, drawn: Evidence) -> "xr.Dataset":
    values = {
        "correct": np.asarray(drawn.correct, np.int8),
        "confidence": np.asarray(posterior.frame.confidence(drawn.signal), np.float32),
    }
    return _draws(posterior, values, dict.fromkeys(values, ("new_query", "model")))


def _log_likelihood_group(posterior: Posterior) -> "xr.Dataset":
    evidence = posterior.evidence
    first, second = np.array(posterior.pairs).T
    known = {
        "correct": evidence.labelled > 0,
        "confidence": evidence.asked > 0,
        "dependence": (evidence.asked[:, first] > 0) & (evidence.asked[:, second] > 0),
    }
    terms = {name: np.asarray(v, np.float32) for name, v in log_likelihoods(posterior).items()}
    dims: dict[str, tuple[str, ...]] = {
        name: ("query", "pair" if name == "dependence" else "model") for name in terms
    }
    coordinates = {}
    for name, there in known.items():
        if there.all():
            continue
        query, column = np.nonzero(np.asarray(there))
        terms[name] = terms[name][:, query, column]
        _, kind = dims[name]
        names = _dataset(posterior, {name: ((kind,), np.zeros(there.shape[1]))})[kind].values
        dims[name] = (f"{name}_cell",)
        coordinates[f"{name}_query"] = (dims[name], query)
        coordinates[f"{name}_{kind}"] = (dims[name], names[column])
    return _draws(posterior, terms, dims).assign_coords(coordinates)

"""A posterior as ArviZ reads it, and as a netCDF file."""

import dataclasses
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jaxtyping import Array, Float, PRNGKeyArray

from jaxcascade._version import __version__
from jaxcascade.calibration import log_odds, one_sided, two_sided
from jaxcascade.copulas import (
    CensoredPairs,
    Clayton,
    Copula,
    Frank,
    Gaussian,
    Gumbel,
    Independence,
    Joe,
    SurvivalGumbel,
    censored_log_prob,
)
from jaxcascade.errors import FileFormatError
from jaxcascade.posterior.evidence import Evidence, Frame, pairs_of
from jaxcascade.posterior.model import (
    PairResiduals,
    Sites,
    atom_log_masses,
    levels,
    mixture,
)
from jaxcascade.posterior.posterior import Posterior, picked
from jaxcascade.posterior.predictive import answer_log_odds, prior_sites, replicates
from jaxcascade.posterior.priors import Priors
from jaxcascade.records import replaced_file

if TYPE_CHECKING:
    import xarray as xr

FORMAT, VERSION, SUFFIX = "jaxcascade.posterior", 1, ".nc"
NUM_PREDICTIVE = 100
_BATCH = 20

_MODEL, _PAIR = ("model",), ("pair",)
_CELL = ("query", "model")
_END, _COMPONENT = ("low", "between", "high"), ("lower", "higher")
_SITES: dict[str, tuple[str, ...]] = {
    "intercept_mean": (),
    "intercept_spread": (),
    "slope_mean": (),
    "slope_spread": (),
    "intercept": _MODEL,
    "steepness": _MODEL,
    "slope": _MODEL,
    "atoms": ("model", "end"),
    "weight": _MODEL,
    "low_center": _MODEL,
    "gap": _MODEL,
    "concentration": ("model", "component"),
    "tau": _PAIR,
    "tau_share": _PAIR,
    "history": _PAIR,
    "cost_usd": _MODEL,
    "latency_s": _MODEL,
}
_OPTIONAL = ("tau_share",)  # where dependence was drawn with everything else
_BOUNDS = {
    "intercept_spread": (0.0, np.inf),
    "slope_spread": (0.0, np.inf),
    "slope": (0.0, np.inf),
    "atoms": (0.0, 1.0),
    "weight": (0.0, 1.0),
    "gap": (0.0, np.inf),
    "concentration": (0.0, np.inf),
    "tau": (-1.0, 1.0),
    "tau_share": (0.0, 1.0),
    "cost_usd": (0.0, np.inf),
    "latency_s": (0.0, np.inf),
}
# NumPyro's names of what NUTS tells of each draw, and ArviZ's.
_PER_DRAW = {
    "diverging": "diverging",
    "energy": "energy",
    "num_steps": "n_steps",
    "accept_prob": "acceptance_rate",
}
# What evidence is called in a file; `end` is a dimension there.
_EVIDENCE = {
    "signal": "signal",
    "place": "place",
    "end": "at_end",
    "asked": "asked",
    "labelled": "labelled",
    "cost_usd": "cost_usd",
    "latency_s": "latency_s",
}
_FRAME = ("lowest", "highest", "mean", "scale", "intercept", "slope")
_FAMILIES: dict[str, type[Copula]] = {
    family.__name__: family
    for family in (Clayton, Frank, Gaussian, Gumbel, Independence, Joe, SurvivalGumbel)
}
_TRANSFORMS: dict[str, Callable] = {f.__name__: f for f in (log_odds, one_sided, two_sided)}
_METHODS = ("Laplace", "Nuts", "Variational")

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


def save_posterior(
    posterior: Posterior,
    path: str | PathLike,
    *,
    key: PRNGKeyArray | None = None,
    log_likelihood: bool = False,
) -> None:
    """Writes a posterior as netCDF, whole or not at all, for `load_posterior` and for ArviZ.

    Args:
        posterior: See `infer`.
        path: File to write, ending in `.nc`.
        key: See `to_datatree`.
        log_likelihood: See `to_datatree`.

    Raises:
        FileFormatError: The name ends in something else, the folder does not exist, or the
            posterior is of a calibration or copula that the file cannot name.
    """
    check_name(path)
    for told, known, name in (
        (posterior.frame.transform, _TRANSFORMS, "calibration's signal"),
        (posterior.family, _FAMILIES, "copula"),
    ):
        if known.get(told.__name__) is not told:
            raise FileFormatError(
                f"A posterior file can name these as the {name}: {', '.join(known)}. This one is "
                f"`{told.__name__}`; work with `to_datatree` in memory instead."
            )
    tree = to_datatree(posterior, key=key, log_likelihood=log_likelihood)
    encoding = {
        f"/{name}": {variable: {"zlib": True, "complevel": 1} for variable in group.data_vars}
        for name, group in tree.children.items()
    }
    with replaced_file(path) as temporary:
        tree.to_netcdf(temporary, engine="h5netcdf", encoding=encoding)


def check_name(path: str | PathLike) -> None:
    """Raises `FileFormatError` where a name does not end as that of a posterior file must."""
    if Path(path).suffix.lower() != SUFFIX:
        raise FileFormatError(f'The name of a posterior file must end in {SUFFIX}; got "{path}".')


def _dataset(posterior: Posterior, variables: Variables) -> "xr.Dataset":
    """Gives names to the positions along the dimensions that variables have."""
    import xarray as xr

    models = posterior.frame.models
    names = {
        "model": list(models),
        "pair": [f"{models[i]} > {models[j]}" for i, j in posterior.pairs],
        "end": list(_END),
        "component": list(_COMPONENT),
        "query": np.arange(posterior.evidence.signal.shape[0]),
    }
    used = {dim for dims, _ in variables.values() for dim in dims}
    known = {dim: labels for dim, labels in names.items() if dim in used}
    return xr.Dataset({name: (dims, np.asarray(v)) for name, (dims, v) in variables.items()}, known)


def _draws(
    posterior: Posterior, sites: Mapping[str, Any], dims: Mapping[str, tuple[str, ...]] = _SITES
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
    kept = {name: v for name, v in told.items() if name in _PER_DRAW and len(v) == count}
    whole = {name: v for name, v in told.items() if name not in _PER_DRAW}
    groups = {}
    if kept:
        renamed = {_PER_DRAW[name]: values for name, values in kept.items()}
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
        "correct": (_CELL, np.where(evidence.labelled > 0, evidence.correct, np.nan)),
        "confidence": (_CELL, np.where(evidence.asked > 0, confidence, np.nan)),
    }


def _constants(posterior: Posterior) -> Variables:
    evidence, frame, priors = posterior.evidence, posterior.frame, posterior.priors
    first, second = np.array(posterior.pairs).T
    return {
        **{written: (_CELL, getattr(evidence, name)) for name, written in _EVIDENCE.items()},
        **{f"frame_{name}": (_MODEL, getattr(frame, name)) for name in _FRAME},
        **{f"residual_{name}": (_PAIR, v) for name, v in posterior.residuals._asdict().items()},
        "pair_first": (_PAIR, first),
        "pair_second": (_PAIR, second),
        **{
            f"prior_{field.name}": (_prior_dims(field.name), getattr(priors, field.name))
            for field in dataclasses.fields(priors)
        },
    }


def _prior_dims(name: str) -> tuple[str, ...]:
    return ("end",) if name == "atom_strength" else ()


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


@eqx.filter_jit
def log_likelihoods(posterior: Posterior) -> dict[str, Float[Array, "d n c"]]:
    """Log-likelihood of every cell under every draw; meaningless where there is no cell.

    Returns:
        `correct` and `confidence` of each model, `dependence` of each pair.
    """
    evidence = posterior.evidence
    first, second = np.array(posterior.pairs).T

    def one(sites: Sites) -> dict[str, Array]:
        chance = answer_log_odds(posterior, sites)
        law = mixture(*(sites[name] for name in ("weight", "low_center", "gap", "concentration")))
        density = jax.vmap(lambda law, z: law.log_prob(z), (0, 1), 1)(law, evidence.place)
        low, middle, high = jnp.log(jnp.moveaxis(sites["atoms"], -1, 0))
        atom = jnp.where(evidence.end == 0, low, high)
        u_left, u = levels(evidence, sites)
        counted = atom_log_masses(u_left, u)

        def pair(at: tuple[Array, Array, Array]) -> Array:
            i, j, tau = at
            weight = jnp.ones_like(u[:, i])
            data = CensoredPairs(u_left[:, i], u[:, i], u_left[:, j], u[:, j], weight)
            log_prob = censored_log_prob(posterior.family.from_tau(tau), data)
            return log_prob - counted[:, i] - counted[:, j]

        pairs = (jnp.asarray(first), jnp.asarray(second), sites["tau"])
        return {
            "correct": evidence.correct * chance - jax.nn.softplus(chance),
            "confidence": jnp.where(evidence.inside, middle + density, atom),
            "dependence": jax.lax.map(pair, pairs).T,
        }

    return jax.lax.map(one, posterior.sites, batch_size=_BATCH)


def load_posterior(path: str | PathLike) -> Posterior:
    """Reads what `save_posterior` wrote.

    Args:
        path: A netCDF file.

    Returns:
        The posterior, its draws the same to the last bit.

    Raises:
        FileFormatError: The file is missing, cut short, of another kind or version, or holds what
            no posterior can.
    """
    import xarray as xr

    if not Path(path).is_file():
        raise FileFormatError(f"There is no file {path}.")
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            _check_kind(tree, path)
            names = ("posterior", "sample_stats", "diagnostics", "observed_data", "constant_data")
            groups = {n: tree[n].to_dataset().load() for n in names if n in tree.children}
            attributes = {str(name): value for name, value in tree.attrs.items()}
    except FileFormatError:
        raise
    except Exception as error:  # whatever the reader stumbles upon
        raise FileFormatError(
            f"{path} cannot be read as netCDF: {error}. Was it cut short, or is it of another kind?"
        ) from None
    return _Reader(str(path), groups, attributes).posterior()


def _check_kind(tree: "xr.DataTree", path: str | PathLike) -> None:
    for name, wanted in (("format", FORMAT), ("version", VERSION)):
        found = tree.attrs.get(name)
        if found != wanted:
            raise FileFormatError(
                f"{path} must have the attribute `{name}` {wanted!r}, as `save_posterior` writes "
                f"it; it has {found!r}. Make the file anew, or use the release that wrote it."
            )


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Builds a posterior from what a file holds, and trusts none of it."""

    path: str
    groups: "dict[str, xr.Dataset]"
    attributes: dict[str, Any]

    def posterior(self) -> Posterior:
        models = self._models()
        sites, chains = self._draws()
        first, second = (
            self._array("constant_data", f"pair_{n}", _PAIR) for n in ("first", "second")
        )
        pairs = tuple((int(i), int(j)) for i, j in zip(first, second, strict=True))
        if pairs not in (pairs_of(len(models)), pairs_of(len(models), neighbours=True)):
            raise FileFormatError(
                f"{self.path}: `pair_first` and `pair_second` must list all pairs of the "
                f"{len(models)} models, or all neighbours; they list {pairs}."
            )
        frame = Frame(
            models,
            self._named("transform", _TRANSFORMS),
            *(self._finite("constant_data", f"frame_{name}", _MODEL) for name in _FRAME),
        )
        for name, positive in (("scale", frame.scale), ("slope", frame.slope)):
            self._require(np.all(np.asarray(positive) > 0), f"frame_{name}", "must be above 0")
        residuals = (
            self._finite("constant_data", f"residual_{name}", _PAIR)
            for name in PairResiduals._fields
        )
        return Posterior(
            frame,
            self._priors(),
            self._named("copula", _FAMILIES),
            pairs,
            PairResiduals(*residuals),
            sites,
            self._evidence(),
            chains,
            self._named("method", {name: name for name in _METHODS}),
            self._told(),
        )

    def _models(self) -> tuple[str, ...]:
        models = tuple(map(str, self._array("constant_data", "frame_mean", _MODEL).model.values))
        distinct = len(set(models)) == len(models) >= 2
        self._require(distinct, "model", f"must name two models or more, each once; got {models}")
        return models

    def _draws(self) -> tuple[Sites, int]:
        sites = {}
        group = self._group("posterior")
        unknown = sorted(set(map(str, group.data_vars)) - set(_SITES))
        self._require(not unknown, "posterior", f"has unknown variables: {', '.join(unknown)}")
        for name, dims in _SITES.items():
            if name in _OPTIONAL and name not in group:
                continue
            values = self._array("posterior", name, ("chain", "draw", *dims)).values
            known = ~np.isnan(values) if name == "latency_s" else np.ones(values.shape, bool)
            low, high = _BOUNDS.get(name, (-np.inf, np.inf))
            usable = np.isfinite(values) & (values >= low) & (values <= high)
            self._require(
                np.all(usable[known]), name, f"must hold numbers from {low:g} to {high:g}"
            )
            sites[name] = jnp.asarray(values.reshape(-1, *values.shape[2:]))
        return sites, group.sizes["chain"]

    def _priors(self) -> Priors:
        values = {}
        for field in dataclasses.fields(Priors):
            dims = _prior_dims(field.name)
            found = np.asarray(self._finite("constant_data", f"prior_{field.name}", dims))
            values[field.name] = tuple(found.tolist()) if dims else float(found)
        return Priors(**values)

    def _evidence(self) -> Evidence:
        cells = {
            name: jnp.asarray(self._array("constant_data", written, _CELL).values)
            for name, written in _EVIDENCE.items()
        }
        correct = self._array("observed_data", "correct", _CELL).values
        return Evidence(**cells, correct=jnp.asarray(np.nan_to_num(correct)))

    def _told(self) -> dict[str, Array]:
        told = {}
        stats = self.groups.get("sample_stats", {})
        for name, written in _PER_DRAW.items():
            if written in stats:
                found = self._array("sample_stats", written, ("chain", "draw")).values
                told[name] = jnp.asarray(found.reshape(-1))
        for name, values in self.groups.get("diagnostics", {}).items():
            told[str(name)] = jnp.asarray(values.values)
        return told

    def _group(self, name: str) -> "xr.Dataset":
        if name not in self.groups:
            raise FileFormatError(f"{self.path} lacks the group `{name}`.")
        return self.groups[name]

    def _array(self, group: str, name: str, dims: tuple[str, ...]) -> "xr.DataArray":
        dataset = self._group(group)
        if name not in dataset.data_vars:
            raise FileFormatError(f"{self.path} lacks `{name}` in the group `{group}`.")
        found = dataset[name]
        if found.dims != dims or found.dtype.kind not in "biuf":
            raise FileFormatError(
                f"{self.path}: `{name}` in the group `{group}` must hold numbers by "
                f"{dims or 'nothing'}; it holds {found.dtype} by {found.dims}."
            )
        return found

    def _finite(self, group: str, name: str, dims: tuple[str, ...]) -> Float[Array, "..."]:
        values = self._array(group, name, dims).values
        self._require(np.all(np.isfinite(values)), name, "must hold finite numbers")
        return jnp.asarray(values)

    def _named(self, attribute: str, known: Mapping[str, Any]) -> Any:
        found = str(self.attributes.get(attribute))
        if found not in known:
            raise FileFormatError(
                f"{self.path}: the attribute `{attribute}` must be one of {', '.join(known)}; it "
                f"is {found!r}."
            )
        return known[found]

    def _require(self, holds: Any, name: str, rule: str) -> None:
        if not holds:
            raise FileFormatError(f"{self.path}: `{name}` {rule}.")

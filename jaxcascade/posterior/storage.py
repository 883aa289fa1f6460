"""A posterior as a netCDF file."""

import dataclasses
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxcascade.calibration import log_odds, one_sided, two_sided
from jaxcascade.copulas import FAMILIES, Copula
from jaxcascade.errors import FileFormatError
from jaxcascade.posterior.evidence import Evidence, Frame, pairs_of
from jaxcascade.posterior.export import to_datatree
from jaxcascade.posterior.layout import (
    BOUNDS,
    CELL,
    EVIDENCE,
    FORMAT,
    FRAME,
    MODEL,
    OPTIONAL,
    PAIR,
    PER_DRAW,
    SITES,
    VERSION,
    prior_dims,
)
from jaxcascade.posterior.model import PairResiduals, Sites
from jaxcascade.posterior.posterior import Posterior
from jaxcascade.posterior.priors import Priors
from jaxcascade.records import replaced_file

if TYPE_CHECKING:
    import xarray as xr

SUFFIX = ".nc"
_FAMILIES: dict[str, type[Copula]] = {family.__name__: family for family in FAMILIES}
_TRANSFORMS: dict[str, Callable] = {f.__name__: f for f in (log_odds, one_sided, two_sided)}
_METHODS = ("Laplace", "Nuts", "Variational")


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
    # Spoilt bytes make HDF5, h5netcdf and xarray raise errors of a dozen kinds, none of them ours.
    except Exception as error:
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
            self._array("constant_data", f"pair_{n}", PAIR) for n in ("first", "second")
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
            *(self._finite("constant_data", f"frame_{name}", MODEL) for name in FRAME),
        )
        for name, positive in (("scale", frame.scale), ("slope", frame.slope)):
            self._require(np.all(np.asarray(positive) > 0), f"frame_{name}", "must be above 0")
        residuals = (
            self._finite("constant_data", f"residual_{name}", PAIR)
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
        models = tuple(map(str, self._array("constant_data", "frame_mean", MODEL).model.values))
        distinct = len(set(models)) == len(models) >= 2
        self._require(distinct, "model", f"must name two models or more, each once; got {models}")
        return models

    def _draws(self) -> tuple[Sites, int]:
        sites = {}
        group = self._group("posterior")
        unknown = sorted(set(map(str, group.data_vars)) - set(SITES))
        self._require(not unknown, "posterior", f"has unknown variables: {', '.join(unknown)}")
        for name, dims in SITES.items():
            if name in OPTIONAL and name not in group:
                continue
            values = self._array("posterior", name, ("chain", "draw", *dims)).values
            known = ~np.isnan(values) if name == "latency_s" else np.ones(values.shape, bool)
            low, high = BOUNDS.get(name, (-np.inf, np.inf))
            usable = np.isfinite(values) & (values >= low) & (values <= high)
            self._require(
                np.all(usable[known]), name, f"must hold numbers from {low:g} to {high:g}"
            )
            sites[name] = jnp.asarray(values.reshape(-1, *values.shape[2:]))
        return sites, group.sizes["chain"]

    def _priors(self) -> Priors:
        values = {}
        for field in dataclasses.fields(Priors):
            dims = prior_dims(field.name)
            found = np.asarray(self._finite("constant_data", f"prior_{field.name}", dims))
            values[field.name] = tuple(found.tolist()) if dims else float(found)
        return Priors(**values)

    def _evidence(self) -> Evidence:
        cells = {
            name: jnp.asarray(self._array("constant_data", written, CELL).values)
            for name, written in EVIDENCE.items()
        }
        correct = self._array("observed_data", "correct", CELL).values
        return Evidence(**cells, correct=jnp.asarray(np.nan_to_num(correct)))

    def _told(self) -> dict[str, Array]:
        told = {}
        stats = self.groups.get("sample_stats", {})
        for name, written in PER_DRAW.items():
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

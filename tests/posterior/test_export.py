"""DataTree and netCDF: the right groups and names, the same numbers, nothing else let in."""

import dataclasses
import shutil

import equinox as eqx
import h5netcdf
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

# Re-exported without an `__all__`, which pyright takes for private.
from arviz_stats import loo, summary  # pyright: ignore[reportPrivateImportUsage]

from jaxcascade.calibration import log_pair
from jaxcascade.cascade import Prices
from jaxcascade.errors import FileFormatError
from jaxcascade.posterior import frontier_draws, load_posterior, save_posterior, to_datatree


@pytest.fixture(scope="module")
def tree(posterior):
    return to_datatree(posterior)


@pytest.fixture(scope="module")
def saved(posterior, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "posterior.nc"
    save_posterior(posterior, path)
    return path


def test_groups_have_the_models_names(posterior, tree):
    assert set(tree.children) == {
        *("posterior", "diagnostics", "observed_data", "constant_data", "log_likelihood")
    }
    assert dict(tree.posterior.sizes) == {
        "chain": 1, "draw": 200, "model": 3, "end": 3, "component": 2, "pair": 3
    }  # fmt: skip
    assert tree.posterior.pair.values[1] == "llama3.1-8b > gpt-4o"
    named = tree.posterior.intercept.sel(model="gpt-4o").values[0]
    np.testing.assert_array_equal(named, posterior.sites["intercept"][:, 2])
    assert tree.attrs["method"] == "Laplace"


def test_chains_come_apart(posterior):
    two = dataclasses.replace(
        posterior,
        num_chains=2,
        method="Nuts",
        diagnostics={"diverging": jnp.arange(200) == 130, "num_steps": jnp.arange(200)},
    )
    tree = to_datatree(two, log_likelihood=False)
    np.testing.assert_array_equal(tree.posterior.tau.values[1], posterior.sites["tau"][100:])
    assert tree.sample_stats.diverging.values.nonzero()[1].tolist() == [30]
    assert tree.sample_stats.n_steps.values[1, 0] == 100


def test_log_likelihood_of_labels_is_scipys(posterior, tree):
    odds = tree.posterior.intercept + tree.posterior.slope * tree.constant_data.signal
    chance = 1.0 / (1.0 + np.exp(-odds))
    answers = tree.observed_data.correct.values[None, None]
    expected = scipy.stats.bernoulli.logpmf(
        answers, chance.transpose("chain", "draw", "query", "model").values
    )
    np.testing.assert_allclose(tree.log_likelihood.correct.values, expected, rtol=1e-5, atol=1e-6)


def test_log_likelihood_of_confidences_is_scipys(posterior, tree):
    draw, j = 17, 1
    at = {name: np.asarray(values)[draw, j] for name, values in posterior.sites.items()
          if name in ("atoms", "weight", "low_center", "gap", "concentration")}  # fmt: skip
    centers = scipy.special.expit(at["low_center"] + np.array([0.0, at["gap"]]))
    place, end = (np.asarray(part)[:, j] for part in posterior.evidence[1:3])
    shapes = (at["concentration"] * centers, at["concentration"] * (1.0 - centers))
    density = scipy.stats.beta.pdf(place[:, None], *shapes) @ [at["weight"], 1.0 - at["weight"]]
    expected = np.log(np.where(end == 1, at["atoms"][1] * density, at["atoms"][end]))
    found = tree.log_likelihood.confidence.values[0, draw, :, j]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_independent_models_have_no_dependence_to_tell(posterior):
    """Where tau is zero, a pair adds nothing to what its two margins say, on atoms or off."""
    alone = eqx.tree_at(lambda p: p.sites["tau"], posterior, jnp.full((200, 3), 1e-9))
    found = to_datatree(alone).log_likelihood.dependence.values
    assert not np.asarray(posterior.evidence.inside).all()
    np.testing.assert_allclose(found, 0.0, atol=1e-5)


@pytest.mark.parametrize("name", ["correct", "confidence", "dependence"])
@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
def test_leave_one_out(tree, name):
    found = loo(tree, var_name=name, pointwise=True)
    assert found.n_data_points == 360
    assert found.p > 1.0
    assert float((found.pareto_k > 0.7).mean()) < 0.03


def test_summary_reads_it(tree):
    table = summary(tree, round_to="none")
    assert table.loc["slope[gpt-4o]", "mean"] > 0
    assert table.loc["tau[llama3.1-8b > gpt-4o]", "ess_bulk"] > 20


@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
def test_missing_cells_leave_no_gaps(posterior):
    """Leave-one-out takes neither NaN nor zeros."""
    where = (5, 1)
    holes = posterior.evidence._replace(
        asked=posterior.evidence.asked.at[where].set(0.0),
        labelled=posterior.evidence.labelled.at[where].set(0.0).at[7, 2].set(0.0),
    )
    tree = to_datatree(dataclasses.replace(posterior, evidence=holes))
    assert np.argwhere(np.isnan(tree.observed_data.correct.values)).tolist() == [[5, 1], [7, 2]]
    assert np.argwhere(np.isnan(tree.observed_data.confidence.values)).tolist() == [[5, 1]]
    group = tree.log_likelihood
    assert dict(group.sizes) | {"correct_cell": 358, "confidence_cell": 359,
                                "dependence_cell": 358} == dict(group.sizes)  # fmt: skip
    cells = set(zip(group.correct_query.values.tolist(), group.correct_model.values, strict=True))
    assert (7, "gpt-4o") not in cells
    assert (7, "llama3.1-70b") in cells
    whole = to_datatree(posterior).log_likelihood.correct.values[0]
    np.testing.assert_array_equal(group.correct.values[0, :, 15], whole[:, 5, 0])
    for name in ("correct", "confidence", "dependence"):
        assert np.isfinite(loo(tree, var_name=name).elpd)


def test_round_trip_is_exact(posterior, saved):
    read = load_posterior(saved)
    assert jax.tree.structure(read) == jax.tree.structure(posterior)
    for one, other in zip(jax.tree.leaves(posterior), jax.tree.leaves(read), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.slow
def test_what_was_read_back_works(posterior, saved):
    read = load_posterior(saved)
    prices = Prices(np.array([0.001, 0.01]), 0.0, np.inf)
    before, after = (frontier_draws(p, prices, num_cells=16) for p in (posterior, read))
    np.testing.assert_array_equal(before.loss, after.loss)


def test_odd_names_and_missing_seconds(posterior, tmp_path):
    odd = eqx.tree_at(
        lambda p: p.sites["latency_s"], posterior, jnp.full((200, 3), jnp.nan).at[:, 1].set(2.0)
    )
    frame = dataclasses.replace(odd.frame, models=("a > b", 'c, "d"', "größer"))
    odd = dataclasses.replace(odd, frame=frame)
    save_posterior(odd, tmp_path / "odd.nc")
    read = load_posterior(tmp_path / "odd.nc")
    assert read.frame.models == frame.models
    np.testing.assert_array_equal(read.sites["latency_s"], odd.sites["latency_s"])


@pytest.mark.slow
def test_with_predictions_it_reads_back_too(posterior, tmp_path):
    path = tmp_path / "all.nc"
    save_posterior(posterior, path, key=jax.random.key(1), log_likelihood=True)
    np.testing.assert_array_equal(load_posterior(path).sites["tau"], posterior.sites["tau"])
    tree = to_datatree(posterior, key=jax.random.key(1))
    assert tree.prior.sizes["draw"] == 100
    assert tree.prior_predictive.correct.shape == (1, 100, 120, 3)
    share = tree.posterior_predictive.correct.mean(("chain", "draw", "new_query"))
    np.testing.assert_allclose(share, tree.observed_data.correct.mean("query"), atol=0.05)
    assert set(tree.posterior_predictive.draw.values) <= set(tree.posterior.draw.values)


def edited(saved, tmp_path, edit):
    path = tmp_path / "edited.nc"
    shutil.copy(saved, path)
    with h5netcdf.File(path, "r+") as file:
        edit(file)
    return path


def put(group, name, at, value):
    def edit(file):
        file[group].variables[name][at] = value

    return edit


def describe(name, value):
    def edit(file):
        file.attrs[name] = value

    return edit


EDITS = {
    "another format": (describe("format", "recipe"), "`format`"),
    "another version": (describe("version", 2), "`version`"),
    "unknown copula": (describe("copula", "Magic"), "`copula`.*Gumbel"),
    "unknown signal": (describe("transform", "guess"), "`transform`"),
    "unknown method": (describe("method", "oracle"), "`method`"),
    "draw that is no number": (put("posterior", "tau", (0, 3, 1), np.nan), "`tau`"),
    "share above one": (put("posterior", "weight", (0, 3, 1), 1.5), "`weight`.*from 0 to 1"),
    "scale of nothing": (put("constant_data", "frame_scale", 1, 0.0), "`frame_scale`"),
    "pairs that are none": (put("constant_data", "pair_second", 0, 0), "`pair_second`"),
    "two of a name": (put("constant_data", "model", 1, "gpt-4o"), "`model`"),
    "prior of no size": (put("constant_data", "residual_scale", 1, np.inf), "`residual_scale`"),
    "group gone": (lambda file: file._h5group.__delitem__("observed_data"), "`observed_data`"),
    "variable gone": (lambda f: f._h5group["posterior"].__delitem__("gap"), "`gap`"),
}


@pytest.mark.parametrize("case", EDITS)
def test_edited_files_are_refused(saved, tmp_path, case):
    edit, word = EDITS[case]
    with pytest.raises(FileFormatError, match=word):
        load_posterior(edited(saved, tmp_path, edit))


def test_damaged_files_are_refused(saved, tmp_path):
    with pytest.raises(FileFormatError, match="no file"):
        load_posterior(tmp_path / "nowhere.nc")
    path = tmp_path / "cut.nc"
    for content in (saved.read_bytes()[:5000], b"", b"not a file of numbers"):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match="cannot be read as netCDF"):
            load_posterior(path)


def test_what_cannot_be_written(posterior, tmp_path):
    with pytest.raises(FileFormatError, match=r"end in \.nc"):
        save_posterior(posterior, tmp_path / "posterior.json")
    with pytest.raises(FileFormatError, match="no folder"):
        save_posterior(posterior, tmp_path / "no" / "posterior.nc")
    frame = dataclasses.replace(posterior.frame, transform=log_pair)
    with pytest.raises(FileFormatError, match="log_pair"):
        save_posterior(dataclasses.replace(posterior, frame=frame), tmp_path / "p.nc")
    assert list(tmp_path.iterdir()) == []

"""What the answers owe to the priors."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from jaxcascade.cascade import PolicyArrays, Prices, loss
from jaxcascade.errors import InvalidInputError
from jaxcascade.posterior.frontiers import bayes_frontier, policy_draws
from jaxcascade.posterior.inference import Laplace, Method, infer_evidence
from jaxcascade.posterior.posterior import Posterior
from jaxcascade.posterior.priors import Priors


class Sensitivity(NamedTuple):
    """How answers change with one hyperparameter at a time; leading axis of changes.

    The first change is none at all but another key: what differs there is noise of the draws.

    Attributes:
        changes: Name of the hyperparameter and its factor; `("", 1.0)` for another key.
        shift: Largest change of a parameter's posterior mean, in its posterior standard
            deviations, by site.
        spread: Largest ratio of its standard deviations, or its inverse, by site.
        loss: Relative change in the median loss of the Bayes-optimal policy, by price.
        regret: What the policy that is Bayes-optimal after the change loses more than the one
            before, in the eyes of the unchanged posterior, relative to that loss, by price.
        thresholds: The policies' thresholds after the change, NaN where a model does not pass on.
    """

    changes: tuple[tuple[str, float], ...]
    shift: dict[str, Float[np.ndarray, " c"]]
    spread: dict[str, Float[np.ndarray, " c"]]
    loss: Float[np.ndarray, "c p"]
    regret: Float[np.ndarray, "c p"]
    thresholds: Float[np.ndarray, "c p k"]

    def worst(self, count: int = 5) -> list[tuple[str, float, float]]:
        """The changes with the most regret: name, factor, and mean regret over the prices."""
        mean = self.regret.mean(axis=1)
        order = np.argsort(-mean[1:])[:count] + 1
        return [(*self.changes[row], float(mean[row])) for row in order]


def sensitivity(
    key: PRNGKeyArray,
    posterior: Posterior,
    prices: Prices,
    *,
    names: Sequence[str] | None = None,
    factors: Sequence[float] = (0.5, 2.0),
    method: Method | None = None,
    num_cells: int = 48,
) -> Sensitivity:
    """Infers again with each hyperparameter of the priors multiplied by some factors.

    Scales are narrowed and widened, strengths weakened and strengthened, `slope_center` and
    `concentration_center` moved. Hyperparameters are arguments of one compiled program, and all
    changes share their random numbers.

    Args:
        key: Draws.
        posterior: Whose records, priors and family to take.
        prices: As in `bayes_frontier`.
        names: Hyperparameters to change; all by default.
        factors: What to multiply them by.
        method: How to draw; Laplace with 400 draws by default.
        num_cells: Cells of the grid of thresholds.

    Raises:
        InvalidInputError: A name is none of a hyperparameter, or a factor is not above 0.
    """
    _check(names, factors)
    method = Laplace(num_draws=400) if method is None else method
    first, other = jax.random.split(key)
    changed = [("", 1.0, other, posterior.priors)]
    for name, factor, priors in _changes(posterior.priors, names, factors):
        changed.append((name, factor, first, priors))
    base = _inferred(first, posterior, posterior.priors, method)
    before = bayes_frontier(base, prices, num_cells=num_cells)
    expected, median = (np.asarray(part(before.loss, axis=0)) for part in (jnp.mean, jnp.median))
    rows = []
    for _, _, key, priors in changed:
        one = _inferred(key, posterior, priors, method)
        after = bayes_frontier(one, prices, num_cells=num_cells)
        seen = policy_draws(base, after.policies, num_cells=num_cells)
        regret = np.asarray(loss(seen, prices)).mean(axis=0) / expected - 1.0
        moved = np.median(np.asarray(after.loss), axis=0) / median - 1.0
        rows.append((_moved(base, one), moved, regret, _thresholds(after.policies)))
    movements, moved, regret, thresholds = zip(*rows, strict=True)
    shift, spread = (
        {name: np.array([one[name][part] for one in movements]) for name in base.sites}
        for part in (0, 1)
    )
    return Sensitivity(
        tuple((name, factor) for name, factor, *_ in changed),
        shift,
        spread,
        np.stack(moved),
        np.stack(regret),
        np.stack(thresholds),
    )


def _inferred(key: PRNGKeyArray, told: Posterior, priors: Priors, method: Method) -> Posterior:
    # As arrays, hyperparameters are data of the compiled programs, not part of them.
    priors = jax.tree.map(lambda value: jnp.asarray(value, float), priors)
    k = len(told.frame.models)
    return infer_evidence(
        key,
        told.frame,
        told.evidence,
        method=method,
        priors=priors,
        copula=told.family,
        neighbours=len(told.pairs) < k * (k - 1) // 2,
        coupled="tau_share" in told.sites,
    )


def _changes(
    priors: Priors, names: Sequence[str] | None, factors: Sequence[float]
) -> Iterator[tuple[str, float, Priors]]:
    for name in _NAMES if names is None else names:
        for factor in factors:
            value = jax.tree.map(lambda part, f=factor: f * part, getattr(priors, name))
            yield name, float(factor), dataclasses.replace(priors, **{name: value})


_NAMES = tuple(field.name for field in dataclasses.fields(Priors))


def _moved(base: Posterior, one: Posterior) -> dict[str, tuple[float, float]]:
    """Largest shift of a mean in standard deviations, and ratio of these, by site."""
    found = {}
    for name, draws in base.sites.items():
        before, after = np.asarray(draws), np.asarray(one.sites[name])
        scale, now = before.std(axis=0), after.std(axis=0)
        varies = (scale > 0) & (now > 0)
        safe = np.where(varies, scale, 1.0)
        shift = np.where(varies, np.abs(after.mean(axis=0) - before.mean(axis=0)) / safe, 0.0)
        ratio = np.where(varies, np.abs(np.log(np.where(varies, now, 1.0) / safe)), 0.0)
        found[name] = (float(shift.max()), float(np.exp(ratio.max())))
    return found


def _thresholds(policies: PolicyArrays) -> Float[np.ndarray, "p k"]:
    edges = np.asarray(policies.breakpoints)[:, :, 0]
    passes = np.asarray(policies.actions)[:, :, 0] >= 0
    return np.where(passes, edges, np.nan)


def _check(names: Sequence[str] | None, factors: Sequence[float]) -> None:
    unknown = [name for name in names or () if name not in _NAMES]
    if unknown:
        raise InvalidInputError(
            f'`names` must be hyperparameters of `Priors`: {", ".join(_NAMES)}; got "{unknown[0]}".'
        )
    if not len(factors) or not all(0 < factor < np.inf for factor in factors):
        raise InvalidInputError(f"`factors` must be numbers above 0; got {tuple(factors)}.")

"""Draws of the joint model, as one object that gives joint models with a leading draw axis."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcascade.cascade import CascadeModel
from jaxcascade.copulas import Copula
from jaxcascade.errors import InvalidInputError
from jaxcascade.marginals import Marginal, Recalibrated
from jaxcascade.posterior.evidence import Evidence, Frame
from jaxcascade.posterior.model import PairResiduals, Sites, mixture
from jaxcascade.posterior.priors import Priors


class Posterior(eqx.Module):
    """Draws from the posterior of everything that the joint model does not know for sure.

    Attributes:
        frame: What all draws share: the scale of signals, supports, prices of calls.
        priors: What was believed before.
        family: Family of the copulas.
        pairs: Positions of the models of each pair, the earlier first.
        residuals: What `history` is measured on.
        sites: Values by name, one row per draw; chains one after the other. Per model:
            `intercept` and `slope` of the log-odds of being right in the standardised signal,
            `atoms` (lowest, between, highest), and of the mixture between them the lower
            component's `weight`, the log-odds `low_center` of its mean, the `gap` to the other's,
            and both `concentration`. Per pair: `tau`, and `history`, what a standard deviation
            of the earlier model's signal adds to the log-odds of the later one's being right.
            And the mean `cost_usd` and `latency_s` of each model's calls.
        evidence: The records that it was learnt from.
        num_chains: Chains that the draws came from.
        method: How they were made.
        diagnostics: What there is to say about how well; see `Diagnostics`.
    """

    frame: Frame
    priors: Priors
    family: type[Copula] = eqx.field(static=True)
    pairs: tuple[tuple[int, int], ...] = eqx.field(static=True)
    residuals: PairResiduals
    sites: Sites
    evidence: Evidence
    num_chains: int = eqx.field(static=True)
    method: str = eqx.field(static=True)
    diagnostics: dict[str, Array]

    @property
    def num_draws(self) -> int:
        """Number of draws, of all chains together."""
        return self.sites["slope"].shape[0]

    def thin(self, num_draws: int) -> "Posterior":
        """Keeps so many draws, evenly spread; chains are not told apart any more.

        Raises:
            InvalidInputError: There are not that many, or none is asked for.
        """
        if not 1 <= num_draws <= self.num_draws:
            raise InvalidInputError(
                f"`num_draws` must be from 1 to {self.num_draws}, the draws there are; got "
                f"{num_draws}."
            )
        rows = np.linspace(0, self.num_draws - 1, num_draws).round().astype(int)
        sites = jax.tree.map(lambda leaf: leaf[rows], self.sites)
        return dataclasses.replace(self, sites=sites, num_chains=1)

    def tau_of(self, sites: Sites) -> Float[Array, "k k"]:
        """Kendall's tau of every pair, for the values of one draw.

        Where only neighbours were fitted, others follow from the chain between them, as they
        would for normal copulas.
        """
        return _matrix(sites["tau"], self.pairs, len(self.frame.models))

    def history_of(self, sites: Sites) -> tuple[Float[Array, "k k"], Float[Array, "k k"]]:
        """What model j's signal adds to the log-odds of model l's being right, at [j, l].

        Returns:
            Matrices a and b: the log-odds change by `a (signal of j - b signal of l)`.
        """
        first, second = np.array(self.pairs).T
        k = len(self.frame.models)
        shift = sites["history"] / self.residuals.scale
        blank = jnp.zeros((k, k))
        return blank.at[first, second].set(shift), blank.at[first, second].set(self.residuals.slope)

    def models(self) -> CascadeModel:
        """Returns a joint model with a leading axis of draws, for `vmap` and `spread_stopping`."""
        return jax.vmap(self._model)(self.sites)

    def mean_model(self) -> CascadeModel:
        """Returns the joint model at the mean of the draws, a single one."""
        return self._model(jax.tree.map(lambda leaf: leaf.mean(axis=0), self.sites))

    def _model(self, sites: Sites) -> CascadeModel:
        frame = self.frame
        intercept, slope = sites["intercept"], sites["slope"]
        lowest, highest = (jax.nn.sigmoid(intercept + slope * end) for end in frame.signal_range)
        # Where all confidences are the same, there is but one atom.
        apart = highest > lowest
        low, _, high = jnp.moveaxis(sites["atoms"], -1, 0)
        law = mixture(*(sites[name] for name in ("weight", "low_center", "gap", "concentration")))
        ratio, (lower, upper) = slope / frame.slope, frame.support
        marginal = Marginal(
            lowest,
            highest,
            jnp.where(apart, low, 0.0),
            jnp.where(apart, high, 1.0),
            Recalibrated(law, lower, upper, intercept - ratio * frame.intercept, ratio),
        )
        return CascadeModel(
            frame.models,
            sites["cost_usd"],
            sites["latency_s"],
            frame.calibrator(intercept, slope),
            marginal,
            self.family.from_tau(self.tau_of(sites)),
        )


def _matrix(
    tau: Float[Array, " pairs"], pairs: tuple[tuple[int, int], ...], k: int
) -> Float[Array, "k k"]:
    first, second = np.array(pairs).T
    blank = jnp.zeros((k, k))
    matrix = blank.at[first, second].set(tau)
    if len(pairs) < k * (k - 1) // 2:
        # Correlations of a normal chain multiply; tau = 2 arcsin(rho) / pi.
        steps = jnp.sin(0.5 * jnp.pi * jnp.stack([matrix[j, j + 1] for j in range(k - 1)]))
        for i in range(k):
            for j in range(i + 2, k):
                far = 2.0 / jnp.pi * jnp.arcsin(jnp.prod(steps[i:j]))
                matrix = matrix.at[i, j].set(far)
    return matrix + matrix.T


def picked(sites: Sites, at: Int[Array, "..."] | int) -> Sites:
    """Returns the values of some draws."""
    return jax.tree.map(lambda leaf: leaf[at], sites)

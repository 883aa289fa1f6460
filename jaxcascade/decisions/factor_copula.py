"""Raters of whom each has its own law of levels in each state, tied by copulas to one factor."""

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float, Int

from jaxcascade.copulas import Copula, Gaussian
from jaxcascade.decisions.levels import (
    NORMAL_LOG_WEIGHTS,
    NORMAL_NODES,
    LevelModel,
    levels_of_belief,
)
from jaxcascade.decisions.rater_model import Sites

_SMALLEST = 1e-30


class FactorCopula(LevelModel):
    """Levels of belief with free margins in both states, and a one-factor copula between raters.

    Given the truth, a rater says level l or less with probability F(l), which is learnt as it is;
    given the factor u, uniform, with probability h(u, F(l)), the h-function of a copula whose
    Kendall's tau is the rater's own. It assumes less of margins than `EchoModel` does, and so
    needs labels.

    Attributes:
        num_levels: Levels that belief in the second of two states is cut into, evenly.
        copula: Family between each rater and the factor.
        margin_strength: Items that the law of levels that all raters share is worth to each.
        tau_strength: Both shapes of the beta law of tau over the range of the family.

    References:
        Krupskii and Joe (2013), Factor copula models for multivariate data.
    """

    num_levels: int = 5
    copula: type[Copula] = Gaussian
    margin_strength: float = 5.0
    tau_strength: float = 2.0

    def level(self, log_likelihood: Float[Array, "n m s"]) -> Int[Array, "n m"]:
        return levels_of_belief(log_likelihood, self.num_levels, "The factor copula")

    def level_count(self, num_states: int) -> int:
        return self.num_levels

    def of_raters(self, coded: tuple) -> Sites:
        m = coded[0].shape[1]
        usual = numpyro.sample("usual_share", dist.Dirichlet(self._expected()).to_event(1))
        sites: Sites = {"usual_share": usual}
        with numpyro.plate("rater", m):
            share = dist.Dirichlet(self.margin_strength * usual).to_event(1)
            tau = dist.Beta(self.tau_strength, self.tau_strength)
            sites |= {
                "share": numpyro.sample("share", share),
                "tau_share": numpyro.sample("tau_share", tau),
            }
        numpyro.deterministic("tau", self._tau(sites))
        return sites

    def start_of_raters(self, coded: tuple) -> Sites:
        m = coded[0].shape[1]
        usual = self._expected() / self._expected().sum(axis=-1, keepdims=True)
        return {
            "usual_share": usual,
            "share": jnp.broadcast_to(usual, (m, *usual.shape)),
            "tau_share": jnp.full(m, 0.5),
        }

    def log_table(self, sites: Sites) -> Float[Array, "1 m l 2 u"]:
        upper = jnp.cumsum(sites["share"], axis=-1).at[..., -1].set(1.0)
        lower = jnp.concatenate([jnp.zeros_like(upper[..., :1]), upper[..., :-1]], axis=-1)
        law = self.copula.from_tau(self._tau(sites)[:, None, None, None])
        u = jax.scipy.stats.norm.cdf(jnp.asarray(NORMAL_NODES))
        chance = law.strip(u, lower[..., None], upper[..., None])
        return jnp.log(jnp.maximum(chance, _SMALLEST)).swapaxes(1, 2)[None]

    def factor_log_weight(self) -> Float[Array, " u"]:
        return jnp.asarray(NORMAL_LOG_WEIGHTS)

    def _tau(self, sites: Sites) -> Float[Array, " m"]:
        lowest, highest = (max(0.0, self.copula.tau_range[0]), self.copula.tau_range[1])
        return lowest + (highest - lowest) * sites["tau_share"]

    def _expected(self) -> Float[Array, "2 l"]:
        """Dirichlet parameters that lean to lower levels in the first state, higher in the second.

        So weakly that one item outweighs them, and enough to tell which state is which.
        """
        lean = jnp.linspace(0.5, 1.5, self.num_levels)
        return jnp.stack([lean[::-1], lean])

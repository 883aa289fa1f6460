"""Votes and what each rater confuses: for hard answers, with few labels or none."""

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float, Int

from jaxcascade.decisions.levels import LevelModel
from jaxcascade.decisions.rater_model import Sites


class DawidSkene(LevelModel):
    """Each rater votes for the state it finds likeliest, independently of others given the truth.

    What a rater votes in each state is partially pooled over raters. With `misled_prior=None` it is
    the model of 1979: raters that err on the same items make it far too sure then (a log loss of
    1.6 on yes/no questions where a calibrated model has 0.34). For two states,
    `EchoModel(num_levels=2)` has in addition a factor that raters share.

    Attributes:
        right: Dirichlet parameter of a right vote, beside 1 for each wrong one, in the law that
            all raters share.
        strength_center: Median number of items that this law is worth to each rater.
        strength_scale: Standard deviation of its logarithm.

    References:
        Dawid and Skene (1979), Maximum likelihood estimation of observer error-rates using the EM
        algorithm; Paun et al. (2018), Comparing Bayesian models of annotation.
    """

    right: float = 3.0
    strength_center: float = 10.0
    strength_scale: float = 0.7

    def level(self, log_likelihood: Float[Array, "n m s"]) -> Int[Array, "n m"]:
        return jnp.argmax(log_likelihood, axis=-1)

    def level_count(self, num_states: int) -> int:
        return num_states

    def of_raters(self, coded: tuple) -> Sites:
        m, s = coded[0].shape[1:]
        width = dist.LogNormal(jnp.log(self.strength_center), self.strength_scale)
        usual = numpyro.sample("usual_vote", dist.Dirichlet(self._expected(s)).to_event(1))
        strength = numpyro.sample("strength", width)
        with numpyro.plate("rater", m):
            vote = numpyro.sample("vote", dist.Dirichlet(strength * usual).to_event(1))
        return {"usual_vote": usual, "strength": strength, "vote": vote}

    def start_of_raters(self, coded: tuple) -> Sites:
        m, s = coded[0].shape[1:]
        usual = self._expected(s) / self._expected(s).sum(axis=-1, keepdims=True)
        return {
            "usual_vote": usual,
            "strength": jnp.asarray(self.strength_center),
            "vote": jnp.broadcast_to(usual, (m, s, s)),
        }

    def log_table(self, sites: Sites) -> Float[Array, "1 m l s 1"]:
        return jnp.log(sites["vote"]).swapaxes(1, 2)[None, ..., None]

    def factor_log_weight(self) -> Float[Array, " 1"]:
        return jnp.zeros(1)

    def _expected(self, s: int) -> Float[Array, "s s"]:
        return jnp.ones((s, s)) + (self.right - 1.0) * jnp.eye(s)

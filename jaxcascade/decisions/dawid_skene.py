"""Votes and what each rater confuses: for hard answers, with few labels or none."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float, Int

from jaxcascade.decisions.levels import LevelModel
from jaxcascade.decisions.rater_model import Sites


class DawidSkene(LevelModel):
    """Each rater votes for the state it finds likeliest, independently of others given the truth.

    The log-odds of each wrong vote against the right one are normal around those of the usual
    rater. With `misled_prior=None` it is the model of 1979 with partial pooling: raters that err on
    the same items make it far too sure then (a log loss of 2.7 on yes/no questions where a
    calibrated model has 0.34). For two states, `EchoModel(num_levels=2)` has in addition a factor
    that raters share.

    Attributes:
        right: Odds of a right vote against each wrong one, as expected of the usual rater. A wrong
            vote's log-odds have a standard deviation of 1 around that.
        spread_center: Median of the standard deviation, between raters, of a wrong vote's log-odds.
        spread_scale: Standard deviation of the logarithm of that standard deviation.

    References:
        Dawid and Skene (1979), Maximum likelihood estimation of observer error-rates using the EM
        algorithm; Paun et al. (2018), Comparing Bayesian models of annotation, for raters whose
        log-odds are pooled (there "logistic random effects").
    """

    right: float = 3.0
    spread_center: float = 0.5
    spread_scale: float = 0.5

    def level(self, log_likelihood: Float[Array, "n m s"]) -> Int[Array, "n m"]:
        return jnp.argmax(log_likelihood, axis=-1)

    def level_count(self, num_states: int) -> int:
        return num_states

    def of_raters(self, coded: tuple) -> Sites:
        m, s = coded[0].shape[1:]
        unit = dist.Normal(0.0, 1.0).expand([s, s - 1]).to_event(2)
        spread = dist.LogNormal(jnp.log(self.spread_center), self.spread_scale)
        sites = {
            "unit_usual": numpyro.sample("unit_usual", unit),
            "spread": numpyro.sample("spread", spread),
        }
        with numpyro.plate("rater", m):
            sites["unit_vote"] = numpyro.sample("unit_vote", unit)
        numpyro.deterministic("vote", jnp.exp(self._log_vote(sites)))
        return sites

    def start_of_raters(self, coded: tuple) -> Sites:
        m, s = coded[0].shape[1:]
        return {
            "unit_usual": jnp.zeros((s, s - 1)),
            "spread": jnp.asarray(self.spread_center),
            "unit_vote": jnp.zeros((m, s, s - 1)),
        }

    def log_table(self, sites: Sites) -> Float[Array, "1 m l s 1"]:
        return self._log_vote(sites).swapaxes(1, 2)[None, ..., None]

    def factor_log_weight(self) -> Float[Array, " 1"]:
        return jnp.zeros(1)

    def _log_vote(self, sites: Sites) -> Float[Array, "m s l"]:
        """Log-probabilities of each rater's votes in each state.

        Entry j of a state's wrong votes is for the state j + 1 places after it, in a circle.
        """
        wrong = sites["unit_usual"] - jnp.log(self.right) + sites["spread"] * sites["unit_vote"]
        m, s = wrong.shape[:2]
        state = np.arange(s)[:, None]
        other = (state + np.arange(1, s)) % s
        return jax.nn.log_softmax(jnp.zeros((m, s, s)).at[:, state, other].set(wrong), axis=-1)

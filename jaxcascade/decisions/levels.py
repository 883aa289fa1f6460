"""What models of raters share that see what each says as one of a few levels.

Raters err together in two ways. An item may look to all of them as if it were of another state: it
misleads. And it may lean them all one way, by a factor. Given how it looks, and the factor, raters
are independent. So a model is a table of the log-probability of each level, and the belief in an
item picks entries of it.
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Bool, Float, Int

from jaxcascade.decisions.rater_model import RaterModel, Sites, observe_ratings
from jaxcascade.errors import InvalidInputError

# The mean over a standard normal factor, by the trapezoidal rule. What eleven raters say of an item
# confines its factor to a fifth of a standard deviation, which fifteen nodes of Gauss and Hermite
# step over; for this rule the error is then 1e-5.
NORMAL_NODES = np.linspace(-3.75, 3.75, 31)
NORMAL_LOG_WEIGHTS = -0.5 * NORMAL_NODES**2 - np.log(np.exp(-0.5 * NORMAL_NODES**2).sum())


class LevelModel(RaterModel):
    """A law of each rater's level, given what an item looks like and the factor.

    Attributes:
        misled_prior: Shapes of the beta law of the share of items, in each state, that look like
            another to all raters alike; None where there are no such items. Raters cannot tell,
            however many agree, so that this share bounds what can be believed. Eleven language
            models together were wrong on a sixth of 2,503 questions; without labels nothing but
            this law says so.
        prior_strength: Items that the prior over states is worth: `prevalence` is learnt, too.
    """

    misled_prior: tuple[float, float] | None = eqx.field(static=True, default=(2.0, 12.0))
    prior_strength: float = 20.0

    @abc.abstractmethod
    def of_raters(self, coded: tuple) -> Sites:
        """Draws what belongs to raters from its prior."""

    @abc.abstractmethod
    def start_of_raters(self, coded: tuple) -> Sites:
        """Returns possible values of the same."""

    @abc.abstractmethod
    def level(self, log_likelihood: Float[Array, "n m s"]) -> Int[Array, "n m"]:
        """Returns what each rater says, as a number from 0 on."""

    @abc.abstractmethod
    def level_count(self, num_states: int) -> int:
        """Returns how many levels there are."""

    @abc.abstractmethod
    def log_table(self, sites: Sites) -> Float[Array, "g m l s u"]:
        """Returns log-probabilities of levels by group, rater, level, state and factor.

        With one group, all items are of it.
        """

    @abc.abstractmethod
    def factor_log_weight(self) -> Float[Array, " u"]:
        """Returns logarithms of the probability of each value of the factor."""

    def coded(
        self,
        log_likelihood: Float[Array, "n m s"],
        known: Bool[Array, "n m"],
        group: Int[Array, " n"],
        num_groups: int,
    ) -> tuple:
        # One row per item that picks each rater's level in a table of all of them: a product of
        # matrices, which is faster than looking each one up at each value of the factor.
        level = self.level(log_likelihood)
        picks = jax.nn.one_hot(level, self.level_count(log_likelihood.shape[-1]))
        picks = picks * known[..., None]
        return picks, group, num_groups

    def parameters(self, coded: tuple, log_prior: Float[Array, "*n s"]) -> Sites:
        center = mean_prior(log_prior)
        law = dist.Dirichlet(self.prior_strength * center)
        sites: Sites = {"prevalence": numpyro.sample("prevalence", law)}
        if self.misled_prior is not None:
            misled = dist.Beta(*self.misled_prior).expand([center.size]).to_event(1)
            sites["misled"] = numpyro.sample("misled", misled)
        return sites | self.of_raters(coded)

    def start(self, coded: tuple, log_prior: Float[Array, "*n s"]) -> Sites:
        center = mean_prior(log_prior)
        sites: Sites = {"prevalence": center}
        if self.misled_prior is not None:
            a, b = self.misled_prior
            sites["misled"] = jnp.full(center.size, a / (a + b))
        return sites | self.start_of_raters(coded)

    def log_belief(
        self, sites: Sites, coded: tuple, log_prior: Float[Array, "*n s"]
    ) -> Float[Array, "n s"]:
        picks, group, _ = coded
        table = self.log_table(sites)
        flat = table.reshape(*table.shape[:3], -1)
        if len(table) == 1:
            told = jnp.einsum("nml,mlx->nx", picks, flat[0])
        else:
            told = jnp.einsum("nml,nmlx->nx", picks, flat[group])
        told = told.reshape(-1, *table.shape[3:])
        looks = jax.nn.logsumexp(told + self.factor_log_weight(), axis=-1)
        if "misled" in sites:
            looks = _misled(looks, sites["misled"])
        return log_prior + looks

    def observe(self, log_belief: Float[Array, "n s"], truth: Int[Array, " n"]) -> None:
        observe_ratings(log_belief, truth)


def levels_of_belief(
    log_likelihood: Float[Array, "n m s"], num_levels: int, model: str
) -> Int[Array, "n m"]:
    """Cuts each rater's belief in the second state, both being alike before, into even levels.

    Raises:
        InvalidInputError: There are not two states.
    """
    if log_likelihood.shape[-1] != 2:
        raise InvalidInputError(
            f"{model} needs two states; there are {log_likelihood.shape[-1]}. With more, use "
            "`TemperedPool` or `DawidSkene`."
        )
    ratio = log_likelihood[..., 1] - log_likelihood[..., 0]
    return jnp.round((num_levels - 1) * jax.nn.sigmoid(ratio)).astype(int)


def _misled(looks: Float[Array, "n s"], misled: Float[Array, " s"]) -> Float[Array, "n s"]:
    """From what items look like to what they are: a misled item looks like any other state."""
    s = misled.size
    wrong = misled[:, None] / (s - 1)
    log_looks = jnp.log(jnp.where(jnp.eye(s, dtype=bool), 1.0 - misled[:, None], wrong))
    return jax.nn.logsumexp(looks[:, None] + log_looks, axis=-1)


def mean_prior(log_prior: Float[Array, "*n s"]) -> Float[Array, " s"]:
    """Returns the prior of an item picked at random."""
    return jnp.exp(log_prior).reshape(-1, log_prior.shape[-1]).mean(axis=0)

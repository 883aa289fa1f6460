"""Raters that echo each other: levels of belief with a factor in common, for few labels or none."""

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float, Int

from jaxcascade.decisions.levels import (
    NORMAL_LOG_WEIGHTS,
    NORMAL_NODES,
    LevelModel,
    levels_of_belief,
)
from jaxcascade.decisions.rater_model import Sites

_SMALLEST = 1e-30


class EchoModel(LevelModel):
    """An ordinal model of what raters say, with a factor per item that they all share.

    Each rater's belief in the second of two states, both being alike before, is cut into levels.
    Its place on the scale behind them is logistic around `accuracy` above or below a middling
    item, as the item looks, plus `echo` times a standard normal factor of the item, which leans
    all raters one way. Without both, raters would be independent given the truth, and eleven of
    them that err together seem certain. Truth, looks and factor are summed out.

    Where items are of groups, each rater may lean towards the second state for one group: `lean`.

    Attributes:
        num_levels: Levels that belief is cut into, evenly: 11 are the ratings from 0 to 10; with 2
            it is a model of votes.
        accuracy_center: Median, between raters, of their accuracy, in logistic units.
        accuracy_scale: Standard deviation of its logarithm.
        echo_center: Mean of the gamma law, of shape 2, of the raters' usual echo.
        echo_spread: Standard deviation, between raters, of the logarithm of their echo.
        lean_scale: Scale of the half-normal spread of `lean`, in logistic units.

    References:
        Dawid and Skene (1979) for raters without truth; Amin (2026), arXiv:2601.01522, for ratings
        of language models as likelihoods.
    """

    num_levels: int = 11
    accuracy_center: float = 1.5
    accuracy_scale: float = 0.6
    echo_center: float = 2.0
    echo_spread: float = 0.5
    lean_scale: float = 0.5

    def level(self, log_likelihood: Float[Array, "n m s"]) -> Int[Array, "n m"]:
        return levels_of_belief(log_likelihood, self.num_levels, "The echo model")

    def level_count(self, num_states: int) -> int:
        return self.num_levels

    def of_raters(self, coded: tuple) -> Sites:
        picks, _, num_groups = coded
        m = picks.shape[1]
        usual = numpyro.sample("usual_share", dist.Dirichlet(jnp.full(self.num_levels, 2.0)))
        sites: Sites = {
            "echo_mean": numpyro.sample("echo_mean", dist.Gamma(2.0, 2.0 / self.echo_center)),
            "usual_share": usual,
        }
        with numpyro.plate("rater", m):
            # On average two items per level, of which one is there whatever the usual share: laws
            # of shares that gather at 0 have tails that draws do not reach the end of.
            share = dist.Dirichlet(1.0 + self.num_levels * usual)
            accuracy = dist.LogNormal(jnp.log(self.accuracy_center), self.accuracy_scale)
            sites |= {
                "share": numpyro.sample("share", share),
                "accuracy": numpyro.sample("accuracy", accuracy),
                "log_echo": numpyro.sample("log_echo", dist.Normal(0.0, self.echo_spread)),
            }
        if num_groups > 1:
            unit = dist.Normal(0.0, 1.0).expand([num_groups, m]).to_event(2)
            spread = numpyro.sample("lean_spread", dist.HalfNormal(self.lean_scale))
            sites |= {"lean_spread": spread, "unit_lean": numpyro.sample("unit_lean", unit)}
            numpyro.deterministic("lean", _lean(sites))
        return sites

    def start_of_raters(self, coded: tuple) -> Sites:
        picks, _, num_groups = coded
        m = picks.shape[1]
        counts = picks.sum(axis=0) + 1.0
        sites: Sites = {
            "echo_mean": jnp.asarray(0.5 * self.echo_center),
            "usual_share": jnp.full(self.num_levels, 1.0 / self.num_levels),
            "share": counts / counts.sum(axis=-1, keepdims=True),
            "accuracy": jnp.full(m, self.accuracy_center),
            "log_echo": jnp.zeros(m),
        }
        if num_groups > 1:
            sites |= {
                "lean_spread": jnp.asarray(0.5 * self.lean_scale),
                "unit_lean": jnp.zeros((num_groups, m)),
            }
        return sites

    def log_table(self, sites: Sites) -> Float[Array, "g m l 2 u"]:
        echo = sites["echo_mean"] * jnp.exp(sites["log_echo"])
        lean = _lean(sites) if "lean_spread" in sites else jnp.zeros((1, len(echo)))
        side = sites["accuracy"][:, None] * jnp.array([-1.0, 1.0])
        place = lean[:, :, None, None] + side[:, :, None] + (echo[:, None] * NORMAL_NODES)[:, None]
        cut, width = _cuts(sites["share"])
        return _log_levels(cut[:, :, None, None] - place[:, :, None], width[:, :, None, None])

    def factor_log_weight(self) -> Float[Array, " u"]:
        return jnp.asarray(NORMAL_LOG_WEIGHTS)


def _lean(sites: Sites) -> Float[Array, "g m"]:
    """Each rater's lean per group; what all groups have in common is no lean but its cuts."""
    unit = sites["unit_lean"]
    return sites["lean_spread"] * (unit - unit.mean(axis=0))


def _cuts(
    share: Float[Array, "m l"],
) -> tuple[Float[Array, "m l-1"], Float[Array, "m l-2"]]:
    """Places of the cuts at which a middling item falls into levels as often as `share` says.

    Returns:
        Places, and their distances, which do not cancel where a level is all but never said.
    """
    share = jnp.maximum(share, _SMALLEST)
    below = jnp.cumsum(share, axis=-1)[:, :-1]
    above = jnp.cumsum(share[:, ::-1], axis=-1)[:, ::-1][:, 1:]
    inner = share[:, 1:-1]
    width = jnp.log1p(inner / below[:, :-1]) + jnp.log1p(inner / above[:, 1:])
    return jnp.log(below) - jnp.log(above), width


def _log_levels(
    apart: Float[Array, "g m cuts s u"], width: Float[Array, "m l-2 1 1"]
) -> Float[Array, "g m l s u"]:
    """Log-probabilities of levels from the distances of the cuts from the place.

    sigma(b) - sigma(a) is (1 - exp(a - b)) sigma(b) sigma(-a), which does not cancel.
    """
    below, above = apart[:, :, :-1], apart[:, :, 1:]
    sides = jax.nn.log_sigmoid(above) + jax.nn.log_sigmoid(-below)
    between = jnp.log(-jnp.expm1(-width)) + sides
    first, last = jax.nn.log_sigmoid(apart[:, :, :1]), jax.nn.log_sigmoid(-apart[:, :, -1:])
    return jnp.concatenate([first, between, last], axis=2)

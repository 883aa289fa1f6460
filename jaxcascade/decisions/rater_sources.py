"""Raters as sources to ask one after the other, with all that ties their answers together."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxcascade.decisions.levels import LevelModel
from jaxcascade.decisions.rater_model import RaterPosterior
from jaxcascade.decisions.sequential import Sources
from jaxcascade.errors import InvalidInputError


def rater_sources(
    posterior: RaterPosterior,
    price_usd: Float[Array | np.ndarray, " m"],
    *,
    cut: Int[Array | np.ndarray, " m"] | None = None,
    num_draws: int = 16,
) -> Sources:
    """Makes sources of raters that answer yes where their level is at least a cut.

    What they share is kept: whether an item misleads them, the factor, and what is not known of
    their parameters. So an answer tells something of all later ones, and the second rater that
    agrees is worth less than the first.

    Args:
        posterior: Of a `LevelModel` of two states, without groups.
        price_usd: Dollars for asking each rater.
        cut: Lowest level that is a yes; by default the middle one.
        num_draws: Draws of the posterior to average over, evenly picked.

    Raises:
        InvalidInputError: The posterior is of another model, of more states or of groups, there
            are too few draws, or not one cut for each rater.
    """
    model, sites = posterior.model, posterior.sites
    if not isinstance(model, LevelModel) or len(posterior.states) != 2 or posterior.num_groups > 1:
        raise InvalidInputError(
            "`posterior` must be of `EchoModel`, `FactorCopula` or `DawidSkene`, with two states "
            f"and without groups; it is of `{type(model).__name__}`, with "
            f"{len(posterior.states)} states and {posterior.num_groups} groups."
        )
    count = len(jax.tree.leaves(sites)[0])
    if not 1 <= num_draws <= count:
        raise InvalidInputError(f"`num_draws` must be from 1 to {count}; got {num_draws}.")
    rows = np.linspace(0, count - 1, num_draws).round().astype(int)
    picked = {name: values[rows] for name, values in sites.items()}
    num_levels = model.level_count(2)
    count = len(posterior.raters)
    cut = np.full(count, (num_levels + 1) // 2) if cut is None else np.asarray(cut)
    if cut.shape != (count,):
        raise InvalidInputError(
            f"`cut` must hold one level for each of the {count} raters; its shape is {cut.shape}."
        )
    yes = jnp.asarray(np.arange(num_levels) >= cut[:, None], float)

    def one(draw: dict) -> Float[Array, "m 2 4 u"]:
        table = jnp.exp(model.log_table(draw)[0])
        looks = jnp.einsum("ml,mlsu->msu", yes, table)
        # Whether an item misleads is drawn for each state apart: four cases, of which each state
        # knows its own bit.
        return jnp.stack([looks[:, np.array([bits[0], 1 - bits[1]])] for bits in _BITS], axis=2)

    p_yes = jax.lax.map(one, picked)
    node = jax.nn.softmax(model.factor_log_weight())
    weight = jax.vmap(_case_weights)(picked["misled"]) if "misled" in picked else _plain(num_draws)
    weight = weight[:, :, None] * node / num_draws
    p_yes = jnp.moveaxis(p_yes, 0, 2).reshape(*p_yes.shape[1:3], -1)
    return Sources(p_yes, weight.reshape(-1), jnp.asarray(price_usd))


def uncertain_tests(
    key: PRNGKeyArray,
    sensitivity: Float[Array | np.ndarray, "m 2"],
    specificity: Float[Array | np.ndarray, "m 2"],
    price_usd: Float[Array | np.ndarray, " m"],
    *,
    num_draws: int = 64,
) -> Sources:
    """Makes sources of tests whose sensitivity and specificity are not known exactly.

    Args:
        key: Draws.
        sensitivity: Shapes of a beta law: yeses and noes in the second state, plus what was
            believed before.
        specificity: Shapes of a beta law: noes and yeses in the first state.
        price_usd: Dollars for asking each.
        num_draws: Draws to average over.

    Raises:
        InvalidInputError: A shape is not above 0, or there is not one pair for each test.
    """
    shapes = [np.asarray(part, float) for part in (sensitivity, specificity)]
    for name, part in zip(("sensitivity", "specificity"), shapes, strict=True):
        if part.shape != (len(np.asarray(price_usd)), 2) or not (part > 0).all():
            raise InvalidInputError(
                f"`{name}` must hold two shapes above 0 of a beta law for each of the "
                f"{len(np.asarray(price_usd))} prices; got {part.tolist()}."
            )
    keys = jax.random.split(key)
    right, left = (
        jax.random.beta(one, part[:, 0], part[:, 1], (num_draws, len(part))).T
        for one, part in zip(keys, shapes, strict=True)
    )
    p_yes = jnp.stack([1.0 - left, right], axis=1)
    return Sources(p_yes, jnp.full(num_draws, 1.0 / num_draws), jnp.asarray(price_usd))


def joined(first: Sources, second: Sources) -> Sources:
    """Returns all sources of both, which err independently of each other given the truth.

    Args:
        first: Numbered from 0 on.
        second: Numbered after them.
    """
    left = jnp.repeat(first.p_yes, len(second.weight), axis=-1)
    right = jnp.tile(second.p_yes, (1, 1, len(first.weight)))
    return Sources(
        jnp.concatenate([left, right]),
        jnp.outer(first.weight, second.weight).reshape(-1),
        jnp.concatenate([first.price_usd, second.price_usd]),
    )


_BITS = ((0, 0), (0, 1), (1, 0), (1, 1))


def _case_weights(misled: Float[Array, " 2"]) -> Float[Array, " 4"]:
    bits = jnp.array(_BITS)
    return jnp.prod(jnp.where(bits == 1, misled, 1.0 - misled), axis=-1)


def _plain(num_draws: int) -> Float[Array, "d 4"]:
    return jnp.zeros((num_draws, 4)).at[:, 0].set(1.0)

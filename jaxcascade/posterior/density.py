"""Log densities of a NumPyro model over unconstrained parameters, part by part."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from numpyro.distributions import biject_to

from jaxcascade.posterior.model import Sites


class Density(NamedTuple):
    """A model as a function of vectors in unconstrained space.

    Attributes:
        log_prob: From a vector to its log density: a number, or one for each block.
        constrain: From a vector to the sites' values, deterministic ones included.
        pack: From the sites' values to a vector.
        unpack: From a vector to unconstrained values by name.
        log_prior: The part of `log_prob` that no observation enters.
    """

    log_prob: Callable[[Float[Array, "*blocks p"]], Float[Array, "*blocks"]]
    constrain: Callable[[Float[Array, "*blocks p"]], Sites]
    pack: Callable[[Sites], Float[Array, "*blocks p"]]
    unpack: Callable[[Float[Array, "*blocks p"]], Sites]
    log_prior: Callable[[Float[Array, "*blocks p"]], Float[Array, "*blocks"]]


class Folded:
    """From every number to its size: what is positive lies on both sides of zero, as if mirrored.

    In logarithms, values next to zero are far from all others, and a walk that should visit them
    seldom does. Folded they are close by. The density is that of the mirrored law, up to a half.
    """

    def __call__(self, x: Array) -> Array:
        """Returns the sizes."""
        return jnp.abs(x)

    def inv(self, y: Array) -> Array:
        """Returns the numbers of that size that are not negative."""
        return y

    def log_abs_det_jacobian(self, x: Array, y: Array) -> Array:
        """Returns zeros: sizes are as far apart as the numbers are."""
        return jnp.zeros_like(x)


def density_of(
    model: Callable,
    arguments: tuple,
    num_blocks: int | None = None,
    folded: tuple[str, ...] = (),
) -> Density:
    """Traces a NumPyro model once for its sites and their supports.

    Args:
        model: With supports that depend on no parameter.
        arguments: Of the model.
        num_blocks: How many independent blocks the model has, along the last batch axis of each
            of its sites; None where it is taken whole.
        folded: Positive sites that are not taken by their logarithms, but mirrored at zero.
    """
    traced = _trace(model, arguments, {})
    latent = {
        name: site
        for name, site in traced.items()
        if site["type"] == "sample" and not site["is_observed"]
    }
    transforms = {
        name: Folded() if name in folded else biject_to(site["fn"].support)
        for name, site in latent.items()
    }
    lead = 0 if num_blocks is None else 1
    example = {name: transforms[name].inv(site["value"]) for name, site in latent.items()}
    one_block = {name: value[(0,) * lead] for name, value in example.items()}
    unravel = ravel_pytree(one_block)[1]

    def unpack(vector: Array) -> Sites:
        return unravel(vector) if num_blocks is None else jax.vmap(unravel)(vector)

    def pack(sites: Sites) -> Array:
        free = {name: transforms[name].inv(sites[name]) for name in latent}
        if num_blocks is None:
            return ravel_pytree(free)[0]
        return jax.vmap(lambda block: ravel_pytree(block)[0])(free)

    def per_block(terms: Array) -> Array:
        kept = jnp.ndim(terms) - lead
        return jnp.sum(terms, axis=tuple(range(kept)))

    def parts(vector: Array) -> tuple[Array, Array]:
        free = unpack(vector)
        values = {name: transforms[name](value) for name, value in free.items()}
        prior = likelihood = jnp.zeros(vector.shape[:-1])
        for name, site in _trace(model, arguments, values).items():
            if site["type"] != "sample":
                continue
            terms = site["fn"].log_prob(site["value"])
            if site["is_observed"]:
                scale = 1.0 if site["scale"] is None else site["scale"]
                likelihood = likelihood + per_block(scale * terms)
            else:
                volume = transforms[name].log_abs_det_jacobian(free[name], values[name])
                prior = prior + per_block(terms + volume)
        return prior, likelihood

    def constrain(vector: Array) -> Sites:
        values = {name: transforms[name](value) for name, value in unpack(vector).items()}
        traced = _trace(model, arguments, values)
        told = {n: s["value"] for n, s in traced.items() if s["type"] == "deterministic"}
        return values | told

    return Density(lambda v: jnp.add(*parts(v)), constrain, pack, unpack, lambda v: parts(v)[0])


def _trace(model: Callable, arguments: tuple, values: Sites) -> dict[str, Any]:
    handlers = numpyro.handlers
    seeded = handlers.seed(handlers.substitute(model, data=values), rng_seed=0)
    return handlers.trace(seeded).get_trace(*arguments)

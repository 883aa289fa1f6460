"""Parameters of models of raters, drawn without the models' help."""

import jax.numpy as jnp

OF_SIMPLEX = ("prevalence", "usual_share", "share", "weight")


def some_sites(rng, start, num_draws):
    """Possible parameters of a model that starts there, one row per draw."""
    return {
        name: jnp.asarray(_some(rng, name, (num_draws, *jnp.shape(value))))
        for name, value in start.items()
    }


def _some(rng, name, shape):
    if name in OF_SIMPLEX:
        return rng.dirichlet([2.0] * shape[-1], shape[:-1])
    if name in ("misled", "tau_share"):
        return rng.beta(2.0, 4.0, shape)
    if name in ("strength", "evenness", "accuracy", "echo_mean") or name.endswith(
        ("spread", "scale")
    ):
        return rng.lognormal(0.0, 0.5, shape)
    return rng.normal(0.0, 1.0, shape)

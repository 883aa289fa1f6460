"""What the confidences of all models together say of each one's answer."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcascade.calibration.logistic import Prior, logistic_coefficients, standardisation

_INTERCEPT_SCALE, _SLOPE_SCALE = 0.5, 0.25
_SMALLEST = 1e-6


@eqx.filter_jit
def joint_probability(
    confidence: Float[Array, "n k"], correct: Float[Array, "n k"], weight: Float[Array, " n"]
) -> Float[Array, "n k"]:
    """Probability that each model is right, given what every model said of the same query.

    A calibrated confidence is the probability of being right given that confidence alone. On
    queries that other models found hard it is too high. Each model's labels are regressed on the
    log-odds of all confidences, with a prior that holds to its own: N(1, 0.25) for its own
    weight and N(0, 0.25) for the others', per standard deviation.

    Args:
        confidence: Calibrated confidences in [0, 1]; NaN where a model was not asked, which
            then counts as that model's average.
        correct: Labels; NaN where there is none.
        weight: Weight of each query.

    Returns:
        Probabilities in [0, 1], for unlabelled and unweighted queries as well.
    """
    known = ~jnp.isnan(confidence)
    shares = jnp.where(known, weight[:, None], 0.0)
    bounded = jnp.clip(jnp.where(known, confidence, 0.5), _SMALLEST, 1.0 - _SMALLEST)
    signal = jnp.log(bounded) - jnp.log1p(-bounded)
    mean, scale = jax.vmap(standardisation, in_axes=(1, 1))(signal[..., None], shares)
    mean, scale = mean[:, 0], scale[:, 0]
    standardised = jnp.where(known, (signal - mean) / scale, 0.0)
    design = jnp.concatenate([jnp.ones_like(signal[:, :1]), standardised], axis=1)
    spread = jnp.full(design.shape[1], _SLOPE_SCALE).at[0].set(_INTERCEPT_SCALE)

    def of_model(
        own: Array, mean: Array, scale: Array, labels: Float[Array, " n"], share: Float[Array, " n"]
    ) -> Float[Array, " n"]:
        prior = Prior(jnp.append(mean, own * scale), spread)
        labelled = ~jnp.isnan(labels)
        share = jnp.where(labelled, share, 0.0)
        found = logistic_coefficients(design, jnp.where(labelled, labels, 0.0), share, prior)
        return jax.nn.sigmoid(design @ found)

    own = jnp.eye(signal.shape[1])
    return jax.vmap(of_model, out_axes=1)(own, mean, scale, correct.T, shares.T)

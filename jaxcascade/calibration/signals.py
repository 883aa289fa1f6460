"""From a recorded confidence to the regressors of a calibrator.

Each transform takes the natural logarithm of a confidence, because 1 - 1e-9 and 1 are
different confidences and only the logarithm (with `log1mexp`) keeps them apart, and returns
regressors that all increase with the confidence. Exact certainties map to infinities; a
calibrator clips them to the largest finite value it has seen.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax.nn import log1mexp
from jaxtyping import Array, Float

Transform = Callable[[Float[Array, "..."]], Float[Array, "... p"]]

_LOG_HALF = -0.6931471805599453


def one_sided(log_confidence: Float[Array, "..."]) -> Float[Array, "... 1"]:
    """Returns xi = -log(1 - p), for multiple choice (arXiv:2501.09345, eq. 16).

    Example:
        >>> import jax.numpy as jnp
        >>> print(one_sided(jnp.log(jnp.array([0.5, 0.9]))).round(3))
        [[0.693] [2.303]]
    """
    return -log1mexp(-log_confidence)[..., None]


def two_sided(log_confidence: Float[Array, "..."]) -> Float[Array, "... 1"]:
    """Returns xi = -log(2(1-p)) for p >= 1/2 and log(2p) below, for free text.

    Monotone and continuous at one half, which eq. 17 of arXiv:2501.09345 as printed is not.

    Example:
        >>> import jax.numpy as jnp
        >>> two_sided(jnp.log(jnp.array([0.1, 0.5, 0.9]))).round(3).tolist()
        [[-1.609], [0.0], [1.609]]
    """
    upper = log_confidence >= _LOG_HALF
    above = -log1mexp(-jnp.where(upper, log_confidence, _LOG_HALF)) + _LOG_HALF
    below = log_confidence - _LOG_HALF
    return jnp.where(upper, above, below)[..., None]


def log_odds(log_confidence: Float[Array, "..."]) -> Float[Array, "... 1"]:
    """Returns log(p / (1 - p)), what a temperature divides.

    Example:
        >>> import jax.numpy as jnp
        >>> log_odds(jnp.log(jnp.array([0.5, 0.9]))).round(3).tolist()
        [[0.0], [2.197]]
    """
    return (log_confidence - log1mexp(-log_confidence))[..., None]


def log_pair(log_confidence: Float[Array, "..."]) -> Float[Array, "... 2"]:
    """Returns (log p, -log(1 - p)), the regressors of beta calibration (Kull et al., 2017).

    Example:
        >>> import jax.numpy as jnp
        >>> print(log_pair(jnp.log(jnp.array([0.5]))).round(3))
        [[-0.693  0.693]]
    """
    return jnp.stack([log_confidence, -log1mexp(-log_confidence)], axis=-1)

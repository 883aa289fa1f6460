"""A smooth mean of one thing given another: local lines under a kernel."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcascade.errors import InvalidInputError

# Lines with weights are fitted so many at a time, so that memory stays small.
_BLOCK = 1 << 22


class LocalLinear(NamedTuple):
    """A smoothed mean.

    Attributes:
        value: The mean at each place.
        standard_error: Its standard error, by the squared residuals; without the bias of smoothing.
        bandwidth: Standard deviation of the kernel, in units of `x`.
    """

    value: Float[np.ndarray, " a"]
    standard_error: Float[np.ndarray, " a"]
    bandwidth: float


def local_linear(
    x: Float[np.ndarray, " n"],
    y: Float[np.ndarray, " n"],
    at: Float[np.ndarray, " a"],
    bandwidth: float | None = None,
) -> LocalLinear:
    """Smooths y against x: at each place, the value of a line fitted with a normal kernel.

    Args:
        x: Finite numbers, not all the same.
        y: What is to be smoothed.
        at: Places, increasing, best between the least and the greatest x.
        bandwidth: Above 0; by default 1.06 standard deviations of x times n^(-1/5).

    Raises:
        InvalidInputError: x and y are of different lengths, x does not vary or is not finite, the
            places do not increase, or the bandwidth is not above 0.

    References:
        Fan and Gijbels (1996), Local polynomial modelling and its applications, section 2.3.
        Silverman (1986), Density estimation, section 3.4, for the bandwidth.

    Example:
        >>> import numpy as np
        >>> x = np.arange(9.0)
        >>> local_linear(x, 2 * x + 1, np.array([0.0, 3.5])).value.round(9).tolist()
        [1.0, 8.0]
    """
    x, y, at = (np.asarray(part, float) for part in (x, y, at))
    if x.shape != y.shape or x.ndim != 1:
        raise InvalidInputError(
            f"`x` and `y` must be rows of one length; got shapes {x.shape} and {y.shape}."
        )
    if not np.isfinite(x).all() or x.size < 2 or np.ptp(x) == 0:
        raise InvalidInputError("`x` must be finite and take at least two values.")
    if at.ndim != 1 or at.size == 0 or not np.all(np.diff(at) > 0):
        raise InvalidInputError(f"`at` must be a row of increasing places; got {at}.")
    width = 1.06 * x.std(ddof=1) * x.size**-0.2 if bandwidth is None else float(bandwidth)
    if not 0 < width < np.inf:
        raise InvalidInputError(f"`bandwidth` must be above 0 and finite; got {width}.")
    rows = max(_BLOCK // x.size, 1)
    blocks = np.split(at, range(rows, at.size, rows))
    value = np.concatenate([_line_weights(x, part, width) @ y for part in blocks])
    squares = (y - np.interp(x, at, value)) ** 2
    variance = np.concatenate([_line_weights(x, part, width) ** 2 @ squares for part in blocks])
    return LocalLinear(value, np.sqrt(variance), width)


def _line_weights(
    x: Float[np.ndarray, " n"], at: Float[np.ndarray, " a"], width: float
) -> Float[np.ndarray, "a n"]:
    """How much each y counts for the fitted line's value at each place; rows add up to 1."""
    far = (x - at[:, None]) / width
    # In proportion to the nearest, so that the kernel is not zero everywhere.
    log_kernel = -0.5 * far**2
    kernel = np.exp(log_kernel - log_kernel.max(axis=1, keepdims=True))
    kernel /= kernel.sum(axis=1, keepdims=True)
    middle = (kernel * far).sum(axis=1, keepdims=True)
    spread = (kernel * (far - middle) ** 2).sum(axis=1, keepdims=True)
    # Where one x alone has weight there is no line: its own y is the value.
    slope = np.where(spread > 1e-12, -middle / np.where(spread > 1e-12, spread, 1.0), 0.0)
    return kernel * (1.0 + slope * (far - middle))

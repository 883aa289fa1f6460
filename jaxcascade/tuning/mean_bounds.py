"""Upper confidence bounds on the mean of values in [0, 1], and tests of a limit on it.

Values are independent draws. Losses are scaled to [0, 1].
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcascade.errors import InvalidInputError, PrecisionError
from jaxcascade.numerics import betainccinv, log_betaincc
from jaxcascade.numerics.roots import invert_increasing

# One sample and one number: kernels are written for these, and mapped.
_Values = Float[Array, " n"]
_Number = Float[Array, ""]
# Of the interval [0, 1]: 1e-12 of `upper`, and on the safe side.
_NUM_HALVINGS = 40


class MeanBound(eqx.Module):
    """A way to bound the mean of independent values in [0, 1] from above.

    Both methods see one sample, with NaN where a value is not known, and are pure. A p-value is
    at most `delta` just where the bound at `delta` is at most the limit.
    """

    @abc.abstractmethod
    def log_p_value(self, values: _Values, limit: _Number, delta: _Number) -> _Number:
        """Returns the logarithm of a p-value of "the mean is above the limit".

        Args:
            values: In [0, 1], or NaN.
            limit: In (0, 1).
            delta: Level that the p-value will be held against. It is valid at any other too.
        """

    @abc.abstractmethod
    def upper(self, values: _Values, delta: _Number) -> _Number:
        """Returns a number that the mean exceeds with a probability of `delta` at most.

        Args:
            values: In [0, 1], or NaN.
            delta: In (0, 1).
        """


class ExactBinomial(MeanBound):
    """The tail of the binomial law, for values that are 0 or 1.

    References:
        Clopper and Pearson (1934), The use of confidence or fiducial limits.
    """

    def log_p_value(self, values: _Values, limit: _Number, delta: _Number) -> _Number:
        return _log_binomial_tail(*_count(values), limit)

    def upper(self, values: _Values, delta: _Number) -> _Number:
        return _binomial_upper(*_count(values), delta)


class HoeffdingBentkus(MeanBound):
    """The better of Hoeffding's and Bentkus' inequalities, for any values in [0, 1].

    Both know the mean and nothing of the spread.

    References:
        Bates, Angelopoulos, Lei, Malik and Jordan (2021), Distribution-free, risk-controlling
        prediction sets, arXiv:2101.02703; Angelopoulos, Bates, Candès, Jordan and Lei (2021),
        Learn then test, arXiv:2110.01052.
    """

    def log_p_value(self, values: _Values, limit: _Number, delta: _Number) -> _Number:
        total, count = _count(values)
        mean = jnp.minimum(total / jnp.maximum(count, 1.0), limit)
        bentkus = 1.0 + _log_binomial_tail(jnp.ceil(total), count, limit)
        return jnp.minimum(jnp.minimum(-count * _divergence(mean, limit), bentkus), 0.0)

    def upper(self, values: _Values, delta: _Number) -> _Number:
        total, count = _count(values)
        mean = total / jnp.maximum(count, 1.0)

        def exponent(t: Array) -> tuple[Array, Array]:
            above = t > mean
            slope = (t - mean) / jnp.where(above, t * (1.0 - t), 1.0)
            return (
                jnp.where(above, count * _divergence(mean, t), 0.0),
                jnp.where(above, count * slope, 0.0),
            )

        hoeffding = invert_increasing(exponent, -jnp.log(delta), 0.0, 1.0)
        hoeffding = jnp.where(total < count, hoeffding, 1.0)
        return jnp.minimum(hoeffding, _binomial_upper(jnp.ceil(total), count, delta / jnp.e))


class Betting(MeanBound):
    """A bet on every value in turn that the mean is below the limit; a fortune refutes it.

    A bet is laid on what the values before it show of the spread, so that little spread makes a
    tight bound. The fortune is 1 on average at best while the mean is above the limit, so it ever
    reaches 1/delta with a probability of delta at most (Ville). The bets depend on the order of
    the values, and a table that is sorted by anything is to be shuffled before.

    Attributes:
        most: Largest share of the fortune that one value may cost, in (0, 1).

    References:
        Waudby-Smith and Ramdas (2024), Estimating means of bounded random variables by betting,
        arXiv:2010.09686: one side of the hedged capital process, with the predictable plug-in
        bets for a fixed number of values.
    """

    most: float = 0.75

    def __check_init__(self):
        if not 0.0 < self.most < 1.0:
            raise InvalidInputError(
                f"`most` must lie strictly between 0 and 1; got {self.most}. It is the largest "
                "share of the fortune that one bet may lose; 0.5 and 0.75 are usual."
            )

    def log_p_value(self, values: _Values, limit: _Number, delta: _Number) -> _Number:
        return -self._log_fortune(values, _plug_in_bets(values, delta), limit)

    def upper(self, values: _Values, delta: _Number) -> _Number:
        bets = _plug_in_bets(values, delta)

        # Every factor grows with the limit, hence so does the fortune.
        def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            middle = 0.5 * (ends[0] + ends[1])
            refuted = self._log_fortune(values, bets, middle) >= -jnp.log(delta)
            return jnp.where(refuted, ends[0], middle), jnp.where(refuted, middle, ends[1])

        ends = jnp.zeros_like(delta), jnp.ones_like(delta)
        return jax.lax.fori_loop(0, _NUM_HALVINGS, halve, ends)[1]

    def _log_fortune(self, values: _Values, bets: _Values, limit: _Number) -> _Number:
        """Logarithm of the largest fortune on the way; 0 at the start."""
        bets = jnp.minimum(bets, self.most / (1.0 - limit))
        gains = jnp.log1p(-bets * (jnp.nan_to_num(values) - limit))
        gains = jnp.where(jnp.isnan(values), 0.0, gains)
        return jnp.maximum(jnp.max(jnp.cumsum(gains), initial=0.0), 0.0)


def _plug_in_bets(values: _Values, delta: _Number) -> _Values:
    """sqrt(2 log(1/delta) / (n variance)), the variance of the values before, shrunk to 1/4."""
    known = ~jnp.isnan(values)
    values = jnp.nan_to_num(values)
    num_seen = jnp.cumsum(known)
    mean = (0.5 + jnp.cumsum(values)) / (num_seen + 1.0)
    squares = jnp.where(known, (values - mean) ** 2, 0.0)
    variance = (0.25 + jnp.cumsum(squares)) / (num_seen + 1.0)
    before = jnp.concatenate([jnp.full(1, 0.25), variance[:-1]])
    return jnp.sqrt(-2.0 * jnp.log(delta) / (jnp.maximum(known.sum(), 1) * before))


def _count(values: _Values) -> tuple[_Number, _Number]:
    """Sum and number of the known values."""
    return jnp.nansum(values), jnp.sum(~jnp.isnan(values)).astype(values.dtype)


def _log_binomial_tail(total: Array, count: Array, limit: Array) -> Array:
    """Logarithm of P(B <= total) for B binomial of `count` trials with probability `limit`."""
    open_ = total < count
    tail = log_betaincc(total + 1.0, jnp.where(open_, count - total, 1.0), limit)
    return jnp.where(open_, tail, 0.0)


def _binomial_upper(total: Array, count: Array, delta: Array) -> Array:
    """Probability at which the tail up to `total` falls to `delta`."""
    open_ = total < count
    upper = betainccinv(total + 1.0, jnp.where(open_, count - total, 1.0), delta)
    return jnp.where(open_, upper, 1.0)


def _divergence(mean: Array, t: Array) -> Array:
    """Kullback-Leibler divergence of a coin with probability `t` from one with `mean`."""
    return jax.scipy.special.rel_entr(mean, t) + jax.scipy.special.rel_entr(1.0 - mean, 1.0 - t)


@eqx.filter_jit
def _uppers(bound: MeanBound, values: Float[Array, "h n"], delta: _Number) -> Float[Array, " h"]:
    return jax.lax.map(lambda row: bound.upper(row, delta), values)


@eqx.filter_jit
def _p_values(
    bound: MeanBound, values: Float[Array, "h n"], limits: Float[Array, " h"], delta: _Number
) -> Float[Array, " h"]:
    return jnp.exp(
        jax.lax.map(lambda row: bound.log_p_value(row[0], row[1], delta), (values, limits))
    )


def mean_bounds(
    values: Float[Array | np.ndarray, "*batch n"],
    delta: float,
    bound: MeanBound,
    upper: Float[np.ndarray, "*#batch"] | float = 1.0,
) -> Float[np.ndarray, "*batch"]:
    """Returns upper confidence bounds on means, each valid at level `delta` on its own.

    Args:
        values: Independent values in [0, `upper`], one sample per row; NaN where not known. What
            is not known is left out, which is right where that does not depend on the value.
            `Betting` needs an order that has nothing to do with the values, others need none.
        delta: Probability that a bound may fail, in (0, 1).
        bound: How; see `ExactBinomial`, `HoeffdingBentkus`, `Betting`.
        upper: What no value of the population can exceed, known before the values were seen.

    Returns:
        Bounds in [0, `upper`]; `upper` where a row has no known value.

    Raises:
        InvalidInputError: `delta`, `upper` or a value is out of range, there are no values at
            all, or the exact binomial bound is asked of values between 0 and 1.
        PrecisionError: JAX runs in single precision.

    Example:
        >>> import numpy as np
        >>> wrong = np.repeat([1.0, 0.0], [5, 95])
        >>> print(f"{mean_bounds(wrong, 0.05, ExactBinomial()):.4f}")
        0.1023
    """
    scaled, upper = _scaled(values, upper, bound)
    check_delta(delta)
    rows = jnp.asarray(scaled.reshape(-1, scaled.shape[-1]))
    found = np.asarray(_uppers(bound, rows, jnp.asarray(delta, float)))
    return upper * found.reshape(upper.shape)


def mean_p_values(
    values: Float[Array | np.ndarray, "*batch n"],
    limit: Float[np.ndarray, "*#batch"] | float,
    bound: MeanBound,
    upper: Float[np.ndarray, "*#batch"] | float = 1.0,
    delta: float = 0.05,
) -> Float[np.ndarray, "*batch"]:
    """Returns p-values of "the mean is above `limit`": small ones speak for a smaller mean.

    Args:
        values: As in `mean_bounds`.
        limit: Above 0, one or one per row.
        bound: How.
        upper: As in `mean_bounds`; where it does not exceed `limit`, nothing is in doubt and the
            p-value is 0.
        delta: Level that the p-values will be held against; only the size of bets depends on it.

    Returns:
        In [0, 1]; 1 where a row has no known value and `upper` exceeds `limit`.

    Raises:
        InvalidInputError: As in `mean_bounds`, or `limit` is not above 0.
        PrecisionError: JAX runs in single precision.
    """
    scaled, upper = _scaled(values, upper, bound)
    check_delta(delta)
    given = np.asarray(limit, float)
    if not np.all(np.isfinite(given) & (given > 0)):
        raise InvalidInputError(f"`limit` must be finite and above 0; got {given.tolist()}.")
    open_ = np.broadcast_to(given < upper, upper.shape)
    limits = jnp.asarray(np.where(open_, given / upper, 0.5).ravel())
    rows = jnp.asarray(scaled.reshape(-1, scaled.shape[-1]))
    found = np.asarray(_p_values(bound, rows, limits, jnp.asarray(delta, float)))
    return np.where(open_, found.reshape(upper.shape), 0.0)


def _scaled(
    values: Float[Array | np.ndarray, "*batch n"],
    upper: Float[np.ndarray, "*#batch"] | float,
    bound: MeanBound,
) -> tuple[Float[np.ndarray, "*batch n"], Float[np.ndarray, "*batch"]]:
    if not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        raise PrecisionError(
            "Guarantees need double precision; JAX runs in single precision. Call "
            '`jax.config.update("jax_enable_x64", True)` first.'
        )
    values = np.asarray(values, float)
    if not np.any(~np.isnan(values)):
        raise InvalidInputError(
            f"`values` must hold at least one known value; it has the shape {values.shape} and "
            "none. Give labelled queries."
        )
    given = np.asarray(upper, float)
    if not np.all(np.isfinite(given) & (given > 0)):
        raise InvalidInputError(
            f"`upper` must be finite and above 0; got {given.tolist()}. State what no query can "
            "exceed."
        )
    ceilings = np.broadcast_to(given, values.shape[:-1])
    lowest = np.nanmin(values)
    if lowest < 0:
        raise InvalidInputError(f"`values` must be at least 0; the smallest is {lowest:.6g}.")
    beyond = values > ceilings[..., None]
    if beyond.any():
        worst = np.where(beyond, values, -np.inf).max()
        raise InvalidInputError(
            f"`upper` must be at least as large as any value can be; {int(beyond.sum())} values "
            f"exceed it, the largest is {worst:.6g}. State a limit that holds for all queries to "
            "come."
        )
    scaled = values / ceilings[..., None]
    if isinstance(bound, ExactBinomial):
        between = (scaled > 0) & (scaled < 1)
        if between.any():
            raise InvalidInputError(
                f"`ExactBinomial` needs values that are 0 or `upper`; {int(between.sum())} lie "
                "between. Use `Betting()` or `HoeffdingBentkus()`."
            )
    return scaled, ceilings


def check_delta(delta: float) -> None:
    """Raises unless it is a probability that something may fail."""
    if not 0.0 < delta < 1.0:
        raise InvalidInputError(
            f"`delta` must lie strictly between 0 and 1; got {delta}. It is the probability that "
            "the guarantee may fail: 0.05 for 95 % confidence."
        )

"""Records as the joint posterior sees them: standardised signals, and places of confidence.

Each draw of the posterior has its own calibrators. So that the laws of confidence are learnt on
one scale for all draws, a place of confidence is measured by a *reference* calibrator, the fitted
one. A draw's own confidences are a monotone map of it.
"""

from typing import NamedTuple, TypeGuard

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxcascade.calibration import Calibrator, LogisticCalibrator, Transform
from jaxcascade.cascade import Observations, PolicyArrays
from jaxcascade.errors import InvalidInputError

# A fitted slope may be zero, and then tells no places apart; another will do for that.
_LEAST_SLOPE = 0.25


class Frame(eqx.Module):
    """What all draws share: the scale of the signals, and the reference confidence.

    Attributes:
        models: Names, in the order in which policies may ask them.
        transform: From log-confidence to one signal.
        lowest: Smallest signal seen.
        highest: Largest signal seen.
        mean: Mean signal of the labelled runs.
        scale: Their standard deviation.
        intercept: Of the reference confidence's log-odds in the standardised signal.
        slope: Of the same, at least 0.25.
    """

    models: tuple[str, ...] = eqx.field(static=True)
    transform: Transform = eqx.field(static=True)
    lowest: Float[Array, "*batch k"]
    highest: Float[Array, "*batch k"]
    mean: Float[Array, "*batch k"]
    scale: Float[Array, "*batch k"]
    intercept: Float[Array, "*batch k"]
    slope: Float[Array, "*batch k"]

    def signal(self, log_confidence: Float[Array, "n k"]) -> Float[Array, "n k"]:
        """Returns standardised signals, cut to the range that was seen."""
        raw = self.transform(log_confidence)[..., 0]
        return (jnp.clip(raw, self.lowest, self.highest) - self.mean) / self.scale

    @property
    def signal_range(self) -> Float[Array, "2 k"]:
        """Smallest and largest standardised signal."""
        return (jnp.stack([self.lowest, self.highest]) - self.mean) / self.scale

    def confidence(self, signal: Float[Array, "*rest k"]) -> Float[Array, "*rest k"]:
        """Returns reference confidences."""
        return jax.nn.sigmoid(self.intercept + self.slope * signal)

    def signal_of(self, confidence: Float[Array, "*rest k"]) -> Float[Array, "*rest k"]:
        """Inverts `confidence`; -inf and inf stay what they are."""
        safe = jnp.clip(confidence, 1e-300, 1.0)
        log_odds = jnp.log(safe) - jnp.log1p(-jnp.minimum(safe, 1.0 - 1e-16))
        inside = (log_odds - self.intercept) / self.slope
        ends = jnp.where(confidence <= 0, -jnp.inf, jnp.inf)
        return jnp.where((confidence > 0) & (confidence < 1), inside, ends)

    @property
    def support(self) -> Float[Array, "2 k"]:
        """Smallest and largest reference confidence."""
        return self.confidence(self.signal_range)

    def place(self, signal: Float[Array, "*rest k"]) -> Float[Array, "*rest k"]:
        """Returns reference confidences stretched to [0, 1]; 1 where all are the same."""
        low, high = self.support
        apart = high > low
        place = (self.confidence(signal) - low) / jnp.where(apart, high - low, 1.0)
        return jnp.where(apart, jnp.clip(place, 0.0, 1.0), 1.0)

    def calibrator(
        self, intercept: Float[Array, "*draws k"], slope: Float[Array, "*draws k"]
    ) -> LogisticCalibrator:
        """Returns calibrators with given coefficients of the standardised signal."""
        coefficient = slope / self.scale
        one = coefficient[..., None]
        return LogisticCalibrator(
            intercept - coefficient * self.mean,
            one,
            jnp.broadcast_to(self.lowest[..., None], one.shape),
            jnp.broadcast_to(self.highest[..., None], one.shape),
            self.transform,
        )

    def translate(self, policies: PolicyArrays, calibrator: Calibrator) -> PolicyArrays:
        """Rewrites policies on one calibrator's confidences for the reference confidence.

        Args:
            policies: With any leading axes; breakpoints on the calibrator's confidences.
            calibrator: Logistic, of the same signals, one per model.

        Raises:
            InvalidInputError: The calibrators are of another kind.
        """
        _require_one_signal(calibrator)
        assert isinstance(calibrator, LogisticCalibrator)
        slope = calibrator.coefficients[..., 0] * self.scale
        intercept = calibrator.intercept + calibrator.coefficients[..., 0] * self.mean
        edges = jnp.asarray(policies.breakpoints)
        safe = jnp.clip(edges, 1e-300, 1.0 - 1e-16)
        log_odds = jnp.log(safe) - jnp.log1p(-safe)
        beyond = log_odds - intercept[:, None]
        signal = beyond / jnp.where(slope > 0, slope, 1.0)[:, None]
        # A calibrator without slope has one confidence, on one side of any breakpoint.
        signal = jnp.where(slope[:, None] > 0, signal, jnp.where(beyond >= 0, jnp.inf, -jnp.inf))
        signal = jnp.where(edges >= 1, jnp.inf, jnp.where(edges <= 0, -jnp.inf, signal))
        log_odds = self.intercept[:, None] + self.slope[:, None] * signal
        breakpoints = jnp.where(jnp.isinf(edges), edges, jax.nn.sigmoid(log_odds))
        return policies._replace(breakpoints=breakpoints)


class Evidence(NamedTuple):
    """Records as arrays; rows that do not count have weight zero and harmless values.

    Attributes:
        signal: Standardised signals.
        place: Reference confidence in the support stretched to [0, 1].
        end: 0 at the lowest confidence seen, 1 between, 2 at the highest.
        asked: Weight of each cell: that of its query, and 0 where the model was not asked.
        labelled: The same, and 0 where there is no label.
        correct: Labels, 0 where there is none.
        cost_usd: Dollars of each call; NaN where not asked.
        latency_s: Seconds of each call; NaN where not recorded.
    """

    signal: Float[Array, "*batch n k"]
    place: Float[Array, "*batch n k"]
    end: Array
    asked: Float[Array, "*batch n k"]
    labelled: Float[Array, "*batch n k"]
    correct: Float[Array, "*batch n k"]
    cost_usd: Float[Array, "*batch n k"]
    latency_s: Float[Array, "*batch n k"]

    @property
    def inside(self) -> Bool[Array, "*batch n k"]:
        """Whether a confidence lies between the ends."""
        return self.end == 1


def has_one_signal(calibrator: Calibrator) -> TypeGuard[LogisticCalibrator]:
    """Whether calibrators are such that there is a posterior: logistic in one signal."""
    return isinstance(calibrator, LogisticCalibrator) and calibrator.coefficients.shape[-1] == 1


def frame_of(
    models: tuple[str, ...], calibrator: Calibrator, data: Observations, weight: Float[Array, " n"]
) -> Frame:
    """Takes the scale of fitted calibrators.

    Args:
        models: Names of the columns.
        calibrator: Logistic, of one signal, one per model.
        data: The records that they were fitted to.
        weight: Weight of each query.

    Raises:
        InvalidInputError: The calibrators are of another kind.
    """
    _require_one_signal(calibrator)
    assert isinstance(calibrator, LogisticCalibrator)
    lowest, highest = calibrator.lowest[:, 0], calibrator.highest[:, 0]
    known = ~jnp.isnan(data.log_confidence)
    raw = calibrator.transform(jnp.where(known, data.log_confidence, 0.0))[..., 0]
    raw = jnp.clip(raw, lowest, highest)
    labelled = weight[:, None] * (known & ~jnp.isnan(data.correct))
    mean = weighted_mean(raw, labelled)
    scale = jnp.sqrt(weighted_mean((raw - mean) ** 2, labelled))
    scale = jnp.where(scale > 1e-12 * (1 + jnp.abs(mean)), scale, 1.0)
    coefficient = calibrator.coefficients[:, 0]
    return Frame(
        models,
        calibrator.transform,
        lowest,
        highest,
        mean,
        scale,
        calibrator.intercept + coefficient * mean,
        jnp.maximum(coefficient * scale, _LEAST_SLOPE),
    )


def _require_one_signal(calibrator: Calibrator) -> None:
    if not has_one_signal(calibrator):
        raise InvalidInputError(
            "`calibration` must be a logistic regression on one signal for a posterior, such as "
            f"`LogisticCalibration()`; the calibrators given are {type(calibrator).__name__}s"
            f"{' of two signals' if isinstance(calibrator, LogisticCalibrator) else ''}."
        )


def weighted_mean(values: Float[Array, "n k"], weight: Float[Array, "n k"]) -> Float[Array, " k"]:
    """Weighted means of what is known; NaN where nothing is."""
    known = weight * ~jnp.isnan(values)
    return jnp.sum(jnp.nan_to_num(values) * known, axis=0) / known.sum(axis=0)


def evidence_of(frame: Frame, data: Observations, weight: Float[Array, " n"]) -> Evidence:
    """Puts records on the scale of a frame.

    Args:
        frame: See `frame_of`.
        data: Records of the frame's models, in its order.
        weight: Weight of each query; 0 leaves it out.
    """
    known = ~jnp.isnan(data.log_confidence)
    signal = frame.signal(jnp.where(known, data.log_confidence, 0.0))
    lowest, highest = frame.signal_range
    end = jnp.where(signal >= highest, 2, jnp.where(signal <= lowest, 0, 1))
    asked = weight[:, None] * known
    inside = known & (end == 1)
    return Evidence(
        jnp.where(known, signal, 0.0),
        jnp.where(inside, frame.place(signal), 0.5),
        jnp.where(known, end, 1),
        asked,
        asked * ~jnp.isnan(data.correct),
        jnp.nan_to_num(data.correct),
        data.cost_usd,
        data.latency_s,
    )


def pairs_of(k: int, neighbours: bool = False) -> tuple[tuple[int, int], ...]:
    """Lists pairs (earlier, later) of models: all, or those next to each other."""
    if neighbours:
        return tuple((j, j + 1) for j in range(k - 1))
    return tuple((int(i), int(j)) for i, j in zip(*np.triu_indices(k, 1), strict=True))

"""What a calibration method takes and what a calibrator gives."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Calibrator(eqx.Module):
    """A fitted, non-decreasing map from log-confidence to the probability of being right."""

    @abc.abstractmethod
    def __call__(self, log_confidence: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns calibrated confidence in [0, 1] for natural log-confidence in [-inf, 0]."""

    @property
    def informative(self) -> Bool[Array, ""]:
        """False where all confidences mean the same: they are no signal of correctness."""
        lowest, highest = self(jnp.array([-jnp.inf, 0.0]))
        return highest > lowest


class Calibration(eqx.Module):
    """A method of fitting calibrators, with its settings."""

    @abc.abstractmethod
    def fit(
        self,
        log_confidence: Float[Array, " n"],
        correct: Float[Array, " n"],
        weight: Float[Array, " n"],
    ) -> Calibrator:
        """Fits one model's calibrator; pure, so that `vmap` fits many.

        Args:
            log_confidence: Natural log of the recorded confidence, in [-inf, 0].
            correct: 1 for a right answer, 0 for a wrong one; ignored where `weight` is 0.
            weight: How much each row counts; 0 leaves it out (missing or held out).
        """

"""Tests of many hypotheses with one probability of any false rejection."""

import abc

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float


class Correction(eqx.Module):
    """A way to test many hypotheses with a probability of `delta` at most of any false rejection.

    It holds however the tests depend on each other.
    """

    @abc.abstractmethod
    def rejects(self, p_values: Float[np.ndarray, "*h"], delta: float) -> Bool[np.ndarray, "*h"]:
        """Returns which hypotheses are rejected.

        Args:
            p_values: In an order that was fixed before the data of the test were seen.
            delta: In (0, 1).
        """

    @abc.abstractmethod
    def level(self, delta: float, num_hypotheses: int) -> float:
        """Returns the level at which the first hypothesis is tested."""


class Bonferroni(Correction):
    """Each at its equal share of `delta`."""

    def rejects(self, p_values: Float[np.ndarray, "*h"], delta: float) -> Bool[np.ndarray, "*h"]:
        return p_values <= self.level(delta, p_values.shape[-1])

    def level(self, delta: float, num_hypotheses: int) -> float:
        return delta / num_hypotheses


class Holm(Correction):
    """Smallest p-value first, its share divided among fewer as others are rejected.

    References:
        Holm (1979), A simple sequentially rejective multiple test procedure.
    """

    def rejects(self, p_values: Float[np.ndarray, "*h"], delta: float) -> Bool[np.ndarray, "*h"]:
        order = np.argsort(p_values, axis=-1, kind="stable")
        left = p_values.shape[-1] - np.arange(p_values.shape[-1])
        passes = np.take_along_axis(p_values, order, axis=-1) <= delta / left
        passes = np.logical_and.accumulate(passes, axis=-1)
        rejected = np.zeros(p_values.shape, bool)
        np.put_along_axis(rejected, order, passes, axis=-1)
        return rejected

    def level(self, delta: float, num_hypotheses: int) -> float:
        return delta / num_hypotheses


class FixedSequence(Correction):
    """Each at the whole of `delta`, in the given order, until one is not rejected.

    Strong where the order is good: policies from the safest predicted to the riskiest.

    References:
        Bauer (1991), Multiple testing in clinical trials; Angelopoulos, Bates, Candès, Jordan and
        Lei (2021), arXiv:2110.01052, who order the tests by data of their own.
    """

    def rejects(self, p_values: Float[np.ndarray, "*h"], delta: float) -> Bool[np.ndarray, "*h"]:
        return np.logical_and.accumulate(p_values <= delta, axis=-1)

    def level(self, delta: float, num_hypotheses: int) -> float:
        return delta

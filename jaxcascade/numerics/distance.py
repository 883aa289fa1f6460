"""How far a sample lies from a law."""

import numpy as np
from jaxtyping import Float


def cramer_von_mises(confidence: Float[np.ndarray, " n"], cdf: Float[np.ndarray, " n"]) -> float:
    """Returns the root mean squared distance of the empirical from the fitted distribution.

    This is the square root of the Cramér-von Mises statistic divided by n, as in table 5 of
    arXiv:2501.09345: 0 is perfect, and a sample of n from the law itself has about 0.4 / sqrt(n).

    Args:
        confidence: Sample; ties are the law's atoms.
        cdf: The law's distribution function at each value, continuous from the right.
    """
    ordered = np.sort(confidence)
    empirical = np.searchsorted(ordered, confidence, side="right") / confidence.size
    return float(np.sqrt(np.mean((cdf - empirical) ** 2)))

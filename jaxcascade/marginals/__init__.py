"""The distribution of one model's calibrated confidence."""

from jaxcascade.marginals.base import InteriorLaw, Marginal
from jaxcascade.marginals.fit import (
    BetaMixtureMethod,
    HistogramMethod,
    MarginalFit,
    MarginalMethod,
)
from jaxcascade.marginals.laws import BetaMixture, HistogramLaw, Recalibrated

__all__ = [
    "BetaMixture",
    "BetaMixtureMethod",
    "HistogramLaw",
    "HistogramMethod",
    "InteriorLaw",
    "Marginal",
    "MarginalFit",
    "MarginalMethod",
    "Recalibrated",
]

"""Dependence between two models' confidences."""

from jaxcascade.copulas.base import Copula, Independence
from jaxcascade.copulas.fit import (
    CensoredPairs,
    CopulaFit,
    censored_log_likelihood,
    fit_by_likelihood,
)
from jaxcascade.copulas.gumbel import Gumbel

__all__ = [
    "CensoredPairs",
    "Copula",
    "CopulaFit",
    "Gumbel",
    "Independence",
    "censored_log_likelihood",
    "fit_by_likelihood",
]

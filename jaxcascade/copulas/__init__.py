"""Dependence between two models' confidences."""

from jaxcascade.copulas.base import Copula, Independence
from jaxcascade.copulas.choice import FamilyComparison, compare_families
from jaxcascade.copulas.clayton import Clayton
from jaxcascade.copulas.fit import (
    CensoredPairs,
    CopulaFit,
    CopulaMethod,
    censored_log_likelihood,
    censored_log_prob,
    fit_by_likelihood,
    fit_by_tau,
)
from jaxcascade.copulas.frank import Frank
from jaxcascade.copulas.gaussian import Gaussian
from jaxcascade.copulas.goodness import GoodnessOfFit, goodness_of_fit
from jaxcascade.copulas.gumbel import Gumbel
from jaxcascade.copulas.joe import Joe
from jaxcascade.copulas.rotation import SurvivalGumbel, rotated
from jaxcascade.copulas.student_t import StudentT, student_t

# Those that a file may name: all that one number, tau, determines.
FAMILIES = (Clayton, Frank, Gaussian, Gumbel, Independence, Joe, SurvivalGumbel)

__all__ = [
    "FAMILIES",
    "CensoredPairs",
    "Clayton",
    "Copula",
    "CopulaFit",
    "CopulaMethod",
    "FamilyComparison",
    "Frank",
    "Gaussian",
    "GoodnessOfFit",
    "Gumbel",
    "Independence",
    "Joe",
    "StudentT",
    "SurvivalGumbel",
    "censored_log_likelihood",
    "censored_log_prob",
    "compare_families",
    "fit_by_likelihood",
    "fit_by_tau",
    "goodness_of_fit",
    "rotated",
    "student_t",
]

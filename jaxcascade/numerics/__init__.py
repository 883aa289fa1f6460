"""Special functions with their derivatives, quadrature rules and rank correlation."""

from jaxcascade.numerics.beta import (
    betainc,
    betaincc,
    betainccinv,
    betaincinv,
    log_betainc,
    log_betaincc,
)
from jaxcascade.numerics.kendall import kendall_tau
from jaxcascade.numerics.quadrature import (
    PanelRule,
    QuadratureRule,
    arcsine_rule,
    gauss_legendre,
    panel_rule,
)

__all__ = [
    "PanelRule",
    "QuadratureRule",
    "arcsine_rule",
    "betainc",
    "betaincc",
    "betainccinv",
    "betaincinv",
    "gauss_legendre",
    "kendall_tau",
    "log_betainc",
    "log_betaincc",
    "panel_rule",
]

"""Raw confidence to the probability of being right, and how good that is."""

from jaxcascade.calibration.base import Calibration, Calibrator
from jaxcascade.calibration.isotonic import IsotonicCalibration, IsotonicCalibrator
from jaxcascade.calibration.joint import joint_probability
from jaxcascade.calibration.logistic import (
    LogisticCalibration,
    LogisticCalibrator,
    TemperatureCalibration,
    beta_calibration,
)
from jaxcascade.calibration.measures import (
    ReliabilityCurve,
    auroc,
    brier,
    ece,
    log_loss,
    reliability_curve,
)
from jaxcascade.calibration.signals import Transform, log_odds, log_pair, one_sided, two_sided

__all__ = [
    "Calibration",
    "Calibrator",
    "IsotonicCalibration",
    "IsotonicCalibrator",
    "LogisticCalibration",
    "LogisticCalibrator",
    "ReliabilityCurve",
    "TemperatureCalibration",
    "Transform",
    "auroc",
    "beta_calibration",
    "brier",
    "ece",
    "joint_probability",
    "log_loss",
    "log_odds",
    "log_pair",
    "one_sided",
    "reliability_curve",
    "two_sided",
]

"""The report: tables, figures, and one file that shows them all."""

from jaxcascade.reports.page import write_report
from jaxcascade.reports.tables import (
    ModelRow,
    PolicyRow,
    model_rows,
    policy_rows,
)

__all__ = [
    "ModelRow",
    "PolicyRow",
    "model_rows",
    "policy_rows",
    "write_report",
]

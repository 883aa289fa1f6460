"""What the figures draw on, and what a drawn one is."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from jaxcascade.cascade import CascadeModel
from jaxcascade.records import Records
from jaxcascade.reports.tables import ModelRow
from jaxcascade.tuning import Evaluation, Frontier


class Drawn(NamedTuple):
    """A figure with its title and a caption that says how to read it."""

    title: str
    caption: str
    figure: Figure


class Material(NamedTuple):
    """Everything that the figures draw on, models in the frontier's order.

    Attributes:
        frontier: The policies.
        records: Runs, with empty columns for models that were not recorded.
        confidence: Calibrated confidences; NaN where there is no run.
        rows: Measures of each model.
        model: The fitted joint model, or None.
        evaluation: Of the frontier on the records, or None.
    """

    frontier: Frontier
    records: Records
    confidence: Float[np.ndarray, "n k"]
    rows: tuple[ModelRow, ...]
    model: CascadeModel | None
    evaluation: Evaluation | None

    @property
    def recorded(self) -> list[int]:
        """Positions of the models with any run."""
        return np.flatnonzero(self.records.asked.any(axis=0)).tolist()

    @property
    def edges(self) -> Float[np.ndarray, " p+1"]:
        """Ends of the range of prices that each point stands for."""
        return cell_edges(self.frontier.error_prices)


def cell_edges(prices: Float[np.ndarray, " p"]) -> Float[np.ndarray, " p+1"]:
    """Returns the ends of the ranges in which each price is the nearest in ratio.

    Example:
        >>> import numpy as np
        >>> cell_edges(np.array([1.0, 100.0])).round(3).tolist()
        [0.1, 10.0, 1000.0]
    """
    logs = np.log(prices)
    middles = (logs[1:] + logs[:-1]) / 2
    half = (logs[-1] - logs[0]) / (2 * (len(logs) - 1)) if len(logs) > 1 else np.log(2)
    return np.exp(np.concatenate([[logs[0] - half], middles, [logs[-1] + half]]))

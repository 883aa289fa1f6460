"""The report on what answers are worth: one file with the verdict, the tables and the figures."""

from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxcascade.cascade import Outcome
from jaxcascade.economics import DeferralCurve, FrontierMap, price_map
from jaxcascade.reports import assembly, markup
from jaxcascade.reports.markup import Column

if TYPE_CHECKING:
    from jaxcascade.reports.material import Drawn

_NUM_PRICES = 60
_SPAN = 100.0


class EconomicMaterial(NamedTuple):
    """What the figures draw on.

    Attributes:
        systems: Names.
        draws: Their outcomes; leading axes (draws, systems).
        error_price: Dollars per wrong answer, in the middle of the figures.
        latency_price: Dollars per second.
        abstention_price: Dollars per query given up.
        curve: A cascade of two models, or None.
        cascades: Recommended policies at several prices of a second, or None.
    """

    systems: tuple[str, ...]
    draws: Outcome
    error_price: float
    latency_price: float
    abstention_price: float
    curve: DeferralCurve | None
    cascades: FrontierMap | None


def write_economics_report(
    path: str | PathLike,
    verdict: Sequence[str],
    tables: Sequence[tuple[str, Sequence[Column]]],
    material: EconomicMaterial,
    *,
    title: str = "What answers are worth",
) -> None:
    """Writes a report as one HTML file that needs nothing else, whole or not at all.

    Args:
        path: Where the file shall be.
        verdict: The answer in words, a paragraph each.
        tables: Heading and columns of each.
        material: Of the figures.
        title: Heading of the page.

    Raises:
        FileFormatError: The folder does not exist.
    """
    assembly.write_page(path, title, _parts(verdict, tables, material))


def _parts(
    verdict: Sequence[str],
    tables: Sequence[tuple[str, Sequence[Column]]],
    material: EconomicMaterial,
) -> Iterator[str]:
    yield from (markup.text("p", one, "verdict") for one in verdict)
    for heading, columns in tables:
        yield markup.text("h2", heading)
        yield markup.table(columns)
    yield markup.text("h2", "Figures")
    yield from assembly.figures(_makers(material))


def _makers(material: EconomicMaterial) -> dict[str, Callable[[], "Drawn"]]:
    # Here, because it loads matplotlib, which a user who wants no report does not wait for.
    from jaxcascade.reports import economic_figures as figures

    draws, systems = material.draws, material.systems
    middle = material.error_price if material.error_price > 0 else 1.0
    prices = np.geomspace(middle / _SPAN, middle * _SPAN, _NUM_PRICES)
    given_up = material.abstention_price
    seconds = _latency_grid(material, middle)
    found = price_map(draws, prices, seconds, abstention_price=given_up)
    latency_price = material.latency_price
    makers = {
        "best-system": lambda: figures.best_system_map(found, systems),
        "loss": lambda: figures.loss_by_price(draws, systems, prices, latency_price, given_up),
        "pareto": lambda: figures.pareto(draws, systems),
        "parts-of-loss": lambda: figures.system_bars(draws, systems),
    }
    curve, cascades = material.curve, material.cascades
    if curve is not None:
        makers["passing-on"] = lambda: figures.passing_on(curve)
    if cascades is not None:
        makers["cascades"] = lambda: figures.cascade_map(cascades)
    return makers


def _latency_grid(material: EconomicMaterial, error_price: float) -> np.ndarray:
    """Prices of a second at which seconds weigh from next to nothing to more than errors."""
    error, latency = (np.mean(p, axis=0) for p in (material.draws.error, material.draws.latency_s))
    if not np.isfinite(latency).all() or np.ptp(latency) == 0:
        return np.array([material.latency_price])
    middle = error_price * max(float(np.ptp(error)), 1e-3) / float(np.ptp(latency))
    return np.append(0.0, np.geomspace(middle / _SPAN, middle * _SPAN, _NUM_PRICES - 1))

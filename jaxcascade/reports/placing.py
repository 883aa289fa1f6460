"""Where words go in a figure: labels that avoid each other, notes in corners."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox

from jaxcascade.reports.style import INK, SHADE, Mark, darker

_STEPS = 20
_DISTANCES_PT = (9.0, 20.0, 34.0)
_SIDES: dict[int, Literal["left", "center", "right"]] = {1: "left", 0: "center", -1: "right"}
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))


def block(
    ax: Axes, corner: tuple[float, float], size: tuple[float, float], look: dict[str, Any]
) -> None:
    """Paints a rectangle, without a seam to its neighbours."""
    edge = look.get("edgecolor", look["facecolor"])
    line = 0.0 if "hatch" in look else 0.4
    patch = Rectangle(corner, *size, linewidth=line, **{**look, "edgecolor": edge})
    ax.add_patch(patch)


def corner(ax: Axes, text: str) -> None:
    """Writes a line into the lower right corner."""
    ax.text(0.97, 0.04, text, transform=ax.transAxes, ha="right", fontsize=8, color=INK)


def note(ax: Axes, text: str) -> None:
    """Writes a line into the middle, where there is nothing to draw."""
    place = {"transform": ax.transAxes, "ha": "center", "va": "center"}
    ax.text(0.5, 0.5, text, color=SHADE, **place)


def label_points(
    ax: Axes, x: Float[np.ndarray, " k"], y: Float[np.ndarray, " k"], marks: Sequence[Mark]
) -> None:
    """Names points beside them, each where it covers the least of what is there already.

    Call it last: it needs the final axes. Points that are not finite are left out.
    """
    limits = ax.axis()
    _figure(ax).draw_without_rendering()
    shown = np.flatnonzero(np.isfinite(x) & np.isfinite(y)).tolist()
    corners = [ax.transData.transform((x[j], y[j])) for j in shown]
    taken = [Bbox.from_extents(*(c - 7), *(c + 7)) for c in corners]
    taken += [Bbox.from_extents(*(c - 2), *(c + 2)) for c in _drawn_points(ax)]
    for j in shown:
        taken.append(_place(ax, (float(x[j]), float(y[j])), marks[j], taken))
    ax.axis(limits)


def _figure(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def _drawn_points(ax: Axes) -> Float[np.ndarray, "c 2"]:
    """Pixels of points along the lines, close enough that no label slips between two."""
    pixels = [np.zeros((0, 2))]
    for line in ax.lines:
        path = ax.transData.transform(np.asarray(line.get_xydata()))
        steps = np.linspace(0, 1, _STEPS)[:, None]
        pixels += [path, *(a + steps * (b - a) for a, b in pairwise(path))]
    points = np.unique(np.concatenate(pixels).round(), axis=0)
    return points[np.isfinite(points).all(axis=1)]


def _place(ax: Axes, at: tuple[float, float], mark: Mark, taken: list[Bbox]) -> Bbox:
    """Writes a label where it costs the least, and returns the pixels it takes."""
    text = ax.annotate(mark.label, at, (0, 0), textcoords="offset points", fontsize=8)
    # In the colour of its mark: where marks lie on each other, nothing else tells whose it is.
    text.set_color(darker(mark.colour))
    size = np.array(text.get_window_extent().size)
    best = min(
        ((distance, direction) for distance in _DISTANCES_PT for direction in _DIRECTIONS),
        key=lambda place: place[0] + _overlap(_box(ax, at, size, *place), taken, ax.bbox),
    )
    box = _box(ax, at, size, *best)
    # Anchored on the side of the point, so that a narrower font leaves no gap to it.
    side = best[1][0]
    text.set_horizontalalignment(_SIDES[side])
    anchor = np.array([box.x0 + box.width * (1 - side) / 2, box.y0])
    text.set_position(tuple((anchor - ax.transData.transform(at)) * 72 / _figure(ax).dpi))
    if best[0] > _DISTANCES_PT[0]:
        near = np.clip(ax.transData.transform(at), box.min, box.max)
        ends = ax.transData.inverted().transform([near, ax.transData.transform(at)])
        ax.plot(*ends.T, color=SHADE, lw=0.6, zorder=1)
    return box


def _box(
    ax: Axes,
    at: tuple[float, float],
    size: Float[np.ndarray, "2"],
    distance_pt: float,
    direction: tuple[int, int],
) -> Bbox:
    """Pixels of a label of that size, so far from a point in that direction."""
    along = np.array(direction)
    shift = distance_pt * _figure(ax).dpi / 72 * along / np.hypot(*along)
    low = ax.transData.transform(at) + shift + size * (along - 1) / 2
    return Bbox.from_extents(*low, *(low + size))


def _overlap(box: Bbox, taken: Sequence[Bbox], inside: Bbox) -> float:
    """Square pixels covered twice, plus what sticks out, which counts ten times."""
    shared = [Bbox.intersection(box, other) for other in taken]
    covered = sum(abs(part.width * part.height) for part in shared if part is not None)
    kept = Bbox.intersection(box, inside)
    area = box.width * box.height
    return covered + 10 * (area - (0.0 if kept is None else kept.width * kept.height))

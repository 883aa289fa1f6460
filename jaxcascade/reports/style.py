"""How the figures look: one mark per model, one sheet, and the way to inline SVG."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

# Tol's muted scheme, told apart with any common colour blindness, and five more for large pools,
# where no scheme is safe any longer; shapes differ as well, and names stand beside the marks.
COLOURS = [
    "#332288",
    "#CC6677",
    "#44AA99",
    "#DDCC77",
    "#882255",
    "#88CCEE",
    "#117733",
    "#AA4499",
    "#999933",
    "#6699CC",
    "#661100",
    "#888888",
    "#EE7733",
    "#222222",
]
MARKERS = "os^DvPX<>ph*d8"
INK, SHADE, PALE = "#222222", "#8a8a8a", "#dedede"
WIDTH_IN = 10.0

_LONGEST_LABEL = 26
_FINE_BELOW = 3.0
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SHEET = {
    "font.size": 9,
    "text.parse_math": False,  # a model's name may hold dollar signs
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SHADE,
    "axes.labelcolor": INK,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#ececec",
    "grid.linewidth": 0.7,
    "xtick.color": SHADE,
    "ytick.color": SHADE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "hatch.linewidth": 0.5,
    "svg.fonttype": "none",  # the reader's fonts draw the text: any script, and it can be searched
    "svg.hashsalt": "jaxcascade",  # the same report twice is the same file
}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


class Mark(NamedTuple):
    """How one model is shown in every figure."""

    label: str
    colour: str
    marker: str


def marks(models: Sequence[str]) -> tuple[Mark, ...]:
    """Gives every model its colour and shape, by position."""
    return tuple(
        Mark(short_label(name), COLOURS[j % len(COLOURS)], MARKERS[j % len(MARKERS)])
        for j, name in enumerate(models)
    )


def short_label(name: str) -> str:
    """Cuts a name in the middle, where it is too long for a figure.

    Example:
        >>> short_label("a-very-long-name-of-a-model-70b-instruct")
        'a-very-long-n…70b-instruct'
    """
    # A legend leaves out labels that start with an underscore.
    text = " ".join(name.split()) or " "
    text = f" {text}" if text.startswith("_") else text
    if len(text) <= _LONGEST_LABEL:
        return text
    half = _LONGEST_LABEL // 2
    return f"{text[:half]}…{text[-(_LONGEST_LABEL - half - 1) :]}"


@contextmanager
def drawing() -> Iterator[None]:
    """Draws in the report's style whatever the user's settings are."""
    with matplotlib.style.context(["default", _SHEET]), warnings.catch_warnings():
        # Layout measures text in the built-in font, which lacks many scripts; the SVG leaves the
        # letters to the reader's fonts, so a glyph missing here is not missing there.
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        warnings.filterwarnings("ignore", r"Matplotlib currently does not support", UserWarning)
        yield


def sheet(height_in: float) -> tuple[Figure, Axes]:
    """Returns a figure of full width with one plot."""
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    return figure, figure.add_subplot()


def panels(
    count: int, height_in: float, *, most: int = 5, fewest: int = 3, share: bool = True
) -> tuple[Figure, list[Axes]]:
    """Returns a figure of full width with `count` small plots, in rows of about equal length.

    Args:
        count: How many plots.
        height_in: Height of a row in inches.
        most: Plots in a row, at most.
        fewest: Places in a row, at least, so that one plot alone does not fill it.
        share: Whether all plots have one scale.
    """
    rows = -(-count // most)
    columns = max(-(-count // rows), fewest)
    figure = Figure(figsize=(WIDTH_IN, rows * height_in + 0.3), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=share, sharey=share, squeeze=False).ravel()
    for position, unused in enumerate(grid[count:], count):
        # What stands above an empty place is the last of its column.
        grid[position - columns].tick_params(labelbottom=True)
        unused.remove()
    return figure, list(grid[:count])


def to_svg(figure: Figure, prefix: str) -> str:
    """Returns a figure as an `svg` element whose ids start with `prefix`, unique on a page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=_NO_METADATA, dpi=160)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    return re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{prefix}-", text)


def dollar_axis(ax: Axes, values: np.ndarray, fine_below: float = _FINE_BELOW) -> None:
    """Scales the x axis for amounts: logarithmic, unless some are zero or all the same.

    Args:
        ax: Where to draw.
        values: The amounts shown, in dollars.
        fine_below: Number of powers of ten up to which there are ticks between them.
    """
    known = values[np.isfinite(values)]
    if known.size and 0 < known.min() < known.max():
        ax.set_xscale("log")
        is_fine = np.log10(known.max() / known.min()) < fine_below
        few = 4 if fine_below < _FINE_BELOW else 8
        locator = LogLocator(subs=(1.0, 2.0, 5.0)) if is_fine else LogLocator(numticks=few)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(_plain_dollars))


def _plain_dollars(amount: float, _: int | None = None) -> str:
    if 0 < amount < 1e-5:
        digits, exponent = f"{amount:.0e}".split("e")
        power = "10" + str(int(exponent)).translate(_SUPERSCRIPTS)
        return f"${power}" if digits == "1" else f"${digits}·{power}"
    return "$" + np.format_float_positional(amount, 3, unique=False, fractional=False, trim="-")


def darker(colour: str) -> tuple[float, float, float]:
    """Mixes a third of black into a colour, so that words in it can be read on white."""
    red, green, blue = (0.66 * part for part in to_rgb(colour))
    return red, green, blue

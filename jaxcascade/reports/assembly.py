"""How any page is put together: heading, parts, figures, and who made it."""

from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from typing import TYPE_CHECKING

from jaxcascade._version import __version__
from jaxcascade.records import replaced_file
from jaxcascade.reports import markup

if TYPE_CHECKING:
    from jaxcascade.reports.material import Drawn


def write_page(path: str | PathLike, title: str, parts: Iterable[str]) -> None:
    """Writes one HTML file that needs nothing else, whole or not at all.

    Args:
        path: Where the file shall be.
        title: Heading of the page.
        parts: HTML, made when the file is known to have a place.

    Raises:
        FileFormatError: The folder does not exist.
    """
    with replaced_file(path) as temporary:
        made_by = markup.text("p", f"Made by jaxcascade {__version__}.", "note")
        page = markup.page(title, [markup.text("h1", title), *parts, made_by])
        temporary.write_text(page, encoding="utf-8")


def figures(makers: Mapping[str, Callable[[], "Drawn"]]) -> list[str]:
    """Draws figures, each with its name as its id.

    Args:
        makers: Draw one figure each. Those of other modules are best imported on the call, for
            they load matplotlib, which a user who wants no report does not wait for.
    """
    from jaxcascade.reports.style import drawing, to_svg

    shown = []
    for name, make in makers.items():
        with drawing():
            title, caption, figure = make()
            shown.append(markup.figure(name, title, caption, to_svg(figure, name)))
    return shown

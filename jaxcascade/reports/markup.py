"""Small pieces of HTML; every text that comes from outside is escaped here."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        head: Its name; a page begins it with a capital letter.
        cells: What stands in it, as text; a line break is kept.
        kind: How it is set: "words", "price", "policy" or "gain"; nothing for plain numbers.
    """

    head: str
    cells: Sequence[str]
    kind: str = ""


STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  color: #222; background: #fff; max-width: 1040px; margin: 2.5rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.6rem; margin: 0 0 1rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; padding-top: .8rem; border-top: 1px solid #ddd; }
.verdict { font-size: 1.1rem; border-left: 4px solid #332288; padding: .2rem 0 .2rem 1rem; }
.facts, figcaption, .note { color: #555; font-size: .88rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .84rem; line-height: 1.35;
  font-variant-numeric: tabular-nums; }
th, td { text-align: right; vertical-align: top; padding: .35rem .55rem;
  border-bottom: 1px solid #e4e4e4; }
th { font-weight: 600; color: #555; border-bottom-color: #999; vertical-align: bottom; }
td { white-space: pre; }
th.words, th.policy, th.price, td.price { text-align: left; }
td.words, td.policy { text-align: left; white-space: pre-line; overflow-wrap: anywhere; }
td.words { min-width: 6rem; }
td.policy { min-width: 16rem; }
td.gain { white-space: pre-line; min-width: 9rem; overflow-wrap: break-word; }
figure { margin: 1.6rem 0 2rem; break-inside: avoid; }
figure h3 { font-size: 1rem; margin: 0 0 .2rem; }
figcaption { margin-bottom: .5rem; }
svg { display: block; width: 100%; height: auto; }
svg text { font-family: inherit !important; }
tr { break-inside: avoid; }
@page { margin: 15mm; }
@media print { body { font-size: 11px; margin: 0; padding: 0; max-width: none; }
  .wide { overflow: visible; } h2, h3 { break-after: avoid; } }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """Returns a whole document."""
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def text(tag: str, content: str, kind: str = "") -> str:
    """Returns an element that holds text.

    Example:
        >>> text("p", "a < b", "note")
        '<p class="note">a &lt; b</p>'
    """
    attribute = f' class="{kind}"' if kind else ""
    return f"<{tag}{attribute}>{escape(content)}</{tag}>"


def table(columns: Sequence[Column]) -> str:
    """Returns a table of columns of equal length."""

    def row(tag: str, cells: Sequence[str]) -> str:
        kinds = (column.kind for column in columns)
        parts = (text(tag, cell, kind) for cell, kind in zip(cells, kinds, strict=True))
        return f"<tr>{''.join(parts)}</tr>"

    head = row("th", [column.head[:1].upper() + column.head[1:] for column in columns])
    rows = zip(*(column.cells for column in columns), strict=True)
    body = "\n".join(row("td", cells) for cells in rows)
    return (
        f'<div class="wide"><table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n'
        "</table></div>"
    )


def figure(name: str, title: str, caption: str, svg: str) -> str:
    """Returns a figure with its title and caption; `svg` is taken as it is."""
    label = escape(f"{title}. {caption}", quote=True)
    image = svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    return (
        f'<figure id="{name}">\n{text("h3", title)}\n{text("figcaption", caption)}\n'
        f"{image}\n</figure>"
    )

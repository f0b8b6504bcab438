"""Texts as a notebook shows them: in the page's own colours, be they light or dark."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

# `currentColor` and no background: what is around decides, on a light page and on a dark one.
_LINE = "border-bottom:1px solid color-mix(in srgb,currentColor 20%,transparent)"
_CELL = "text-align:left;vertical-align:top;padding:.2em .8em .2em 0"
_CAPTION = "text-align:left;white-space:pre-wrap"
_FONT = "font-family:ui-monospace,monospace;font-size:.9em;overflow-x:auto"


def html_page(text: str) -> str:
    """A text as it is printed; long lines scroll."""
    return f'<pre style="{_FONT};background:none;color:inherit">{html.escape(text)}</pre>'


def html_table(titles: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """A table; a cell keeps its lines, and a path may continue on the next one after a slash."""
    head = "".join(f'<th style="{_CELL};{_LINE}">{html.escape(title)}</th>' for title in titles)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="{_CELL};white-space:pre-wrap">{_breakable(cell)}</td>' for cell in row
        )
        + "</tr>"
        for row in rows
    )
    told = f'<caption style="{_CAPTION}">{html.escape(caption)}</caption>' if caption else ""
    return (
        f'<div style="{_FONT}"><table style="background:none;color:inherit">{told}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _breakable(text: str) -> str:
    # Else a long path makes a table wider than its page, which hides the columns after it.
    return html.escape(text).replace("/", "/<wbr/>")

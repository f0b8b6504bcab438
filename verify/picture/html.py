"""One HTML file that holds a step, its facts, and all it takes to explore them."""

from __future__ import annotations

import base64
import gzip
import html
import json
import string
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any

from verify.picture.colours import COLOURS, MARKS, by_night
from verify.picture.groups import Group
from verify.picture.outline import Outline

_SCRIPTS = (
    "tree.js",
    "drawing.js",
    "map.js",
    "view.js",
    "chosen.js",
    "search.js",
    "controls.js",
)
_FEW = 10  # entries of a fact that are shown without being asked for
_FRAME = (
    "width:100%;height:32em;border:1px solid color-mix(in srgb,currentColor 30%,transparent);"
    "border-radius:4px"
)


def page(outline: Outline, facts: str) -> str:
    """A page that needs nothing from anywhere else.

    Args:
        facts: what stands beside the picture, as HTML.
    """
    step = {
        "root": _tree(outline.root),
        "layers": outline.by_layer and _tree(outline.by_layer, numbers=True),
        "wires": [list(wire) for wire in outline.wires],
        "tones": {name: f"var(--tone-{number})" for number, name in enumerate(COLOURS)},
        "sides": outline.sides and dict(zip(("old", "new"), outline.sides, strict=True)),
    }
    data = gzip.compress(json.dumps(step, separators=(",", ":")).encode(), mtime=0)
    title = " → ".join(dict.fromkeys(outline.sides or (outline.root.name,)))
    return string.Template(_asset("page.html")).substitute(
        TITLE=html.escape(title),
        FACTS=facts,
        STYLE=_colours() + _asset("page.css"),
        DAGRE=_asset("dagre.min.js"),
        SCRIPT="\n".join(map(_asset, _SCRIPTS)),
        DATA=base64.b64encode(data).decode(),
    )


def framed(page: str, title: str) -> str:
    """A page within another, as a notebook's."""
    shown = html.escape(page, quote=True)
    return f'<iframe title="{html.escape(title)}" srcdoc="{shown}" style="{_FRAME}"></iframe>'


def fact_rows(headline: str, rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Facts; many entries of one are folded."""
    told = [f"<dt>{html.escape(title)}</dt><dd>{_entries(entries)}</dd>" for title, entries in rows]
    return f"<p>{html.escape(headline)}</p><dl>{''.join(told)}</dl>"


def changed_rows(changes: Iterable[str], lists: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Lines that begin with ``+`` or ``-``, and below them lists under titles."""
    classes = {"+": ' class="new"', "-": ' class="old"'}
    lines = [f"<li{classes.get(line[:1], '')}>{html.escape(line)}</li>" for line in changes]
    told = [f"<dt>{html.escape(title)}</dt><dd>{_entries(names)}</dd>" for title, names in lists]
    return f"<ul>{''.join(lines)}</ul><dl>{''.join(told)}</dl>"


def _entries(entries: Sequence[str]) -> str:
    shown, more = entries[:_FEW], entries[_FEW:]
    made = "".join(f"<div>{html.escape(entry)}</div>" for entry in shown)
    if more:
        rest = "".join(f"<div>{html.escape(entry)}</div>" for entry in more)
        made += f"<details><summary>{len(more)} more</summary>{rest}</details>"
    return made


def _colours() -> str:
    """Fills by day and by night, as custom properties."""
    fills = {f"--tone-{number}": colour for number, colour in enumerate(COLOURS.values())}
    fills |= {f"--{mark}": colour for mark, colour in MARKS.items()}
    made = (f"{name}:light-dark({day},{by_night(day)});" for name, day in fills.items())
    return f":root{{{''.join(made)}}}\n"


def _tree(group: Group, numbers: bool = False) -> dict[str, Any]:
    """A group for the page; `numbers`: of its ops, which another tree describes, these alone."""
    made: dict[str, Any] = {"name": group.name, "kind": group.kind, "count": group.count}
    if group.note:
        made["note"] = group.note
    if group.groups:
        made["groups"] = [_tree(inner, numbers) for inner in group.groups.values()]
    if group.ops:
        made["ops"] = [op["i"] for op in group.ops] if numbers else group.ops
    return made


def _asset(name: str) -> str:
    return resources.files("verify.picture").joinpath("assets", name).read_text("utf-8")

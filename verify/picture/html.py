"""One HTML file that holds a step, its facts, and all it takes to explore them."""

from __future__ import annotations

import html
import json
from importlib import resources
from typing import Any

from verify.picture.colours import COLOURS, MARKS, by_night
from verify.picture.groups import Group
from verify.picture.outline import Outline

_SCRIPTS = ("tree.js", "drawing.js", "view.js", "search.js", "controls.js")


def page(outline: Outline, facts: str) -> str:
    """A page that needs nothing from anywhere else.

    Args:
        facts: the text beside the picture.
    """
    step = {
        "root": _tree(outline.root),
        "wires": [list(wire) for wire in outline.wires],
        "tones": {name: f"var(--tone-{number})" for number, name in enumerate(COLOURS)},
    }
    # `</script>` in a name would end the data.
    data = json.dumps(step, separators=(",", ":")).replace("<", "\\u003c")
    parts = {
        "TITLE": html.escape(outline.root.name),
        "FACTS": html.escape(facts),
        "STYLE": _colours() + _asset("page.css"),
        "DAGRE": _asset("dagre.min.js"),
        "SCRIPT": "\n".join(map(_asset, _SCRIPTS)),
        "DATA": data,
    }
    text = _asset("page.html")
    before, *rest = text.split("{{")
    made = [before]
    for piece in rest:
        name, _, after = piece.partition("}}")
        made += [parts[name], after]
    return "".join(made)


def _colours() -> str:
    """Fills by day and by night, as custom properties."""
    fills = {f"--tone-{number}": colour for number, colour in enumerate(COLOURS.values())}
    fills |= {f"--{mark}": colour for mark, colour in MARKS.items()}
    day = "".join(f"{name}:{colour};" for name, colour in fills.items())
    night = "".join(f"{name}:{by_night(colour)};" for name, colour in fills.items())
    return f":root{{{day}}}\n@media (prefers-color-scheme:dark){{:root{{{night}}}}}\n"


def _tree(group: Group) -> dict[str, Any]:
    made: dict[str, Any] = {"name": group.name, "kind": group.kind, "count": group.count}
    if group.note:
        made["note"] = group.note
    if group.groups:
        made["groups"] = [_tree(inner) for inner in group.groups.values()]
    if group.ops:
        made["ops"] = group.ops
    return made


def _asset(name: str) -> str:
    return resources.files("verify.picture").joinpath("assets", name).read_text("utf-8")

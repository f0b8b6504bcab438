"""A step at one glance, as a still picture: its clusters, branches and kinds of variables."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from loopctl_shared import how_to_install
from verify.errors import ContractError
from verify.picture.colours import CLUSTERS, COLOURS
from verify.picture.groups import Group
from verify.picture.outline import outline
from verify.picture.places import Places
from verify.step import Step
from verify.step_facts import facts_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Column and row of each cluster within its branch.
_PLACES = {
    "input": (0, 0),
    "forward": (1, 0),
    "loss": (2, 0),
    "backward": (3, 0),
    "clip": (4, 0),
    "optimizer": (5, 0),
    "regularization": (2, 1),
    "metrics and state": (0, 1),
}
_OTHERS = (3, 1)  # where the clusters of other kinds of facts begin
_FLOW = (
    ("input", "forward"),
    ("forward", "loss"),
    ("loss", "backward"),
    ("regularization", "backward"),
    ("backward", "clip"),
    ("clip", "optimizer"),
    ("backward", "optimizer"),
    ("backward", "accumulation"),
    ("accumulation", "optimizer"),
)


def write_overview(step: Step, path: Path) -> None:
    """Writes the picture in the format that the file's name says.

    Raises:
        ContractError: matplotlib is not installed.
    """
    try:
        from matplotlib import figure, rc_context
    except ImportError:
        told = f"a still picture needs matplotlib: {how_to_install('plot')}"
        raise ContractError(told) from None
    places = Places(step)
    root = outline(places).root
    regions = list(_regions(root, ""))
    facts = [
        line
        for fact in str(facts_of(places.detector)).splitlines()
        for line in textwrap.wrap(fact, 170, subsequent_indent=" " * 20, drop_whitespace=False)
    ]
    with rc_context({"text.parse_math": False}):  # a name with dollars in it is no formula
        picture = _figure(figure.Figure, root, regions, facts)
        picture.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {})


def _figure(
    make: type[Figure], root: Group, regions: list[tuple[str, Group]], facts: list[str]
) -> Figure:
    text_height = 0.155 * len(facts) + 0.4
    height = 3.2 * len(regions) + 1.6 + text_height
    figure = make(figsize=(15, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, 15)
    axes.set_ylim(0, height)
    axes.axis("off")
    top = height - 0.3
    axes.text(0.4, top, root.name, fontsize=14, weight="bold", va="top")
    _variables(axes, root, top - 0.8)
    top -= 1.5
    for label, region in regions:
        _region(axes, label, region, top)
        top -= 3.2
    axes.text(0.4, text_height, "\n".join(facts), family="monospace", fontsize=8, va="top")
    return figure


def _regions(group: Group, label: str) -> list[tuple[str, Group]]:
    """The step and, nested, its branches, each with clusters of its own."""
    found = [(label, group)] if any(g.kind == "cluster" for g in group.groups.values()) else []
    for inner in group.groups.values():
        if inner.kind == "branch":
            found += _regions(inner, f"{label}, {inner.name}" if label else inner.name)
    return found


def _variables(axes: Axes, root: Group, y: float) -> None:
    from matplotlib.patches import Ellipse

    groups = root.groups["variables"].groups.values() if "variables" in root.groups else ()
    for number, group in enumerate(groups):
        x = 1.6 + 3.2 * number
        axes.add_patch(Ellipse((x, y), 2.8, 0.7, facecolor="white", edgecolor="#5b6474"))
        axes.text(x, y, f"{group.count} {group.name}", ha="center", va="center", fontsize=9)


def _region(axes: Axes, label: str, region: Group, top: float) -> None:
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

    if label:
        axes.add_patch(
            Rectangle(
                (0.2, top - 2.95), 14.6, 2.9, facecolor="#fdf0fb", edgecolor="#b5179e", lw=1.5
            )
        )
        axes.text(0.35, top - 0.15, label, fontsize=10, weight="bold", va="top", color="#7b1070")
    there = {name: region.groups[name] for name in CLUSTERS if name in region.groups}
    others = (name for name in CLUSTERS if name not in _PLACES)
    places = _PLACES | {name: (_OTHERS[0] + i, _OTHERS[1]) for i, name in enumerate(others)}
    centres: dict[str, tuple[float, float]] = {}
    for name, group in there.items():
        column, row = places[name]
        x, y = 0.5 + 2.4 * column, top - 0.5 - 1.15 * row - 0.8
        centres[name] = (x + 0.95, y + 0.4)
        axes.add_patch(
            FancyBboxPatch(
                (x, y),
                1.9,
                0.8,
                boxstyle="round,pad=0.02",
                facecolor=COLOURS[name],
                edgecolor="#5b6474",
            )
        )
        axes.text(x + 0.95, y + 0.5, name, ha="center", va="center", fontsize=9)
        axes.text(x + 0.95, y + 0.2, f"{group.count} ops", ha="center", va="center", fontsize=7)
    for source, target in _FLOW:
        skipped = (source, target) == ("backward", "optimizer") and "clip" in there
        if source in there and target in there and not skipped:
            (x, y), (to_x, to_y) = centres[source], centres[target]
            ends = ((x + 0.98, y), (to_x - 0.98, to_y))
            axes.add_patch(
                FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=12, color="#5b6474")
            )

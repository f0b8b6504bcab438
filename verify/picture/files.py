"""A step written as a picture or for other tools; the kind goes by the file's name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from loopctl_shared import write_whole
from verify.errors import ContractError
from verify.graphs import Node
from verify.picture.difference import Difference
from verify.picture.exports import write_dot, write_graphml, write_tensorboard
from verify.picture.html import changed_rows, fact_rows, page
from verify.picture.outline import outline, outline_of
from verify.picture.overview import write_overview
from verify.picture.places import Places
from verify.step import Step
from verify.step_facts import changes, entries_of, facts_of, headline_of, lines_of

_SHOWN = 50  # ops that are new, and that are gone, listed


def write(step: Step, path: Path) -> None:
    """Writes ``.html``, ``.svg``, ``.png``, ``.graphml``, ``.dot`` or, to a folder, TensorBoard's.

    Raises:
        ContractError: another name.
    """
    kinds: dict[str, Callable[[Step, Path], None]] = {
        ".html": _write_html,
        ".svg": write_overview,
        ".png": write_overview,
        ".graphml": write_graphml,
        ".dot": write_dot,
        "": write_tensorboard,
    }
    if path.suffix not in kinds:
        known = ", ".join(suffix for suffix in kinds if suffix)
        raise ContractError(f"{path}: a picture is {known}, or a folder for TensorBoard")
    kinds[path.suffix](step, path)


def write_difference(a: Step, b: Step, path: Path) -> None:
    """An HTML picture of both, side by side or as one: what only `a` has is where it was."""
    write_whole(path, difference_page(a, b))


def step_page(step: Step) -> str:
    """A step as an HTML page."""
    places = Places(step)
    facts = facts_of(places.detector)
    return page(outline(places), fact_rows(headline_of(facts), entries_of(facts)))


def difference_page(a: Step, b: Step) -> str:
    """What two steps differ in, as an HTML page."""
    old, new = Places(a), Places(b)
    made = Difference(old, new)
    facts = (lines_of(facts_of(places.detector)) for places in (old, new))
    told = changes(*facts) or ["no fact differs"]
    lists = [
        ("new", _listed(made.added, len(made.new_variables))),
        ("gone", _listed(made.gone, len(made.gone_variables))),
    ]
    return page(outline_of(made), changed_rows(told, lists))


def _listed(nodes: Sequence[Node], variables: int) -> list[str]:
    more = [f"and {len(nodes) - _SHOWN} more"] if len(nodes) > _SHOWN else []
    beside = f", {variables} variables" if variables else ""
    return [f"{len(nodes)} ops{beside}", *(node.id for node in nodes[:_SHOWN]), *more]


def _write_html(step: Step, path: Path) -> None:
    write_whole(path, step_page(step))

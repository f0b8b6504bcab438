"""A step written as a picture or for other tools; the kind goes by the file's name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from loopctl_shared import write_whole
from verify.errors import ContractError
from verify.graphs import Node
from verify.picture.difference import Difference
from verify.picture.exports import write_dot, write_graphml, write_tensorboard
from verify.picture.html import page
from verify.picture.outline import outline, outline_of
from verify.picture.overview import write_overview
from verify.picture.places import Places
from verify.step import Step
from verify.step_facts import changes, lines_of, step_facts

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
    """An HTML picture of `b` that shows, too, what of `a` is gone, where it was."""
    made = Difference(Places(a), Places(b))
    told = changes(lines_of(step_facts(a)), lines_of(step_facts(b))) or ["no fact differs"]
    lines = [
        *told,
        "",
        *_listed("new", made.added, len(made.new_variables)),
        *_listed("gone", made.gone, len(made.gone_variables)),
    ]
    write_whole(path, page(outline_of(made), "\n".join(lines)))


def _listed(what: str, nodes: Sequence[Node], variables: int) -> list[str]:
    more = [f"  and {len(nodes) - _SHOWN} more"] if len(nodes) > _SHOWN else []
    beside = f", {variables} variables" if variables else ""
    told = f"{what}: {len(nodes)} ops{beside}"
    return [told, *(f"  {node.id}" for node in nodes[:_SHOWN]), *more]


def _write_html(step: Step, path: Path) -> None:
    write_whole(path, page(outline(step), str(step_facts(step))))

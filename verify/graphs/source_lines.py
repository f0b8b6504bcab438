"""The line of the user's own code that made an op.

TensorFlow keeps the Python stack of each op that it traces (`tf.Operation.traceback`). Of that
stack, what is outside of the traced function says who asked for the trace, and what is in
TensorFlow, in Keras or in this project is nothing that the user wrote.
"""

from __future__ import annotations

import dataclasses
import functools
import linecache
import re
import site
import sysconfig
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from loopctl_shared import GENERATED
from verify.graphs.flat_graph import Node

_TENSORFLOW = Path(tf.__file__).parent
_OWN = Path(__file__).parents[2]
_PACKAGES = ("loopctl", "loopctl_gate", "loopctl_shared", "verify", "inalu")
_LIBRARIES = (
    _TENSORFLOW,
    Path(keras.__file__).parent,
    *(_OWN / name for name in _PACKAGES),
    *(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")),
    *map(Path, (*site.getsitepackages(), site.getusersitepackages())),
)
_SITE = re.compile(r"(.+)\[(\w+)(?::(\d+))?\]$")


@dataclasses.dataclass(frozen=True)
class SourceLine:
    """A line of somebody's code. `path` as Python has it: a notebook's cell is no file."""

    path: str
    number: int
    text: str

    def __str__(self) -> str:
        path, here = Path(self.path), Path.cwd()
        shown = path.relative_to(here) if path.is_relative_to(here) else path
        return f"{shown}:{self.number}: {self.text}"


def line_of(graph: Any, node: Node) -> SourceLine | None:
    """The innermost line of the user's that made an op of a traced function; None if none is known.

    Args:
        graph: the ``FuncGraph`` that the flat graph of `node` was read from.
    """
    try:
        for call in node.path:
            graph = _body(graph, call)
        op = graph.get_operation_by_name(node.op_name)
    except KeyError:
        return None  # Grappler made it, or it was read from a file
    for path, number in reversed(_stack(op)):
        text = linecache.getline(path, number).strip()
        if text and not _is_of_a_library(path):
            return SourceLine(path, number, text)
    return None


def _stack(op: Any) -> list[tuple[str, int]]:
    """Files and line numbers within the traced function, outermost first.

    What comes before the first call of TensorFlow's asked for the trace.
    """
    frames = [(frame.filename, frame.lineno) for frame in op.traceback or ()]
    first = next((i for i, (path, _) in enumerate(frames) if _is_in(path, _TENSORFLOW)), 0)
    return frames[first:]


@functools.cache
def _is_of_a_library(path: str) -> bool:
    return path.startswith(GENERATED) or any(_is_in(path, folder) for folder in _LIBRARIES)


def _is_in(path: str, folder: Path) -> bool:
    return Path(path).is_relative_to(folder)


def _body(graph: Any, call: str) -> Any:
    """The graph of a function that an op of another graph runs.

    Private: there is no public way from an op to the graph of its body, where the stacks of the ops
    in it are kept. tests/verify/graphs/test_source_lines.py notices if it moves.
    """
    found = _SITE.match(call)
    if found is None:
        raise KeyError(call)
    name, attribute, position = found.groups()
    op = graph.get_operation_by_name(name)
    attributes = op.node_def.attr
    if attribute not in attributes:  # an op that is itself the name of a function
        function = op.type
    elif position is None:
        function = attributes[attribute].func.name
    else:
        function = attributes[attribute].list.func[int(position)].name
    made = graph._get_function(function)
    if made is None:
        raise KeyError(function)
    return made.graph

"""What evaluating one graph needs to know of it: its writes, loops and constants."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from verify.graphs import NARROW, WHILES, FlatGraph, Node, Tensor

# How exact numbers are that were written down in half precision, as a share of each.
ROUNDED = {"bfloat16": 2.0**-8, "float16": 2.0**-10}
_NARROW = frozenset(dtype.name for dtype in NARROW)  # comparing dtypes takes long


@dataclasses.dataclass(frozen=True)
class Loop:
    """A loop: what decides on another turn, its call paths, and its variables."""

    predicate: Tensor
    sites: tuple[tuple[str, ...], ...]
    heads: tuple[int, ...]


class Plan:
    """What evaluating one graph needs to know of it, however often that is done."""

    def __init__(self, flat: FlatGraph) -> None:
        self.flat = flat
        self.arguments = frozenset(flat.arguments)
        self.writes: dict[tuple[int | str, int], list[Node]] = {}
        for node, variable in flat.writes():
            self.writes.setdefault((variable.key, variable.replica), []).append(node)
        heads: dict[tuple[tuple[str, ...], str], list[int]] = {}
        for node in flat.nodes:
            if node.op in WHILES and node.position is not None:
                heads.setdefault((node.path, node.op_name), []).append(node.index)
        self.loop_of_head: dict[int, Loop] = {}
        self._loop_at: dict[tuple[str, ...], Loop] = {}
        for guard in flat.guards:
            if guard.op not in WHILES:
                continue
            (body,) = guard.branches
            sites = (body, (*guard.path, f"{guard.name}[cond]"))
            loop = Loop(guard.predicate, sites, tuple(heads.get((guard.path, guard.name), ())))
            self._loop_at.update(dict.fromkeys(sites, loop))
            self.loop_of_head.update(dict.fromkeys(loop.heads, loop))
        self.loops = bool(self._loop_at)
        self._around: dict[tuple[str, ...], tuple[Loop, ...]] = {}
        self._constants: dict[Tensor, Any] = {}

    def constant(self, tensor: Tensor) -> Any:
        """What a ``Const`` node holds, as an eager tensor: the same for all evaluations."""
        if tensor not in self._constants:
            self._constants[tensor] = wide(tf.constant(self.flat.constant(tensor)))
        return self._constants[tensor]

    def loops_around(self, path: tuple[str, ...]) -> tuple[Loop, ...]:
        """The loops that a call path lies in, innermost last."""
        if path not in self._around:
            lengths = range(1, len(path) + 1) if self._loop_at else ()
            loops = (self._loop_at.get(path[:length]) for length in lengths)
            self._around[path] = tuple(loop for loop in loops if loop is not None)
        return self._around[path]

    def loop_around(self, path: tuple[str, ...]) -> Loop | None:
        """The innermost of them."""
        loops = self.loops_around(path)
        return loops[-1] if loops else None

    def depends_on_head(self, root: Tensor, loop: Loop) -> Iterator[int]:
        """The variables of a loop that decide a value within it."""
        nodes, seen, stack = self.flat.nodes, set[int](), [root[0]]
        while stack:
            index = stack.pop()
            if index in seen:
                continue
            seen.add(index)
            if index in loop.heads:
                yield index
            elif any(nodes[index].path[: len(s)] == s for s in loop.sites):
                stack.extend(source for source, _ in nodes[index].data)


def wide(value: Any) -> Any:
    """A tensor as evaluations hold it."""
    if value.dtype.name not in _NARROW:
        return value
    return tf.raw_ops.Cast(x=value, DstT=tf.float64)  # at each op: `tf.cast` takes twice as long

"""What the evaluation of a graph is fed, and what is raised where that does not decide a value."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

from verify.graphs import Node, Tensor, VariableRef


class NoValueError(Exception):
    """A tensor whose value can't be computed from what is fed; says why."""


class Feed(Protocol):
    """What a graph is fed."""

    def variable(self, variable: VariableRef) -> Any:
        """The value of a variable before the step."""

    def argument(self, node: Node, output: int) -> Any:
        """What the step is handed, or takes out of an iterator."""

    def drawn(self, node: Node, inputs: Sequence[Any], turn: tuple[int, ...]) -> Sequence[Any]:
        """The outputs of an op that draws from a state; `turn`: the turns of the loops around."""


class Made(Mapping[Tensor, Any]):
    """Values of tensors that are made when they are asked for.

    Args:
        tensors: which there are.
        make: makes the value of one.
    """

    def __init__(self, tensors: Collection[Tensor], make: Callable[[Tensor], Any]) -> None:
        self._tensors, self._make = tensors, make

    def __getitem__(self, tensor: Tensor) -> Any:
        return self._make(tensor)

    def __contains__(self, tensor: object) -> bool:
        return tensor in self._tensors

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

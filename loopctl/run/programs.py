"""How a traced function is called, where the call may take longer than what is called."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

# A function of no more ops is called in both ways, each so often before one is chosen.
_OPS = 3000
_TRIED = 4

Call = Callable[[], Any]


class Program:
    """A traced function of tensors, called in the way that has shown to be the faster one.

    Called as ever, a function looks at the types of all its arguments, and hands its ops to other
    threads: for a small step, both take longer than the step. The op by which a graph calls a
    function does neither, but runs one op after another. The results are the same.

    Args:
        function: concrete; what it returns is a flat sequence of tensors.
    """

    def __init__(self, function: Any) -> None:
        self._function, self._captured = function, list(function.captured_inputs)
        self._types = [output.dtype for output in function.outputs]
        self._times: list[list[float]] = [[], []]
        small = _ops_of(function) <= _OPS and not tf.config.list_logical_devices("GPU")
        self._directly = None if small else False

    def __call__(self, arguments: list[Any], called: Call) -> Any:
        """The outputs, flat.

        Args:
            arguments: all tensors, flat.
            called: calls the function on the same arguments, as they are.
        """
        if self._directly is not None:
            return self._called(arguments) if self._directly else called()
        directly = len(self._times[0]) > len(self._times[1])
        began = time.perf_counter()
        found = self._called(arguments) if directly else called()
        found[0].numpy()  # waits for it
        self._times[directly].append(time.perf_counter() - began)
        if len(self._times[1]) == _TRIED:
            # The first call of each has made the function ready.
            usual, direct = (min(times[1:]) for times in self._times)
            self._directly = direct < usual
        return found

    def _called(self, arguments: list[Any]) -> Any:
        return tf.raw_ops.StatefulPartitionedCall(
            args=arguments + self._captured, Tout=self._types, f=self._function
        )


def _ops_of(function: Any) -> int:
    graph = function.graph.as_graph_def()
    return len(graph.node) + sum(len(body.node_def) for body in graph.library.function)

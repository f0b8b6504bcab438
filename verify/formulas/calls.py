"""Which ops of a forward pass are of one call of a layer or submodel, and what that is handed.

By the scopes that Keras opens for each call, which are for people: no verdict hangs on them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Set

from verify.flow import Flow
from verify.graphs import READS, Node, Tensor
from verify.step import Step

TAPE = "gradient_tape"  # the scope that a tape opens for what it computes

_Key = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Call:
    """A call: by its name, of what, and what is made of it."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Calls:
    """The calls of layers and submodels among some ops of a step.

    Args:
        step: whose objects have names.
        flow: of the step, or of one branch of it.
        forward: the ops to look at.
    """

    def __init__(self, step: Step, flow: Flow, forward: Set[int]) -> None:
        self.flow, self.flat = flow, flow.flat
        variables = self.flat.variables.values()
        # A variable may be called as a layer is, and has no part in where that is called.
        self._names = {part for v in variables for part in v.path.split("/")[:-1]} | step.callables
        of: dict[_Key, list[int]] = {}
        self._key_of: dict[int, _Key] = {}
        for index in sorted(forward - self.flat.variables.keys()):
            key = self._key(self.flat.nodes[index])
            if key is not None:
                of.setdefault(key, []).append(index)
                self._key_of[index] = key
        self._forward = forward
        self._of = of
        self._known: dict[_Key, Call] = {}

    def of(self, tensor: Tensor) -> Call | None:
        """The call that a tensor is made by, if it is one of what that returns."""
        call = self.around(tensor)
        return call if call is not None and tensor in call.outputs else None

    def around(self, tensor: Tensor) -> Call | None:
        """The call that a tensor is made in, whether that returns it or not."""
        key = self._key_of.get(tensor[0])
        return None if key is None else self._made(key)

    def makes(self, tensor: Tensor, of: Tensor) -> bool:
        """Whether the call that a tensor is made in makes this of it as well, unseen by a loss."""
        key = self._key_of.get(of[0])
        return key is not None and self._key(self.flat.node(tensor)) == key

    def among(self, nodes: Set[int]) -> list[Call]:
        """The calls that some of these ops are of."""
        keys = dict.fromkeys(self._key_of[i] for i in sorted(nodes & self._key_of.keys()))
        return [self._made(key) for key in keys]

    def _made(self, key: _Key) -> Call:
        if key not in self._known:
            self._known[key] = self._call(key)
        return self._known[key]

    def _call(self, key: _Key) -> Call:
        own = set(self._of[key])
        inputs: dict[Tensor, None] = {}
        outputs: dict[Tensor, None] = {}
        for index in self._of[key]:
            for tensor in self.flat.nodes[index].data:
                if tensor[0] not in own and self._is_handed(tensor):
                    inputs[tensor] = None
            for user in self.flow.consumers[index]:
                if user in self._forward and user not in own:
                    taken = self.flat.nodes[user].data
                    outputs.update({tensor: None for tensor in taken if tensor[0] == index})
        return Call(self._base(key[-1].rpartition("/")[2]), (*inputs,), (*outputs,))

    def _is_handed(self, tensor: Tensor) -> bool:
        """Whether this is what a call is of, and none of what it has by itself."""
        if tensor[0] in self.flat.variables or self.flat.node(tensor).op in READS:
            return False
        return self.flow.folder.value(tensor) is None

    def _key(self, node: Node) -> _Key | None:
        """What all ops of one call share: the way to it, and its scope."""
        outer: list[str] = []
        for place in (*node.path, node.name):
            scopes = place.split("/")
            if TAPE in scopes:
                return None
            for depth, scope in enumerate(scopes[:-1], start=1):
                if self._base(scope) in self._names:
                    return (*outer, "/".join(scopes[:depth]))
            outer.append(place)
        return None

    def _base(self, scope: str) -> str:
        """A layer's own name, without the number that TensorFlow adds where it is called again."""
        bare = re.sub(r"_\d+$", "", scope)
        return scope if scope in self._names or bare not in self._names else bare

"""Custom gradients: ops of the forward pass whose gradient is a function of Python's."""

from __future__ import annotations

from typing import Any

from verify.find import Detector
from verify.graphs import IDENTITIES
from verify.kinds.facts import Facts
from verify.kinds.kind import Kind, Row

# How TensorFlow marks the result of a function with a gradient of its own.
_CUSTOM = "_gradient_op_type"


class _CustomGradients(Kind):
    def find(self, detector: Detector) -> dict[str, Any]:
        flow = detector.flow
        ids = tuple(
            node.id
            for node in detector.flat.nodes
            if flow.inside(node)
            and node.op in IDENTITIES
            and _CUSTOM in node.attrs
            and node.index in flow.of_weights - flow.backward
        )
        return {"custom_gradients": ids}

    def page(self, facts: Facts) -> list[Row]:
        return [Row.of("custom gradients", facts.custom_gradients)]

    def snapshot(self, facts: Facts) -> list[Row]:
        return [Row.of("custom gradient", facts.custom_gradients)]


KIND = _CustomGradients()

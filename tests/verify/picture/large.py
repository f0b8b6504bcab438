"""The outline of a step that is as large as one likes, without a step."""

from __future__ import annotations

import hashlib

from verify.picture.colours import CLUSTERS
from verify.picture.groups import Group, settle
from verify.picture.outline import Outline

_OPS = ("MatMul", "AddV2", "Mul", "Reshape", "ReadVariableOp", "Const", "Sum", "Relu", "Cast")


def outline_of_size(nodes: int) -> Outline:
    """Blocks of layers in every cluster; all names, and an eighth of the wires, are drawn."""
    root, by_layer = (Group("large.train_step", "step") for _ in range(2))
    wires: list[tuple[int, int, str]] = []
    parts = [name for name in CLUSTERS if name not in ("input", "unused")]
    for number in range(nodes):
        drawn = int.from_bytes(hashlib.blake2b(number.to_bytes(4), digest_size=8).digest())
        within, at = divmod(number * len(parts), nodes)
        part, block, layer = parts[within], at * 16 // nodes, drawn % 8
        name = f"block{block}_layer{layer}"
        op = _OPS[drawn % len(_OPS)]
        shape = f"float32[{drawn % 512}, {drawn % 1024}]"
        made = {"i": number, "op": op, "id": f"large_1/{name}/{drawn:x}/{op}", "out": shape}
        root.at(part, "cluster").at(name, "layer").ops.append(made)
        by_layer.at(name, "layer").at(part, "cluster").ops.append(made)
        wires += [(number - 1, number, "data")] if number else []
        wires += [(drawn % number, number, "data")] if number % 8 == 0 and number else []
    settle(root)
    settle(by_layer)
    return Outline(root, tuple(wires), by_layer=by_layer)

"""What an op is in mathematics, its inputs being expressions already."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from verify.formulas.expressions import Expression, call, infix, name, number, weighted
from verify.formulas.idioms import idiom, root
from verify.graphs import FlatGraph, Folder, Node

# What a reader does not miss: the same numbers in another shape, dtype or place.
SAME = {
    *("Cast", "CheckNumerics", "EnsureShape", "ExpandDims", "Identity", "IdentityN"),
    *("PreventGradient", "Reshape", "Snapshot", "Squeeze"),
}
REDUCTIONS = {"All": "all", "Any": "any", "Max": "max", "Mean": "mean", "Min": "min"} | {
    "Prod": "product",
    "Sum": "sum",
}
_INFIX = {
    **{"Mul": "*", "RealDiv": "/", "DivNoNan": "/", "Div": "/", "Xdivy": "/", "Pow": "^"},
    **{"Less": "<", "LessEqual": "<=", "Greater": ">", "GreaterEqual": ">="},
    **{"Equal": "==", "NotEqual": "!=", "LogicalAnd": "and", "LogicalOr": "or"},
    **{"MulNoNan": "*", "MatMul": "@", "BatchMatMulV2": "@"},
}
_NAMES = {
    **{"SelectV2": "where", "Select": "where", "ConcatV2": "concat", "Pack": "stack"},
    **{"Maximum": "max", "Minimum": "min", "GatherV2": "index", "LogicalNot": "not"},
    **{"SparseSoftmaxCrossEntropyWithLogits": "softmax_crossentropy"},
    **{"SoftmaxCrossEntropyWithLogits": "softmax_crossentropy"},
    **{"ResourceGather": "index", "ClipByValue": "clip", "Abs": "abs"},
}
# How TensorFlow calls what draws random numbers, without what tells its ops apart.
_DRAWS = re.compile(r"^(Stateless|Stateful)?(Random)?|(Standard|V2|V3)|Int$")


def axes(node: Node, flat: FlatGraph, folder: Folder) -> tuple[int, ...] | None:
    """Over which axes a reduction goes, from the last one; empty for all, None if not known."""
    given, shape = folder.value(node.data[1]), flat.shape(node.data[0])
    if given is None or shape is None:
        return None
    rank = len(shape)
    listed = sorted({int(axis) % rank - rank for axis in np.ravel(given)}) if rank else []
    return () if len(listed) == rank else (*listed,)


def drawn(node: Node) -> Expression:
    """A draw of random numbers."""
    kind = _snake(_DRAWS.sub("", node.op)) or "random"
    return call(kind, identity=node.index + 1)


def constant(value: np.ndarray[Any, Any]) -> Expression:
    """A number, or how many of which."""
    if value.size and value.dtype.kind in "fiub" and np.all(value == value.flat[0]):
        return number(float(value.flat[0]))
    return name(f"constant{list(value.shape)}")


def _power(exponent: float) -> Callable[[Sequence[Expression]], Expression]:
    return lambda parts: infix("^", parts[0], number(exponent))


def _squared_difference(parts: Sequence[Expression]) -> Expression:
    return infix("^", weighted([(1, parts[0]), (-1, parts[1])]), number(2))


_FORMS: dict[str, Callable[[Sequence[Expression]], Expression]] = {
    "Add": lambda parts: weighted((1, part) for part in parts),
    "AddV2": lambda parts: weighted((1, part) for part in parts),
    "AddN": lambda parts: weighted((1, part) for part in parts),
    "Sub": lambda parts: weighted([(1, parts[0]), (-1, parts[1])]),
    "Neg": lambda parts: weighted([(-1, parts[0])]),
    "Square": _power(2),
    "Sqrt": lambda parts: root(parts[0]),
    "Rsqrt": lambda parts: infix("/", number(1), root(parts[0])),
    "Reciprocal": lambda parts: infix("/", number(1), parts[0]),
    "Inv": lambda parts: infix("/", number(1), parts[0]),
    "SquaredDifference": _squared_difference,
    "BiasAdd": lambda parts: weighted((1, part) for part in parts),
    "L2Loss": lambda parts: weighted([(0.5, call("sum", infix("^", parts[0], number(2))))]),
    "Log1p": lambda parts: call("log", weighted([(1, number(1)), (1, parts[0])])),
    "Expm1": lambda parts: weighted([(1, call("exp", parts[0])), (1, number(-1))]),
    "Xlogy": lambda parts: infix("*", parts[0], call("log", parts[1])),
    "OnesLike": lambda parts: number(1),
    "ZerosLike": lambda parts: number(0),
    "BroadcastTo": lambda parts: parts[0],
    "Tile": lambda parts: parts[0],
    "Transpose": lambda parts: call("transpose", parts[0]),
    "Fill": lambda parts: parts[1],
}


def expression(node: Node, output: int, parts: Sequence[Expression]) -> Expression:
    """An output of an op, of what it takes: constants that only say how are left out."""
    if node.op in SAME and parts:
        return parts[0]
    if node.op in _FORMS:
        return idiom(_FORMS[node.op](parts))
    if node.op in _INFIX and len(parts) == 2:
        left, right = (_turned(node, side, part) for side, part in enumerate(parts))
        return idiom(infix(_INFIX[node.op], left, right))
    named = idiom(call(_NAMES.get(node.op) or _snake(node.op), *parts))
    several = len(node.dtypes) > 1 and node.op not in _NAMES
    return call("index", named, number(output)) if several else named


def _turned(node: Node, side: int, part: Expression) -> Expression:
    """What a product of matrices takes, transposed where it is."""
    attrs = node.attrs
    if _INFIX[node.op] == "@" and part.kind == "number":
        return name("constant")  # a matrix, of one number throughout
    wanted = ("transpose_a", "adj_x") if side == 0 else ("transpose_b", "adj_y")
    turned = any(key in attrs and attrs[key].b for key in wanted)
    return call("transpose", part) if turned else part


def _snake(op: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", op).lower()


def sliced(node: Node, folder: Folder) -> str | None:
    """What ``x[...]`` says of a slice; None where that is not known."""
    begin, end, strides = (folder.value(tensor) for tensor in node.data[1:4])
    if begin is None or end is None or strides is None:
        return None
    mask = {key: node.attrs[f"{key}_mask"].i for key in ("begin", "end", "shrink_axis")}
    extra = {key: node.attrs[f"{key}_mask"].i for key in ("ellipsis", "new_axis")}
    said = []
    for place, (low, high, stride) in enumerate(zip(begin, end, strides, strict=True)):
        bit = 1 << place
        if extra["ellipsis"] & bit:
            said.append("...")
        elif extra["new_axis"] & bit:
            said.append("None")
        elif mask["shrink_axis"] & bit:
            said.append(str(low))
        else:
            first = "" if mask["begin"] & bit else str(low)
            last = "" if mask["end"] & bit else str(high)
            said.append(f"{first}:{last}" + (f":{stride}" if stride != 1 else ""))
    while said and said[-1] in (":", "..."):
        said.pop()
    return ", ".join(said)

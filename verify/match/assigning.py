"""What a variable holds once an op has written it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from verify.graphs import REFUSED, Node

_WRITES: Mapping[str, Callable[..., Any]] = {
    "AssignVariableOp": lambda old, new: new,
    "AssignAddVariableOp": operator.add,
    "AssignSubVariableOp": operator.sub,
}
_SCATTERS: Mapping[str, Callable[..., Any]] = {
    "ResourceScatterAdd": tf.tensor_scatter_nd_add,
    "ResourceScatterSub": tf.tensor_scatter_nd_sub,
    "ResourceScatterMax": tf.tensor_scatter_nd_max,
    "ResourceScatterMin": tf.tensor_scatter_nd_min,
    "ResourceScatterUpdate": tf.tensor_scatter_nd_update,
}


def assigned(write: Node, before: Any, values: Sequence[Any]) -> Any:
    """The value of a variable that held `before`; None if it is not known what the op writes.

    Args:
        values: what the op is given besides the variable.
    """
    try:
        return _assigned(write, before, values)
    except REFUSED:  # it is given what it could not take in the step: drawn in a shape of its own
        return None


def _assigned(write: Node, before: Any, values: Sequence[Any]) -> Any:
    if write.op in _WRITES:
        return _WRITES[write.op](before, *values)
    if write.op in _SCATTERS:
        at, value = values
        rows = tf.broadcast_to(value, tf.concat([tf.shape(at), tf.shape(before)[1:]], 0))
        return _SCATTERS[write.op](before, at[..., tf.newaxis], rows)
    return None

"""Which variables the outputs of a model depend on, as it trains and as it infers, by layer."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from verify.graphs import FlatGraph, Node, Tensor, flatten, is_model, key_of
from verify.references.users_code import traced

Keys = frozenset[int | str]
"""Keys of variables."""


_READ_STATE: Mapping[type, bool] = {
    keras.layers.BatchNormalization: False,  # moving statistics
    **dict.fromkeys(  # the state of a seed
        (
            keras.layers.AlphaDropout,
            keras.layers.Dropout,
            keras.layers.GaussianDropout,
            keras.layers.GaussianNoise,
            keras.layers.SpatialDropout1D,
            keras.layers.SpatialDropout2D,
            keras.layers.SpatialDropout3D,
        ),
        True,
    ),
}
"""Layers of Keras, and whether it is in training that they read their state, or in inference.

tests/verify/references/test_modes.py holds that against what a trace of them says.
"""


@dataclasses.dataclass(frozen=True)
class LayerVariables:
    """A layer of a model, by its path. `state`: those of its variables that it could not train.

    `reads_state`: in which mode, training or not, its output depends on these alone; None where
    that is not known of such layers.
    """

    path: str
    keys: Keys
    state: Keys
    frozen: bool
    reads_state: bool | None = None


def layers_of(model: Any) -> Iterator[LayerVariables]:
    """The layers of a model that have variables, those of models within it one by one."""
    for layer in _every(model):
        if layer.variables:
            # What is frozen does not say which of its variables are state.
            state = [v for v in layer.variables if not v.trainable] if layer.trainable else []
            keys, own = frozenset(map(key_of, layer.variables)), frozenset(map(key_of, state))
            # Of these very classes: others that are derived from them may do anything.
            reads = _READ_STATE.get(type(layer))
            yield LayerVariables(_path(layer), keys, own, not layer.trainable, reads)


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What a model makes in one mode: tensors of one graph."""

    flat: FlatGraph
    tensors: tuple[Tensor, ...]

    @functools.cached_property
    def used(self) -> Keys:
        """Keys of the variables that they depend on."""
        return frozenset(variable.key for variable in self.flat.read_for(self.tensors))


def outputs_in(model: Any, x: Any, training: bool) -> Outputs:
    """What a model makes of inputs of specs `x`, in one mode.

    Raises:
        Untraced: the model does not take them.
    """
    concrete = traced(lambda x: tf.nest.flatten(model(x, training=training)), x)
    flat = flatten(concrete)
    return Outputs(flat, tuple(flat.outputs))


def layer_around(model: Any, node: Node) -> str:
    """The path of the layer that makes a node of what `outputs_in` traces; else the model's name.

    By the scopes that Keras opens, which are for people: no verdict hangs on them.
    """
    named = {layer.name: layer for layer in _every(model)}
    for part in reversed(node.id.split("/")):
        layer = named.get(part) or named.get(re.sub(r"_\d+$", "", part))
        if layer is not None:
            return _path(layer)
    return str(model.name)


def _every(model: Any) -> Iterator[Any]:
    """The layers of a model, those of models within it one by one."""
    for layer in model.layers:
        yield from _every(layer) if is_model(layer) else (layer,)


def _path(layer: Any) -> str:
    return str(getattr(layer, "path", None) or layer.name)

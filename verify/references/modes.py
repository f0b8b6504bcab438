"""Which variables the outputs of a model depend on, as it trains and as it infers, by layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from verify.graphs import flatten, is_model, key_of
from verify.references.users_code import traced

Keys = frozenset[int | str]
"""Keys of variables."""


@dataclasses.dataclass(frozen=True)
class LayerVariables:
    """A layer of a model, by its path. `state`: those of its variables that it could not train."""

    path: str
    keys: Keys
    state: Keys
    frozen: bool


def layers_of(model: Any) -> Iterator[LayerVariables]:
    """The layers of a model that have variables, those of models within it one by one."""
    for layer in model.layers:
        if is_model(layer):
            yield from layers_of(layer)
        elif layer.variables:
            # What is frozen does not say which of its variables are state.
            state = [v for v in layer.variables if not v.trainable] if layer.trainable else []
            path = str(getattr(layer, "path", None) or layer.name)
            keys, own = frozenset(map(key_of, layer.variables)), frozenset(map(key_of, state))
            yield LayerVariables(path, keys, own, not layer.trainable)


def used_in(model: Any, x: Any, training: bool) -> Keys:
    """The variables that a model's outputs for inputs of specs `x` depend on, in one mode.

    Raises:
        Untraced: the model does not take them.
    """
    concrete = traced(lambda x: tf.nest.flatten(model(x, training=training)), x)
    flat = flatten(concrete)
    return frozenset(variable.key for variable in flat.read_for(flat.outputs))

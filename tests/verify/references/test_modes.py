"""In which mode layers of Keras read their state: what is known of them, against a trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

from verify.references.modes import _READ_STATE, layers_of, outputs_in

NORMAL: dict[str, Callable[[], Any]] = {
    "BatchNormalization": keras.layers.BatchNormalization,
    "plain BatchNormalization": lambda: keras.layers.BatchNormalization(center=False, scale=False),
}
RANDOM: dict[str, Callable[[], Any]] = {
    kind.__name__: lambda kind=kind: kind(0.3)
    for kind in _READ_STATE
    if kind is not keras.layers.BatchNormalization
}
INPUTS = {"1D": (5, 3), "2D": (5, 5, 3), "3D": (4, 5, 5, 3)}


@pytest.mark.parametrize("name", [*NORMAL, *RANDOM])
def test_state_is_read_in_that_mode_alone(name: str) -> None:
    made = (NORMAL | RANDOM)[name]()
    shape = INPUTS.get(name[-2:], (4,))
    model = keras.Sequential([keras.Input(shape), made])
    (layer,) = layers_of(model)
    assert layer.reads_state is not None
    for training in (True, False):
        used = outputs_in(model, tf.TensorSpec((8, *shape)), training).used
        assert layer.state.isdisjoint(used) == (training != layer.reads_state)
        assert training != layer.reads_state or layer.state <= used


def test_nothing_is_known_of_derived_classes() -> None:
    class Own(keras.layers.BatchNormalization):
        pass

    (layer,) = layers_of(keras.Sequential([keras.Input((4,)), Own()]))
    assert layer.reads_state is None

"""Steps whose variables are each updated in a way of their own: many cases in one trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from verify.find import Detector
from verify.flow import Update
from verify.step import capture

Apply = Callable[[Any, Any], Any]
"""Writes a variable of Keras, given its gradient: (gradient, variable)."""

BATCH = tf.TensorSpec((8, 2))


def step_of(
    applied: Mapping[str, Apply | keras.optimizers.Optimizer], shape: tuple[int, ...] = (2, 3)
) -> Any:
    """A step that trains a variable of each name, by its function or its optimizer."""
    variables = {name: keras.Variable(tf.ones(shape), name=name) for name in applied}
    for name, how in applied.items():
        if isinstance(how, keras.optimizers.Optimizer):
            how.build([variables[name]])

    @tf.function(autograph=False)
    def train(x: Any) -> None:
        with tf.GradientTape() as tape:
            losses = [tf.reduce_mean(tf.square(x @ v.value - 1.0)) for v in variables.values()]
            loss = tf.add_n(losses)
        gradients = tape.gradient(loss, [v.value for v in variables.values()])
        for (name, variable), gradient in zip(variables.items(), gradients, strict=True):
            how = applied[name]
            if isinstance(how, keras.optimizers.Optimizer):
                how.apply([gradient], [variable])
            else:
                how(gradient, variable)

    return train


def treated_step(treats: Mapping[str, Callable[[Any], Any]]) -> Any:
    """A step that trains a variable of each name by one SGD; gradients are treated before."""
    variables = [keras.Variable(tf.ones((2, 3)), name=name) for name in treats]
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(variables)

    @tf.function(autograph=False)
    def train(x: Any) -> None:
        with tf.GradientTape() as tape:
            losses = [tf.reduce_mean(tf.square(x @ v.value - 1.0)) for v in variables]
            loss = tf.add_n(losses)
        gradients = tape.gradient(loss, [v.value for v in variables])
        made = [treat(g) for treat, g in zip(treats.values(), gradients, strict=True)]
        optimizer.apply(made, variables)

    return train


def state(shape: tuple[int, ...] = (2, 3)) -> Any:
    """What an optimizer by hand keeps for a variable."""
    return tf.Variable(tf.zeros(shape), trainable=False)


class Seen:
    """What is found in a step, by name of the variable."""

    def __init__(self, target: Any, *args: Any) -> None:
        self.detector = Detector(capture(target, *(args or (BATCH,))))
        self.updates: dict[str, Update] = {
            update.variable.path.partition(":")[0]: update for update in self.detector.flow.trained
        }

    def is_as(self, name: str, optimizer: Any) -> bool:
        key = self.updates[name].variable.key
        return self.detector.optimizers.made_as(key, optimizer) is not None

    def rule(self, name: str) -> Any:
        return self.detector.rule_of(self.updates[name])

    def treatment(self, name: str) -> Any:
        return self.detector.treatments.of(self.updates[name])


def rejected(target: Any, *args: Any, **expected: Any) -> str:
    """What an assertion says that fails."""
    with pytest.raises(verify.GraphAssertionError) as error:
        verify.assert_graph(target, *args, **expected)
    return str(error.value)


def when(condition: Any, write: Callable[[], Any]) -> None:
    """Writes in a branch that is taken where a condition holds."""

    def made() -> Any:
        write()
        return 0

    tf.cond(condition, made, lambda: 0)

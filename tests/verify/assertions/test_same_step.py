"""Two steps do the same, or the first difference is told."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.grids import grid
from tests.verify.steps import batch, dense, step

MSE = keras.losses.MeanSquaredError()


def by_keras(**settings: Any) -> keras.Model:
    model = dense()
    model.compile(keras.optimizers.Adam(0.1, **settings), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def test_a_model_built_twice_trains_in_the_same_way() -> None:
    """Though no variable, no op and no function has the name that it has in the other."""
    verify.assert_same_step(by_keras(), by_keras(), *batch())


def test_order_and_names_do_not_matter() -> None:
    a, b = tf.Variable(1.0, name="a"), tf.Variable(2.0, name="b")

    @tf.function
    def one(x: tf.Tensor) -> None:
        a.assign_add(x * 2.0 + b)
        b.assign(x)

    @tf.function
    def other(x: tf.Tensor) -> None:
        with tf.name_scope("elsewhere"):
            value = b + 2.0 * x
            b.assign(x)
            tf.identity(a).shape.assert_is_compatible_with([])
            a.assign_add(value)

    verify.assert_same_step(one, other, tf.TensorSpec(()))


def test_a_value_read_after_another_write_is_not_the_same() -> None:
    a, b = tf.Variable(1.0, name="a"), tf.Variable(2.0, name="b")

    @tf.function
    def one(x: tf.Tensor) -> None:
        a.assign_add(b * x)
        b.assign(x)

    @tf.function
    def stale(x: tf.Tensor) -> None:
        b.assign(x)
        a.assign_add(b * x)

    with pytest.raises(verify.GraphAssertionError, match="before or after another write"):
        verify.assert_same_step(one, stale, tf.TensorSpec(()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clipvalue": 0.5}, "first difference: "),
        ({"weight_decay": 0.1}, "no AssignSubVariableOp of"),
        ({"epsilon": 1e-3}, "1e-07 and 0.001"),
        ({"use_ema": True}, "it is in"),
    ],
)
def test_settings_of_the_optimizer_are_told_apart(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(verify.GraphAssertionError, match=message):
        verify.assert_same_step(by_keras(), by_keras(**settings), *batch())


def test_variables_in_both_steps_are_themselves() -> None:
    """Two variables may look alike: which of them is trained still matters."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), keras.layers.Dense(4)])
    first, second = (layer.trainable_variables for layer in model.layers)
    given = batch(outputs=4)
    steps = [step(model, MSE, variables=variables) for variables in (first, first, second)]
    verify.assert_same_step(steps[0], steps[1], *given)
    with pytest.raises(verify.GraphAssertionError, match="AssignSub"):
        verify.assert_same_step(steps[0], steps[2], *given)


def test_what_has_to_be_chosen_belongs_to_it() -> None:
    flag = tf.Variable(True, trainable=False, name="flag")
    a = tf.Variable(1.0, name="a")

    def made(first: Any, second: Any) -> Any:
        @tf.function
        def train(x: tf.Tensor) -> None:
            tf.cond(flag, lambda: first(a, x), lambda: second(a, x))

        return train

    def add(variable: tf.Variable, x: tf.Tensor) -> tf.Tensor:
        return variable.assign_add(x)

    def sub(variable: tf.Variable, x: tf.Tensor) -> tf.Tensor:
        return variable.assign_sub(x)

    verify.assert_same_step(made(add, sub), made(add, sub), tf.TensorSpec(()))
    with pytest.raises(verify.GraphAssertionError, match="under other conditions"):
        verify.assert_same_step(made(add, sub), made(sub, add), tf.TensorSpec(()))


def test_outputs_are_compared_if_asked() -> None:
    a = tf.Variable(1.0)
    one = tf.function(lambda x: a.assign_add(x) * 2.0)
    other = tf.function(lambda x: a.assign_add(x) * 3.0)
    verify.assert_same_step(one, other, tf.TensorSpec(()))
    with pytest.raises(verify.GraphAssertionError, match="first difference: 2 and 3"):
        verify.assert_same_step(one, other, tf.TensorSpec(()), outputs=True)


def test_loops_are_compared_by_what_a_turn_does() -> None:
    a = tf.Variable(1.0, name="a")

    def made(factor: float, count: int = 3) -> Any:
        @tf.function
        def train(x: tf.Tensor) -> None:
            for _ in tf.range(count):
                a.assign_add(x * factor)

        return train

    verify.assert_same_step(made(2.0), made(2.0), tf.TensorSpec(()))
    for other in (made(3.0), made(2.0, count=4)):
        with pytest.raises(verify.GraphAssertionError):
            verify.assert_same_step(made(2.0), other, tf.TensorSpec(()))


def recurrent(layer: str, **settings: Any) -> keras.Model:
    inner = getattr(keras.layers, layer)(2, **settings)
    model = keras.Sequential([keras.Input((3, 2)), inner, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(
    ("layer", "settings"),
    grid(["SimpleRNN", "GRU", "LSTM"], [{"use_bias": False}, {"activation": "relu"}]),
    ids=str,
)
def test_the_first_difference_of_loops_is_found(layer: str, settings: dict[str, Any]) -> None:
    """A loop is a cycle in the graph; a walk round it would never end."""
    given = tf.TensorSpec((4, 3, 2)), tf.TensorSpec((4, 1))
    with pytest.raises(verify.GraphAssertionError, match="first difference: ") as caught:
        verify.assert_same_step(recurrent(layer), recurrent(layer, **settings), *given)
    told = [hint for violation in caught.value.violations for hint in violation.hints]
    assert any("hands on another value" not in hint for hint in told)


def test_loops_that_carry_the_same_in_another_order_still_have_a_difference() -> None:
    a, b = tf.Variable(1.0, name="a"), tf.Variable(1.0, name="b")

    def made(swapped: bool) -> Any:
        @tf.function(autograph=False)
        def train(x: tf.Tensor) -> None:
            turned = tf.while_loop(
                lambda i, p, q: i < 3, lambda i, p, q: (i + 1, q + x, p + x), (0, x, x)
            )
            a.assign(turned[2 if swapped else 1])
            b.assign(turned[1 if swapped else 2])

        return train

    with pytest.raises(verify.GraphAssertionError, match="While hands on another value"):
        verify.assert_same_step(made(True), made(False), tf.TensorSpec(()), exact=True)
    verify.assert_same_step(made(True), made(False), tf.TensorSpec(()))  # p and q turn alike

"""Variables, models and optimizers that a step is handed as arguments, or as defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from verify.graphs import flatten
from verify.graphs.handed import with_handed

BATCH = tf.TensorSpec((8, 3)), tf.TensorSpec((8, 2))
NET = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="dense")], name="net")
PATHS = ("net/dense/bias", "net/dense/kernel")
WEIGHTS = [variable.value for variable in NET.trainable_variables]
OPTIMIZER = keras.optimizers.SGD(0.1)
OPTIMIZER.build(NET.trainable_variables)


def quartic(y: Any, p: Any) -> Any:
    return tf.reduce_mean((p - y) ** 4)


def descend(x: Any, y: Any, weights: Any) -> None:
    with tf.GradientTape() as tape:
        loss = quartic(y, NET(x))
    for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
        weight.assign_sub(0.1 * gradient)


def descend_by_default(x: Any, y: Any, weights: Any = WEIGHTS) -> None:
    descend(x, y, weights)


def apply(x: Any, y: Any, model: Any, optimizer: Any) -> None:
    with tf.GradientTape() as tape:
        loss = quartic(y, model(x))
    gradients = tape.gradient(loss, [one.value for one in model.trainable_variables])
    optimizer.apply(gradients, model.trainable_variables)


STEPS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "variables": (descend, (WEIGHTS,)),
    "variables by default": (descend_by_default, ()),
    "a variable twice": (
        lambda x, y, weights, again: descend(x, y, [weights[0], again]),
        (WEIGHTS, WEIGHTS[1]),
    ),
    "models, optimizers": (apply, (NET, OPTIMIZER)),
}


@pytest.mark.parametrize("name", STEPS)
def test_they_are_what_they_are(name: str) -> None:
    function, more = STEPS[name]
    step = tf.function(function, autograph=False)
    verify.assert_graph(
        step,
        *BATCH,
        *more,
        loss=quartic,
        optimizer=keras.optimizers.SGD(0.1),
        watched="*",
        clipping=None,
        model=NET,
    )
    assert verify.facts(step, *BATCH, *more).watched == PATHS or name.startswith("a variable")
    for wrong in ({"loss": None}, {"watched": None}, {"loss": "mse"}, {"learning_rate": 0.2}):
        with pytest.raises(verify.GraphAssertionError):
            verify.assert_graph(step, *BATCH, *more, **wrong, model=NET)


def test_the_function_of_an_objective_gets_the_same() -> None:
    step = tf.function(descend, autograph=False)
    verify.assert_graph(step, *BATCH, WEIGHTS, objective=lambda x, y, weights: quartic(y, NET(x)))
    with pytest.raises(verify.GraphAssertionError, match=r"0\.5 times that"):
        verify.assert_graph(
            step, *BATCH, WEIGHTS, objective=lambda x, y, weights: 2 * quartic(y, NET(x))
        )


def test_a_graph_of_others_is_traced_once_and_told_for_each() -> None:
    """Variables of the same specs share a trace."""
    first, second = (tf.Variable(tf.ones((3, 2)), name=name) for name in ("first", "second"))

    @tf.function(autograph=False)
    def step(x: Any, y: Any, weight: Any) -> None:
        with tf.GradientTape() as tape:
            loss = quartic(y, x @ weight)
        weight.assign_sub(0.1 * tape.gradient(loss, weight))

    for weight in (first, second, first):
        (watched,) = verify.facts(step, *BATCH, weight).watched
        assert watched == weight.name.removesuffix(":0")


def test_a_concrete_function_says_which_arguments_are_variables() -> None:
    concrete = tf.function(descend, autograph=False).get_concrete_function(*BATCH, WEIGHTS)
    facts = verify.facts(concrete)
    assert facts.watched == ("weights", "weights_1")
    assert [one.name for one in facts.losses] == ["loss without a name"]
    with pytest.raises(verify.GraphAssertionError):
        verify.assert_graph(concrete, loss=None)


def test_specs_of_variables_are_told_by_what_no_other_spec_has() -> None:
    concrete = tf.function(descend, autograph=False).get_concrete_function(*BATCH, WEIGHTS)
    flat, signature = with_handed(flatten(concrete), concrete.structured_input_signature, WEIGHTS)
    assert {variable.path for variable in flat.variables.values()} == {*PATHS}
    assert len(flat.arguments) == len(BATCH)
    assert signature[0][2] == WEIGHTS


def test_a_function_that_says_what_it_takes_needs_no_batch() -> None:
    step = tf.function(lambda x, y: descend(x, y, WEIGHTS), input_signature=list(BATCH))
    verify.assert_graph(step, loss=quartic, watched="*", model=NET)
    with pytest.raises(verify.GraphAssertionError):
        verify.assert_graph(step, loss=None, model=NET)


@pytest.mark.parametrize(
    "objective",
    [lambda model, x, y, optimizer: quartic(y, model(x)), lambda x, y: quartic(y, NET(x))],
    ids=["of all", "of tensors"],
)
def test_a_model_may_come_first(objective: Any) -> None:
    @tf.function(autograph=False)
    def step(model: Any, x: Any, y: Any, optimizer: Any) -> None:
        apply(x, y, model, optimizer)

    verify.assert_graph(step, NET, *BATCH, OPTIMIZER, objective=objective, loss=quartic, model=NET)
    with pytest.raises(verify.GraphAssertionError, match="another gradient"):
        verify.assert_graph(step, NET, *BATCH, OPTIMIZER, objective=lambda x, y: mean_of(NET(x)))


def mean_of(tensor: Any) -> Any:
    return tf.reduce_mean(tensor)

"""Variables that a step updates several times, each time by a backward pass of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch, dense
from tests.verify.updates import BATCH, rejected

optim = keras.optimizers
Apply = Callable[[int, list[Any], list[Any], Any], None]

OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "SGD": lambda: optim.SGD(0.1),
    "momentum": lambda: optim.SGD(0.1, momentum=0.9, nesterov=True),
    "Adam": lambda: optim.Adam(0.01, amsgrad=True),
    "AdamW": lambda: optim.AdamW(0.01, weight_decay=0.01),
    "schedule": lambda: optim.Adam(optim.schedules.ExponentialDecay(0.01, 10, 0.9)),
    "RMSprop": lambda: optim.RMSprop(0.01, centered=True),
}


def rounds(optimizer: Any, apply: Apply, count: int = 3) -> Any:
    model = dense()
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)
    def train(x: Any, y: Any) -> None:
        weights = [v.value for v in model.trainable_variables]
        for number in range(count):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((y - model(x)) ** 2)
            apply(number, tape.gradient(loss, weights), model.trainable_variables, optimizer)

    return train


def in_turns(optimizer: Any, applied: int) -> Any:
    model = dense()
    optimizer.build(model.trainable_variables)

    @tf.function
    def train(x: Any, y: Any) -> None:
        for _ in tf.range(3):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((y - model(x)) ** 2)
            gradients = tape.gradient(loss, model.trainable_variables)
            for _ in range(applied):
                optimizer.apply(gradients, model.trainable_variables)

    return train


def plain(number: int, gradients: list[Any], variables: list[Any], optimizer: Any) -> None:
    optimizer.apply(gradients, variables)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_round_is_an_update_by_the_optimizer(name: str) -> None:
    train = rounds(OPTIMIZERS[name](), plain)
    verify.assert_graph(train, *batch(), optimizer=OPTIMIZERS[name](), clipping=None)
    (told,) = verify.facts(train, *batch()).optimizers
    assert len(told.variables) == 4
    with pytest.raises(verify.GraphAssertionError, match="expected each update as by SGD"):
        verify.assert_graph(train, *batch(), optimizer=optim.SGD(0.3))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_turn_of_a_loop_is_one(name: str) -> None:
    train = in_turns(OPTIMIZERS[name](), 1)
    verify.assert_graph(train, *batch(), optimizer=OPTIMIZERS[name](), clipping=None)
    with pytest.raises(verify.GraphAssertionError, match="expected each update as by SGD"):
        verify.assert_graph(train, *batch(), optimizer=optim.SGD(0.3))


def test_one_gradient_applied_twice_in_a_turn() -> None:
    with pytest.raises(verify.GraphAssertionError, match="more than once by the same gradient"):
        verify.assert_graph(in_turns(optim.SGD(0.1), 2), *batch(), optimizer=optim.SGD(0.1))


def test_several_steps_in_one_execution() -> None:
    model = dense()
    model.compile(optim.Adam(0.01), "mse", steps_per_execution=3)
    model.fit(tf.zeros((24, 4)), tf.zeros((24, 1)), batch_size=8, verbose=0)
    verify.assert_graph(model.train_function, optimizer=optim.Adam(0.01), watched="*")
    with pytest.raises(verify.GraphAssertionError, match="learning_rate is"):
        verify.assert_graph(model.train_function, optimizer=optim.Adam(0.02))


def twice(number: int, gradients: list[Any], variables: list[Any], optimizer: Any) -> None:
    for _ in range(2 if number == 1 else 1):
        optimizer.apply(gradients, variables)


def larger_at_last(number: int, gradients: list[Any], variables: list[Any], _: Any) -> None:
    for gradient, variable in zip(gradients, variables, strict=True):
        variable.assign_sub((0.2 if number == 2 else 0.1) * gradient)


def clipped_at_first(number: int, gradients: list[Any], variables: list[Any], made: Any) -> None:
    made.apply([tf.clip_by_value(g, -1, 1) if number == 0 else g for g in gradients], variables)


FAULTS: dict[str, tuple[Apply, dict[str, Any], str]] = {
    "one gradient applied twice": (
        twice,
        {"optimizer": optim.SGD(0.1)},
        "more than once by the same gradient",
    ),
    "another rate in one round": (larger_at_last, {"learning_rate": 0.1}, r"rate=0\.2"),
    "clipped in one round": (clipped_at_first, {"clipping": None}, r"\[-1, 1\]"),
    "not clipped in others": (clipped_at_first, {"clipping": (-1, 1)}, "not clipped"),
}


@pytest.mark.parametrize(("apply", "expected", "told"), FAULTS.values(), ids=FAULTS)
def test_what_is_done_in_one_round_alone(apply: Apply, expected: dict[str, Any], told: str) -> None:
    with pytest.raises(verify.GraphAssertionError, match=told):
        verify.assert_graph(rounds(optim.SGD(0.1), apply), *batch(), **expected)


def test_one_gradient_in_each_turn_of_a_loop_is_applied_several_times() -> None:
    model, optimizer = dense(), optim.SGD(0.1)
    optimizer.build(model.trainable_variables)

    @tf.function
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((y - model(x)) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        for _ in tf.range(3):
            optimizer.apply(gradients, model.trainable_variables)

    for keyword, expected in (("watched", "*"), ("optimizer", optim.SGD(0.1))):
        with pytest.raises(verify.GraphAssertionError, match=keyword) as error:
            verify.assert_graph(train, *batch(), model=model, **{keyword: expected})
        assert "gradient" in str(error.value)
    verify.assert_graph(in_turns(optim.SGD(0.1), 1), *batch(), optimizer=optim.SGD(0.1))


# -- by one gradient -------------------------------------------------------------------------------


def clipped(gradient: Any) -> Any:
    return tf.clip_by_value(gradient, -1.0, 1.0)


TREATED: dict[str, tuple[Callable[[Any], Any], bool]] = {
    "clipped": (clipped, True),
    "squared": (lambda g: tf.square(clipped(g)), False),
    "ten_times": (lambda g: 10.0 * clipped(g), False),
    "unclipped": (lambda g: g, False),
}
"""By name: what is done to a gradient, and whether it is clipped to one."""


@pytest.fixture(scope="module", params=["SGD", "Adam"])
def applied_again(request: pytest.FixtureRequest) -> str:
    """What is told of a step that applies each gradient twice."""
    variables = [keras.Variable(tf.ones((2, 3)), name=name) for name in TREATED]
    optimizer = OPTIMIZERS[request.param]()
    optimizer.build(variables)

    @tf.function(autograph=False)
    def train(x: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.add_n([tf.reduce_mean((x @ v.value - 1.0) ** 2) for v in variables])
        gradients = tape.gradient(loss, [v.value for v in variables])
        made = [treat(g) for (treat, _), g in zip(TREATED.values(), gradients, strict=True)]
        for _ in range(2):
            optimizer.apply(made, variables)

    rate = float(optimizer.learning_rate)
    return rejected(train, BATCH, clipping=(-1.0, 1.0), optimizer=optimizer, learning_rate=rate)


@pytest.mark.parametrize("name", TREATED)
def test_what_comes_after_a_clip_of_a_gradient_that_is_applied_twice(
    name: str, applied_again: str
) -> None:
    told = applied_again.partition("clipping:")[2].partition("optimizer:")[0]
    assert (f" {name}: " in told) != TREATED[name][1]


def test_a_gradient_that_is_applied_twice_is_told(applied_again: str) -> None:
    assert applied_again.count(", more than once by the same gradient: ") == 2

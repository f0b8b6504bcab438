"""Clips by norm and by global norm: exactly those, around exactly those gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.grids import grid
from tests.verify.steps import Asked, batch, dense, step

Treat = Callable[[list[Any]], list[Any]]
MSE = keras.losses.MeanSquaredError()


def fails(target: Any, *args: Any, **expected: Any) -> str:
    with pytest.raises(verify.GraphAssertionError) as error:
        verify.assert_graph(target, *args, **expected)
    return str(error.value)


def test_a_step_that_trains_nothing_clips_nothing() -> None:
    train = tf.function(lambda x, y: MSE(y, x))
    assert "no gradient reaches an update" in fails(train, *batch(features=1), clipping=(-1, 1))
    verify.assert_graph(train, *batch(features=1), clipping=None)


def each(norm: float) -> Treat:
    return lambda gradients: [tf.clip_by_norm(gradient, norm) for gradient in gradients]


def together(norm: float) -> Treat:
    return lambda gradients: list(tf.clip_by_global_norm(gradients, norm)[0])


OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "sgd": lambda **clip: keras.optimizers.SGD(0.1, **clip),
    "adam": lambda **clip: keras.optimizers.Adam(0.1, **clip),
    "rmsprop": lambda **clip: keras.optimizers.RMSprop(0.1, momentum=0.9, **clip),
    "adamw": lambda **clip: keras.optimizers.AdamW(0.1, weight_decay=0.1, **clip),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_clips_by_norm(name: str) -> None:
    train = step(dense(kernel="l2"), MSE, optimizer=OPTIMIZERS[name](), treat=each(0.5))
    asked = Asked(train, *batch())
    assert asked(clipping={"norm": 0.5}, loss=MSE, watched="*") == ""
    assert "clipped to norm 0.5" in asked(clipping={"norm": 0.4})
    assert "clipped to norm 0.5" in asked(clipping={"global_norm": 0.5})
    assert "clipped to norm 0.5" in asked(clipping=(-0.5, 0.5))
    assert "4 gradients clipped" in asked(clipping=None)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_clips_by_global_norm(name: str) -> None:
    train = step(dense(kernel="l2"), MSE, optimizer=OPTIMIZERS[name](), treat=together(2.0))
    asked = Asked(train, *batch())
    assert asked(clipping={"global_norm": 2.0}, loss=MSE, watched="*") == ""
    message = asked(clipping={"global_norm": 1.0})
    assert "every gradient clipped to global norm 1" in message
    assert "0 of 4 gradients clipped so" in message
    assert "clipped to global norm 2" in message
    assert "clipped to global norm 2" in asked(clipping={"norm": 2.0})


OWN = [({"clipnorm": 0.5}, {"norm": 0.5}), ({"global_clipnorm": 2.0}, {"global_norm": 2.0})]


@pytest.mark.parametrize(("name", "own"), grid([*OPTIMIZERS], OWN))
def test_the_optimizers_own_clips(name: str, own: tuple[Any, Any]) -> None:
    constructed, expected = own
    model = dense()
    model.compile(OPTIMIZERS[name](**constructed), MSE)
    verify.assert_graph(model, batch(), clipping=expected)
    ((kind, norm),) = expected.items()
    facts = verify.facts(model, batch())
    told = {(clip.kind, clip.upper, clip.complete) for clip in facts.clipping}
    assert told == {(kind, norm, True)}
    assert f"{kind.replace('_', ' ')} {norm:g} on" in str(facts)


@pytest.mark.parametrize("bounds", [(0.0, 0.5), (-0.5, 0.0), (-0.25, 0.5)])
@pytest.mark.parametrize("units", [1, 2])
def test_a_clip_to_one_side_before_the_global_norm_of_an_optimizer(
    units: int, bounds: tuple[float, float]
) -> None:
    """What is clipped to one side is zero for some gradients: no factor shows there."""
    layers = [keras.layers.Dense(units), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    optimizer = keras.optimizers.SGD(0.1, global_clipnorm=0.2)
    train = step(
        model,
        MSE,
        optimizer=optimizer,
        treat=lambda gradients: [tf.clip_by_value(g, *bounds) for g in gradients],
    )
    clips = verify.facts(train, *batch(features=3)).clipping
    assert [clip for clip in clips if not clip.complete] == []
    (found,) = {(clip.lower, clip.upper) for clip in clips if clip.kind == "value"}
    assert found == pytest.approx(bounds)


@pytest.mark.parametrize("square", [False, True])
@pytest.mark.parametrize("clipped", [4, 3, 0])
def test_clips_before_the_global_norm_of_an_optimizer(clipped: int, square: bool) -> None:
    """By way of the norm each gradient depends on those that are not clipped."""
    width = 3 if square else 4
    layers = [keras.layers.Dense(width, "tanh"), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    variables = [v.value for v in model.trainable_variables]
    optimizer = keras.optimizers.SGD(0.1, global_clipnorm=2.0)
    optimizer.build(model.trainable_variables)

    @tf.function
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = MSE(y, model(x))
        gradients = tape.gradient(loss, variables)
        treated = [tf.clip_by_value(g, -0.1, 0.1) for g in gradients[:clipped]]
        optimizer.apply([*treated, *gradients[clipped:]], model.trainable_variables)

    x = tf.ones((8, 3))
    if clipped == 4:
        verify.assert_graph(train, x, x, clipping=(-0.1, 0.1))
    else:
        assert f"{clipped} of 4 gradients clipped so" in fails(train, x, x, clipping=(-0.1, 0.1))


FAULTY: dict[str, tuple[Treat, Any, str]] = {
    "one gradient is not clipped": (
        lambda g: [*each(0.5)(g[:-1]), g[-1]],
        {"norm": 0.5},
        "3 of 4 gradients clipped so",
    ),
    "one gradient is left out of the norm": (
        lambda g: [*together(2.0)(g[:-1]), g[-1]],
        {"global_norm": 2.0},
        "clipped, but by a norm of 3 of 4 gradients",
    ),
    "the norm is that of others": (
        lambda g: list(tf.clip_by_global_norm(g, 2.0, use_norm=tf.linalg.global_norm(g[1:]))[0]),
        {"global_norm": 2.0},
        "by a norm that is not of the 4 gradients scaled by it",
    ),
    "each has a global norm of its own": (
        lambda g: [together(2.0)([one])[0] for one in g],
        {"global_norm": 2.0},
        "clipped, but by a norm of 1 of 4 gradients",
    ),
    "a gradient is counted twice": (
        lambda g: list(
            tf.clip_by_global_norm(g, 2.0, use_norm=tf.linalg.global_norm([*g, g[0]]))[0]
        ),
        {"global_norm": 2.0},
        "by a norm that is not of the 4 gradients scaled by it",
    ),
    "a gradient goes around": (
        lambda g: [a + b for a, b in zip(each(0.5)(g), g, strict=True)],
        {"norm": 0.5},
        "0 of 4 gradients clipped so",
    ),
    "the norms differ": (
        lambda g: [tf.clip_by_norm(one, 0.5 + i) for i, one in enumerate(g)],
        {"norm": 0.5},
        "1 of 4 gradients clipped so",
    ),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_faulty_clips(fault: str) -> None:
    treat, clipping, message = FAULTY[fault]
    assert message in fails(step(dense(), MSE, treat=treat), *batch(), clipping=clipping)


def test_what_is_no_clipping() -> None:
    train = step(dense(), MSE)
    for wrong in ({"nrm": 1}, {"norm": 1, "global_norm": 2}):
        with pytest.raises(ValueError, match="is none of"):
            verify.assert_graph(train, *batch(), clipping=wrong)


def test_a_bound_that_differs_by_element_is_the_widest() -> None:
    weight = tf.Variable([1.0, 2.0], name="weight")

    @tf.function(autograph=False)
    def step(x: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(weight**2 * x)
        gradient = tape.gradient(loss, weight)
        weight.assign_sub(tf.clip_by_value(gradient, [-0.1, -0.1], [0.1, 9.0]))

    with pytest.raises(verify.GraphAssertionError, match=r"clipped to \[-0\.1, 9\]"):
        verify.assert_graph(step, tf.ones(2), clipping=(-0.1, 0.1))


def test_the_bounds_within_ftrl_clip_no_gradient() -> None:
    """They are where its L1 begins."""
    model = dense()
    model.compile(keras.optimizers.Ftrl(l1_regularization_strength=0.01), "mse")
    verify.assert_graph(model, batch(), clipping=None)
    model.compile(keras.optimizers.Ftrl(l1_regularization_strength=0.01, clipvalue=0.5), "mse")
    verify.assert_graph(model, batch(), clipping=(-0.5, 0.5))


@pytest.mark.parametrize("regularizer", [None, "l2"])
def test_gradients_are_clipped_after_they_were_accumulated(regularizer: str | None) -> None:
    """What an L2 takes is the variable, too, and a buffer is kept of it: that is no step size."""
    model = dense(kernel=regularizer)
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=4, clipvalue=0.5)
    model.compile(optimizer, "mse")
    verify.assert_graph(model, batch(), clipping=(-0.5, 0.5))


@pytest.mark.parametrize("shape", [(), (1,), (3,)])
def test_of_the_only_gradient_a_norm_is_that_of_all(shape: tuple[int, ...]) -> None:
    variable = keras.Variable(tf.ones(shape), name="v")
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build([variable])

    @tf.function(autograph=False)
    def train(x: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((tf.reduce_sum(variable.value) * x - 1.0) ** 2)
        clipped, _ = tf.clip_by_global_norm(tape.gradient(loss, [variable.value]), 0.5)
        optimizer.apply(clipped, [variable])

    for bounds in ({"global_norm": 0.5}, {"norm": 0.5}):
        verify.assert_graph(train, tf.TensorSpec((8,)), clipping=bounds)
    told = fails(train, tf.TensorSpec((8,)), clipping={"global_norm": 0.4})
    assert "clipped to" in told

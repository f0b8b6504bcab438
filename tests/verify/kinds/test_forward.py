"""`forward=`: what a loss judges is what a model, or a function, computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.updates import rejected

layers = keras.layers
SPECS = tf.TensorSpec((None, 3)), tf.TensorSpec((None, 2))
HALF = tf.float16


def model_of(last: str | None = None, name: str = "net") -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(4, "tanh"),
            layers.Dropout(0.3),
            layers.BatchNormalization(),
            layers.Dense(2, last),
        ],
        name=name,
    )


MODEL, OTHER = model_of(), model_of()
FIRST, DROP, NORMAL, LAST = MODEL.layers
Predict = Callable[[Any], Any]


def squares(y: Any, prediction: Any) -> Any:
    return tf.reduce_mean((y - prediction) ** 2)


def step_of(predict: Predict, loss: Any = squares, model: keras.Model = MODEL) -> Any:
    weights = [v.value for v in model.trainable_variables]

    @tf.function(autograph=False)
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            value = loss(y, predict(x))
        for weight, gradient in zip(weights, tape.gradient(value, weights), strict=True):
            if gradient is not None:
                weight.assign_sub(0.1 * gradient)

    return step


def trained(x: Any) -> Any:
    return MODEL(x, training=True)


def by_hand(x: Any, activation: Any = tf.tanh, rate: float = 0.3) -> Any:
    hidden = activation(x @ FIRST.kernel + FIRST.bias)
    hidden = keras.random.dropout(hidden, rate, seed=DROP.seed_generator)
    return NORMAL(hidden, training=True) @ LAST.kernel + LAST.bias


def noisy(x: Any, spread: float = 1.0) -> Any:
    return trained(x + spread * tf.random.normal(tf.shape(x)))


RIGHT: dict[str, tuple[Predict, Any]] = {
    "the model": (trained, MODEL),
    "by hand": (by_hand, MODEL),
    "against a function": (trained, lambda x, y: by_hand(x)),
    "inference": (lambda x: MODEL(x, training=False), lambda x, y: MODEL(x, training=False)),
    "scaled": (lambda x: trained(0.5 * (x - 2.0)), lambda x, y: trained(x / 2.0 - 1.0)),
    "noise": (noisy, lambda x, y: noisy(x)),
}
WRONG: dict[str, tuple[Predict, Any, str]] = {
    "activation": (lambda x: by_hand(x, tf.nn.relu), MODEL, "another prediction"),
    "rate": (lambda x: by_hand(x, rate=0.5), MODEL, "another prediction"),
    "left out": (
        lambda x: LAST(NORMAL(FIRST(x), training=True)),
        MODEL,
        "another prediction",
    ),
    "mode": (lambda x: MODEL(x, training=False), MODEL, "another prediction"),
    "half": (lambda x: tf.cast(tf.cast(trained(x), HALF), "float32"), MODEL, "cast to float16"),
    "half inputs": (
        lambda x: trained(tf.cast(tf.cast(x, HALF), "float32")),
        MODEL,
        "the same, computed in float16, not in float32",
    ),
    "another model": (trained, OTHER, "which the step does not use"),
    "twice": (
        lambda x: trained((x / 2.0 - 1.0) / 2.0 - 1.0),
        lambda x, y: trained(x / 2.0 - 1.0),
        "another prediction",
    ),
    "afterwards": (lambda x: tf.nn.relu(trained(x)), MODEL, "what is made of that afterwards"),
    "a layer more": (
        lambda x: LAST(trained(x) @ tf.ones((2, 4))),
        MODEL,
        "what layers make of that afterwards",
    ),
    "another besides": (
        lambda x: tf.tanh(trained(x)) * FIRST(x)[:, :2],
        MODEL,
        "that, and what is trained in another way",
    ),
    "noise": (lambda x: noisy(x, 0.5), lambda x, y: noisy(x), "another prediction"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_the_same_is_judged_however_it_is_written(name: str) -> None:
    predict, forward = RIGHT[name]
    verify.assert_graph(step_of(predict), *SPECS, forward=forward)


@pytest.mark.parametrize("name", WRONG)
def test_something_else_is_judged(name: str) -> None:
    predict, forward, told = WRONG[name]
    assert told in rejected(step_of(predict), *SPECS, forward=forward)


@pytest.mark.parametrize(
    ("last", "loss"),
    [
        ("softmax", keras.losses.CategoricalCrossentropy()),
        ("sigmoid", keras.losses.BinaryCrossentropy()),
        (None, keras.losses.CategoricalCrossentropy(from_logits=True)),
        ("softmax", keras.losses.KLDivergence()),
    ],
)
def test_probabilities_are_what_keras_makes_of_logits(last: str | None, loss: Any) -> None:
    model = model_of(last)
    model.compile("sgd", loss)
    verify.assert_graph(model, SPECS, forward=model)
    told = rejected(model, SPECS, forward=lambda x, y: tf.nn.relu(model(x, training=True) - 0.5))
    assert "another prediction" in told


def test_penalties_half_precision_and_several_outputs() -> None:
    inputs = keras.Input((3,))
    hidden = layers.Dense(4, activity_regularizer="l1", kernel_regularizer="l2")(inputs)
    halved = layers.Dense(4, dtype="mixed_float16")(hidden)
    outputs = {"p": layers.Dense(2, name="p")(halved), "q": layers.Dense(2, name="q")(hidden)}
    model = keras.Model(inputs, outputs)
    model.compile("adam", {"p": "mse", "q": "mae"})
    batch = SPECS[0], {"p": SPECS[1], "q": SPECS[1]}
    verify.assert_graph(model, batch, forward=model)
    verify.assert_graph(model, batch, forward=lambda x, y: model(x)["q"])
    crossed = rejected(model, batch, forward=lambda x, y: {**model(x), "q": model(x)["q"] + 1.0})
    assert "(output q)" in crossed
    assert "(output p)" not in crossed


def test_nothing_is_judged() -> None:
    def decays(y: Any, prediction: Any) -> Any:
        return tf.reduce_sum(FIRST.kernel**2)

    idle = step_of(trained, decays)
    verify.assert_graph(idle, *SPECS, forward=None)
    assert "is differentiated" in rejected(idle, *SPECS, forward=MODEL)
    assert "no prediction that is judged" in rejected(step_of(trained), *SPECS, forward=None)
    with pytest.raises(TypeError, match="neither a model nor a function"):
        verify.assert_graph(idle, *SPECS, forward="net")


@pytest.mark.parametrize(("training", "mode"), [(True, "training"), (False, "inference")])
def test_which_model_predicts_is_a_fact(training: bool, mode: str) -> None:
    step = step_of(lambda x: MODEL(x, training=training))
    facts = verify.facts(step, *SPECS, model=MODEL)
    assert f"prediction        net in {mode} mode, float32" in str(facts)
    fact = facts.prediction
    assert fact is not None
    assert (fact.model, fact.training, fact.dtypes) == ("net", training, ("float32",))


@pytest.mark.parametrize("name", [n for n, (_, model, _) in WRONG.items() if model is MODEL])
def test_no_model_predicts_what_something_else_computes(name: str) -> None:
    fact = verify.facts(step_of(WRONG[name][0]), *SPECS, model=MODEL).prediction
    assert fact is None or (name == "mode" and not fact.training)


def test_the_known_model() -> None:
    verify.assert_graph(step_of(trained), *SPECS, model=MODEL, forward=True)
    told = rejected(step_of(lambda x: by_hand(x, tf.nn.relu)), *SPECS, model=MODEL, forward=True)
    assert "another prediction" in told
    told = rejected(step_of(trained), *SPECS, forward=True)
    assert "can't be told, since the model is not known: pass model=" in told


def test_what_can_not_be_told_is_said() -> None:
    def needs_more(x: Any) -> Any:
        return x

    told = rejected(step_of(trained), *SPECS, forward=needs_more)
    assert "can't be told: it is called with the step's arguments, 2 by position" in told
    assert "can't be told" in rejected(step_of(trained), *SPECS, forward=lambda x, y: [x, 1])


def test_logits_that_are_taken_for_probabilities_are_no_softmax_of_them() -> None:
    chances = keras.losses.CategoricalCrossentropy()
    step = step_of(trained, lambda y, p: chances(y, p))
    wish = {"model": MODEL, "forward": lambda x, y: tf.nn.softmax(trained(x))}
    assert "forward: expected" in rejected(step, *SPECS, **wish)
    right = step_of(lambda x: tf.nn.softmax(trained(x)), lambda y, p: chances(y, p))
    verify.assert_graph(right, *SPECS, **wish)


def test_one_unit_behind_a_relu_is_no_unit_without() -> None:
    head = layers.Dense(1)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, "tanh"), head])
    batch = tf.TensorSpec((8, 3)), tf.TensorSpec((8, 1))
    wish = {"model": model, "forward": lambda x, y: model(x)}
    verify.assert_graph(step_of(lambda x: model(x), model=model), *batch, **wish)
    step = step_of(lambda x: tf.nn.relu(model(x)), model=model)
    assert "forward: expected" in rejected(step, *batch, **wish)

"""What no keyword can take ends in an error that names the keyword, or in a verdict."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import verify

WRONG: dict[str, Any] = {
    "a number": 3.5,
    "a negative number": -1,
    "not a number": float("nan"),
    "a text": "nonsense",
    "an empty text": "",
    "bytes": b"text",
    "an object": object(),
    "a type": int,
    "a function": lambda: 1,
    "an array": np.ones(3),
    "a tensor": tf.ones(2),
    "a list of nothing": [None],
    "a single": (1,),
    "three numbers": (1, 2, 3),
    "two texts": ("a", "b"),
    "by another key": {"a": 1},
    "by a number": {1: 2},
    "of all a text": {"*": "x"},
    "of all a number": {"*": 3.5},
    "a set": {"nothing*"},
}
KEYWORDS = [
    name
    for name, parameter in inspect.signature(verify.assert_graph).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY and name not in ("model", "signature")
]
EMPTY = ("objective", "optimizer", "learning_rate", "training", "follows", "guards", "conditions")


@pytest.fixture(scope="module")
def traced() -> Any:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((y - model(x, training=True)) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)

    return verify.trace(step, tf.zeros((4, 3)), tf.zeros((4, 1)))


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_the_keyword_is_named(keyword: str, traced: Any) -> None:
    told: dict[str, str] = {}
    for name, value in WRONG.items():
        try:
            verify.assert_graph(traced, **{keyword: value})
        except verify.GraphAssertionError:
            continue
        except (TypeError, ValueError) as error:
            told[name] = str(error)
        else:
            told[name] = "held"
    assert {name: text for name, text in told.items() if not text.startswith(f"{keyword}: ")} == {}


@pytest.mark.parametrize("keyword", EMPTY)
def test_a_mapping_without_an_entry_asks_nothing(keyword: str, traced: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{keyword}: \{{\}} has no entry, and so asks nothing"):
        verify.assert_graph(traced, **{keyword: {}})


@pytest.mark.parametrize(
    ("keyword", "value", "told"),
    [
        ("clipping", 0.5, r"did you mean \{'norm': 0.5\} or \(-0.5, 0.5\)\?"),
        ("loss", "mean_square_error", "Keras has no loss .*; did you mean 'mean_squared_error'"),
        ("loss", keras.losses.MeanSquaredError, r"is a class: .* such as MeanSquaredError\(\)"),
        ("optimizer", keras.optimizers.Adam, r"is a class: .* such as Adam\(\)"),
        ("watched", keras.layers.Dense(1), "did you mean its trainable_variables"),
        ("allow_writes", "*", "neither True nor False"),
    ],
)
def test_what_was_meant(keyword: str, value: Any, told: str, traced: Any) -> None:
    with pytest.raises((TypeError, ValueError, verify.GraphAssertionError), match=told):
        verify.assert_graph(traced, **{keyword: value})


def test_a_misspelt_keyword_of_a_branch(traced: Any) -> None:
    with pytest.raises(TypeError, match="Did you mean 'clipping'"):
        verify.Guard(cliping=(-1.0, 1.0))


def test_numbers_of_numpy_are_numbers(traced: Any) -> None:
    verify.assert_graph(traced, learning_rate=np.float32(0.1), max_ops=np.int64(1000))
    with pytest.raises(verify.GraphAssertionError, match=r"clipped to \[-0.5, 0.5\]"):
        verify.assert_graph(traced, clipping=(np.float32(-0.5), np.float64(0.5)))

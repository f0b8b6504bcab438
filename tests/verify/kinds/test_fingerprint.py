"""`fingerprint=`: what is differentiated, in digits."""

from __future__ import annotations

import keras
import tensorflow as tf

import verify
from tests.verify.updates import rejected

BATCH = tf.TensorSpec((8, 4)), tf.TensorSpec((8, 1))


def net(activation: str) -> keras.Model:
    hidden = keras.layers.Dense(5, activation, name="hidden")
    head = keras.layers.Dense(1, name="head")
    made = keras.Sequential([keras.Input((4,)), hidden, head], name="net")
    made.compile("sgd", "mse")
    return made


def test_what_facts_tell_is_taken_as_it_is() -> None:
    told = verify.facts(net("tanh"), BATCH).fingerprint
    verify.assert_graph(net("tanh"), BATCH, fingerprint=told)
    assert "fingerprint: expected" in rejected(net("relu"), *[BATCH], fingerprint=told)

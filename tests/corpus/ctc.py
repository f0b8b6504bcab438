"""CTC: all alignments of a text with the frames count, with blanks between letters."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built

TIME = 4
FAULTS = {
    "letter by letter": "found    SparseCategoricalCrossentropy(from_logits=True)",
    "halved": "loss: expected CTC with weight 1\n     found    weight 0.5",
    "applied twice": "optimizer: expected each update as by Adam(learning_rate=0.0001)",
    "head only": "missing:  model/conv1d/bias, model/conv1d/kernel",
}


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    model = keras.Sequential(
        [
            keras.Input((TIME, 3)),
            keras.layers.Conv1D(4, 3, padding="same", activation="tanh"),
            keras.layers.Dense(3),
        ],
        name="model",
    )
    weights = model.trainable_variables
    weights = weights[2:] if wrong == "head only" else weights
    optimizer = built(keras.optimizers.Adam(1e-4), weights)
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    heard = keras.losses.CTC()

    @tf.function
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            logits = model(x, training=True)
            cost = (crossentropy if wrong == "letter by letter" else heard)(y, logits)
            cost = cost / 2.0 if wrong == "halved" else cost
        found = tape.gradient(cost, weights)
        for _ in range(2 if wrong == "applied twice" else 1):
            optimizer.apply(found, weights)

    return Case(
        step,
        (tf.TensorSpec((4, TIME, 3)), tf.TensorSpec((4, TIME), tf.int32)),
        {
            "loss": keras.losses.CTC(),
            "optimizer": keras.optimizers.Adam(1e-4),
            "watched": "*",
            "clipping": None,
            "model": model,
        },
    )

"""Gradient accumulation: a batch is split into parts, whose gradients make one update."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built

FAULTS = {
    "not divided": "gradient of whole\n     found    4 times that: ",
    "last part only": "gradient of whole\n     found    another gradient: ",
    "one part twice": "gradient of whole\n     found    another gradient: ",
    "last part forgotten": "gradient of whole\n     found    another gradient: ",
    "each applied": "gradient of whole\n     found    another gradient: ",
    "one kernel of the last part": "gradient of whole\n     found    another gradient: ",
}


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(2)], name="model"
    )
    weights = model.trainable_variables
    optimizer = built(keras.optimizers.Adam(1e-3), weights)
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    parts, size = 4, 2

    @tf.function
    def step(x: Any, y: Any) -> None:
        total = [tf.zeros_like(weight) for weight in weights]
        for i in range(3 if wrong == "last part forgotten" else parts):
            part = slice(0, size) if wrong == "one part twice" and i == 1 else None
            part = part or slice(i * size, (i + 1) * size)
            with tf.GradientTape() as tape:
                cost = crossentropy(y[part], model(x[part], training=True))
                cost = cost if wrong == "not divided" else cost / parts
            found = tape.gradient(cost, weights)
            total = [one + other for one, other in zip(total, found, strict=True)]
            if wrong == "each applied":
                optimizer.apply(found, weights)
            if wrong == "last part only":
                total = [parts * gradient for gradient in found]
            if wrong == "one kernel of the last part":
                total[0] = parts * found[0]
        if wrong != "each applied":
            optimizer.apply(total, weights)

    def whole(x: Any, y: Any) -> Any:
        logits = model(x)
        chosen = tf.reduce_sum(tf.one_hot(y, 2) * tf.nn.log_softmax(logits), -1)
        return -tf.reduce_mean(chosen)

    return Case(
        step,
        (tf.TensorSpec((8, 3)), tf.TensorSpec((8,), tf.int64)),
        {
            "objective": whole,
            "optimizer": keras.optimizers.Adam(1e-3),
            "watched": "*",
            "clipping": None,
        },
    )

"""Siamese triplets: an anchor is closer, by a margin, to its own kind than to others."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built

FAULTS = {
    "stranger for like": "gradient of stranger_than\n     found    another gradient: ",
    "margin": "gradient of stranger_than\n     found    another gradient: ",
    "no hinge": "gradient of stranger_than\n     found    another gradient: ",
    "roots of distances": "gradient of stranger_than\n     found    another gradient: ",
    "hinge of the mean": "gradient of stranger_than\n     found    another gradient: ",
    "anchor detached": "gradient of stranger_than\n     found    another gradient: ",
    "base thawed": "too many: base/bias, base/kernel",
}


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    seen = keras.Input((5,))
    base = keras.layers.Dense(6, "tanh", name="base", trainable=wrong == "base thawed")
    top = keras.layers.Dense(4, "relu", name="top")
    code = keras.layers.Dense(3, name="code")
    network = keras.Model(seen, code(top(base(seen))), name="network")
    weights = network.trainable_variables
    optimizer = built(keras.optimizers.Adam(1e-4), weights)
    margin = 0.2 if wrong == "margin" else 0.5

    @tf.function
    def step(anchor: Any, like: Any, stranger: Any) -> None:
        if wrong == "stranger for like":
            like, stranger = stranger, like
        with tf.GradientTape() as tape:
            a, b, c = (network(x, training=True) for x in (anchor, like, stranger))
            a = tf.stop_gradient(a) if wrong == "anchor detached" else a
            near = tf.reduce_sum(tf.square(a - b), -1)
            far = tf.reduce_sum(tf.square(a - c), -1)
            if wrong == "roots of distances":
                near, far = tf.sqrt(near), tf.sqrt(far)
            lead = near - far + margin
            if wrong == "hinge of the mean":
                cost = tf.maximum(tf.reduce_mean(lead), 0.0)
            else:
                lead = lead if wrong == "no hinge" else tf.maximum(lead, 0.0)
                cost = tf.reduce_mean(lead)
        optimizer.apply(tape.gradient(cost, weights), weights)

    def stranger_than(anchor: Any, like: Any, stranger: Any) -> Any:
        codes = network(tf.concat([anchor, like, stranger], axis=0))
        a, b, c = tf.split(codes, 3)
        # |a - b|^2 - |a - c|^2 without what both have in common.
        lead = tf.einsum("bi,bi->b", b - c, b + c - 2.0 * a)
        return tf.reduce_mean(tf.nn.relu(0.5 + lead))

    images = tf.TensorSpec((6, 5))
    return Case(
        step,
        (images, images, images),
        {
            "objective": stranger_than,
            "optimizer": keras.optimizers.Adam(1e-4),
            "watched": ["top/*", "code/*"],
            "unchanged": "base/*",
            "clipping": None,
        },
    )

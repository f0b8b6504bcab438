"""SimCLR: two views of an image are closer to each other than to those of other images."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built

FAULTS = {
    "temperature": "gradient of contrast\n     found    another gradient: ",
    "not normalised": "gradient of contrast\n     found    another gradient: ",
    "one way": "gradient of contrast\n     found    another gradient: ",
    "one view detached": "gradient of contrast\n     found    another gradient: ",
    "summed ways": "gradient of contrast\n     found    2 times that: ",
    "projection untrained": "missing:  projection/",
}


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    encoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, "relu")], name="encoder")
    projection = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)], name="projection")
    weights = encoder.trainable_variables
    if wrong != "projection untrained":
        weights = weights + projection.trainable_variables
    optimizer = built(keras.optimizers.Adam(), weights)
    crossentropy = keras.losses.sparse_categorical_crossentropy

    def view(x: Any) -> Any:
        return x * tf.random.uniform(tf.shape(x), 0.5, 1.5)

    @tf.function
    def step(x: Any) -> None:
        one, other = view(x), view(x)
        with tf.GradientTape() as tape:
            a = projection(encoder(one, training=True), training=True)
            b = projection(encoder(other, training=True), training=True)
            if wrong != "not normalised":
                a, b = tf.math.l2_normalize(a, axis=1), tf.math.l2_normalize(b, axis=1)
            if wrong == "one view detached":
                b = tf.stop_gradient(b)
            alike = tf.matmul(a, b, transpose_b=True) / (1.0 if wrong == "temperature" else 0.1)
            own = tf.range(tf.shape(x)[0])
            there = tf.reduce_mean(crossentropy(own, alike, from_logits=True))
            back = tf.reduce_mean(crossentropy(own, tf.transpose(alike), from_logits=True))
            back = there if wrong == "one way" else back
            cost = there + back if wrong == "summed ways" else (there + back) / 2
        optimizer.apply(tape.gradient(cost, weights), weights)

    def contrast(x: Any) -> Any:
        size = tf.shape(x)[0]
        a, b = (projection(encoder(x * (0.5 + tf.random.uniform((size, 6))))) for _ in range(2))
        lengths = tf.norm(a, axis=1)[:, None] * tf.norm(b, axis=1)[None, :]
        alike = 10.0 * tf.einsum("ik,jk->ij", a, b) / lengths
        rows, columns = tf.reduce_logsumexp(alike, 1), tf.reduce_logsumexp(alike, 0)
        return tf.reduce_mean(rows + columns - 2.0 * tf.linalg.diag_part(alike)) / 2.0

    return Case(
        step,
        (tf.TensorSpec((5, 6)),),
        {
            "objective": contrast,
            "optimizer": keras.optimizers.Adam(),
            "watched": "*",
            "clipping": None,
        },
    )

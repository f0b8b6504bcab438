"""VQ-VAE: the nearest of a few codes represents the input, and gradients bypass the choice."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built, images

FAULTS = {
    "not straight through": "gradient of bound\n     found    another gradient: codebook/codes",
    "commitment forgotten": "gradient of bound\n     found    another gradient: encoder/",
    "commitment to the codebook": "gradient of bound\n     found    another gradient: ",
    "beta": "gradient of bound\n     found    another gradient: encoder/",
    "the farthest": "gradient of bound\n     found    another gradient: ",
    "codes not detached": "found    another gradient: codebook/codes",
    "codebook untrained": "missing:  codebook/codes",
}


class Codebook(keras.layers.Layer):
    """Five codes of two numbers each."""

    def build(self, _: Any) -> None:
        self.codes = self.add_weight(shape=(2, 5), initializer="random_normal", name="codes")


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    layers = keras.layers
    encoder = keras.Sequential(
        [keras.Input((4, 4, 1)), layers.Conv2D(2, 3, 2, "same", activation="tanh")],
        name="encoder",
    )
    decoder = keras.Sequential(
        [keras.Input((2, 2, 2)), layers.Conv2DTranspose(1, 3, 2, "same")], name="decoder"
    )
    codebook = Codebook(name="codebook")
    codebook.build(None)
    weights = [*encoder.trainable_variables, *decoder.trainable_variables]
    if wrong != "codebook untrained":
        weights.append(codebook.codes)
    optimizer = built(keras.optimizers.Adam(), weights)
    beta = 1.0 if wrong == "beta" else 0.25

    def quantized(seen: Any) -> Any:
        flat, codes = tf.reshape(seen, (-1, 2)), codebook.codes
        apart = tf.reduce_sum(flat**2, axis=1, keepdims=True) + tf.reduce_sum(codes**2, axis=0)
        apart -= 2.0 * tf.matmul(flat, codes)
        chosen = tf.argmax(apart, 1) if wrong == "the farthest" else tf.argmin(apart, 1)
        picked = tf.matmul(tf.one_hot(chosen, 5), codes, transpose_b=True)
        return tf.reshape(picked, tf.shape(seen))

    @tf.function
    def step(x: Any) -> None:
        with tf.GradientTape() as tape:
            seen = encoder(x, training=True)
            code = quantized(seen)
            commitment = tf.reduce_mean((tf.stop_gradient(code) - seen) ** 2)
            drawn_near = tf.reduce_mean((code - tf.stop_gradient(seen)) ** 2)
            if wrong == "commitment to the codebook":
                commitment, drawn_near = drawn_near, commitment
            commitment = 0.0 if wrong == "commitment forgotten" else commitment
            passed = seen + tf.stop_gradient(code - seen)
            passed = seen + code - tf.stop_gradient(seen) if "detached" in wrong else passed
            passed = code if wrong == "not straight through" else passed
            pixels = tf.reduce_mean((x - decoder(passed, training=True)) ** 2)
            cost = pixels + beta * commitment + drawn_near
        optimizer.apply(tape.gradient(cost, weights), weights)

    def bound(x: Any) -> Any:
        seen = encoder(x)
        codes = tf.transpose(codebook.codes)
        away = tf.norm(seen[..., None, :] - tf.stop_gradient(codes), axis=-1)
        nearest = tf.nn.embedding_lookup(codes, tf.argmin(away, axis=-1))
        there = seen - tf.stop_gradient(seen) + tf.stop_gradient(nearest)
        committed = tf.nn.l2_loss(seen - tf.stop_gradient(nearest))
        learned = tf.nn.l2_loss(nearest - tf.stop_gradient(seen))
        missed = tf.nn.l2_loss(decoder(there) - x) / 32.0
        return missed + (0.25 * committed + learned) / 16.0

    return Case(
        step,
        (images(),),
        {
            "objective": bound,
            "optimizer": keras.optimizers.Adam(),
            "watched": "*",
            "clipping": None,
        },
    )

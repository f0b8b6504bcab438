"""DDPM: a network predicts the noise in an image at a random time; its average is kept."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.corpus.case import Case, built, images

TIMES = 8
FAULTS = {
    "image for noise": "gradient of denoised\n     found    another gradient: network_",
    "signal and noise exchanged": "gradient of denoised\n     found    another gradient: network_",
    "roots forgotten": "gradient of denoised\n     found    another gradient: network_",
    "another time told": "gradient of denoised\n     found    another gradient: network_",
    "squares summed": "gradient of denoised\n     found    16 times that: ",
    "no average": "follows: expected average_* to follow",
    "rate of the average": "follows network_noise/bias at 0.01, expected 0.001",
    "average trained": "average_noise/bias is trained from its gradient as well",
}


def unet(name: str) -> keras.Model:
    """Tells noise from an image and a time: a U-Net of no depth."""
    image, time = keras.Input((4, 4, 1)), keras.Input((4,))
    told = keras.layers.Reshape((1, 1, 2))(keras.layers.Dense(2, "tanh", name=f"{name}_time")(time))
    seen = keras.layers.Conv2D(2, 3, padding="same", activation="tanh", name=f"{name}_seen")(image)
    both = keras.layers.Add()([seen, told])
    noise = keras.layers.Conv2D(1, 3, padding="same", name=f"{name}_noise")(both)
    return keras.Model([image, time], noise, name=name)


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    network, average = unet("network"), unet("average")
    average.set_weights(network.get_weights())
    weights = (average if wrong == "average trained" else network).trainable_variables
    optimizer = built(keras.optimizers.Adam(2e-4), weights)
    error = keras.losses.MeanSquaredError()
    kept = tf.math.cumprod(1.0 - tf.linspace(1e-4, 0.02, TIMES))
    rate = 0.01 if wrong == "rate of the average" else 0.001

    def embedded(time: Any) -> Any:
        angle = tf.cast(time, tf.float32)[:, None] * tf.constant([[1.0, 0.01]])
        return tf.concat([tf.sin(angle), tf.cos(angle)], axis=-1)

    @tf.function
    def step(x: Any) -> None:
        time = tf.random.uniform([tf.shape(x)[0]], 0, TIMES, tf.int32)
        noise = tf.random.normal(tf.shape(x))
        share = tf.reshape(tf.gather(kept, time), (-1, 1, 1, 1))
        if wrong == "signal and noise exchanged":
            share = 1.0 - share
        if wrong == "roots forgotten":
            noisy = share * x + (1.0 - share) * noise
        else:
            noisy = tf.sqrt(share) * x + tf.sqrt(1.0 - share) * noise
        told = tf.maximum(time - 1, 0) if wrong == "another time told" else time
        with tf.GradientTape() as tape:
            source = average if wrong == "average trained" else network
            seen = source([noisy, embedded(told)], training=True)
            cost = error(x if wrong == "image for noise" else noise, seen)
            if wrong == "squares summed":
                cost *= 16.0
        optimizer.apply(tape.gradient(cost, weights), weights)
        if wrong != "no average":
            for slow, fast in zip(average.weights, network.weights, strict=True):
                slow.assign((1.0 - rate) * slow + rate * fast)

    def denoised(x: Any) -> Any:
        t = tf.random.uniform((4,), 0, TIMES, tf.int32)
        noise = tf.random.normal((4, 4, 4, 1))
        stays = np.cumprod(1.0 - np.linspace(1e-4, 0.02, TIMES)).astype("float32")
        signal, sigma = (tf.gather(np.sqrt(table), t) for table in (stays, 1.0 - stays))
        noisy = tf.einsum("b,bijc->bijc", signal, x) + tf.einsum("b,bijc->bijc", sigma, noise)
        return tf.nn.l2_loss(noise - network([noisy, embedded(t)])) / 32.0

    return Case(
        step,
        (images(),),
        {
            "objective": {"network_*": denoised},
            "optimizer": keras.optimizers.Adam(2e-4),
            "watched": "network_*",
            "follows": {"average_*": ("network_*", 0.001)},
            "clipping": None,
        },
    )

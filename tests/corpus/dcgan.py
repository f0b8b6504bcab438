"""DCGAN: a discriminator on logits with one-sided label smoothing, and a generator."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built, images

LAYERS = keras.layers
FAULTS = {
    "swapped labels": "expected the gradient of told_apart\n     found    another gradient",
    "generator's sign": "expected the gradient of passed\n     found    another gradient",
    "trains both": "gradient of told_apart\n     found    another gradient: ",
    "update twice": "optimizer: expected",
    "no update": "gradient of told_apart\n     found    no gradient reaches an update",
    "inference mode": "not written: the layer runs in inference mode, or is frozen",
}


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    generator = keras.Sequential(
        [
            keras.Input((3,)),
            LAYERS.Dense(8, use_bias=False),
            LAYERS.BatchNormalization(),
            LAYERS.LeakyReLU(),
            LAYERS.Reshape((2, 2, 2)),
            LAYERS.Conv2DTranspose(1, 3, 2, "same", activation="tanh"),
        ],
        name="generator",
    )
    discriminator = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            LAYERS.Conv2D(2, 3, 2, "same"),
            LAYERS.LeakyReLU(),
            LAYERS.Dropout(0.3),
            LAYERS.Flatten(),
            LAYERS.Dense(1),
        ],
        name="discriminator",
    )
    crossentropy = keras.losses.BinaryCrossentropy(from_logits=True)
    fooling = built(keras.optimizers.Adam(1e-3, beta_1=0.5), generator.trainable_variables)
    telling = built(keras.optimizers.Adam(1e-4), discriminator.trainable_variables)

    @tf.function
    def step(real: Any) -> None:
        noise = tf.random.normal([tf.shape(real)[0], 3])
        with tf.GradientTape() as tape, tf.GradientTape() as other:
            fake = generator(noise, training=wrong != "inference mode")
            on_real = discriminator(real, training=True)
            on_fake = discriminator(fake, training=True)
            yes, no = 0.9 * tf.ones_like(on_real), tf.zeros_like(on_fake)
            if wrong == "swapped labels":
                yes, no = no, yes
            cost = crossentropy(yes, on_real) + crossentropy(no, on_fake)
            fooled = crossentropy(tf.ones_like(on_fake), on_fake)
            if wrong == "generator's sign":
                fooled = crossentropy(tf.zeros_like(on_fake), on_fake)
            if wrong == "trains both":
                cost += fooled
        ours, theirs = generator.trainable_variables, discriminator.trainable_variables
        found = other.gradient(fooled, ours)
        fooling.apply(found, ours)
        if wrong == "update twice":
            fooling.apply(found, ours)
        if wrong != "no update":
            telling.apply(tape.gradient(cost, theirs), theirs)

    def fake_like(real: Any) -> Any:
        return generator(tf.random.normal((tf.shape(real)[0], 3)), training=True)

    def told_apart(real: Any) -> Any:
        fake = fake_like(real)
        true = discriminator(real, training=True)
        fake = discriminator(fake, training=True)
        return tf.reduce_mean(tf.nn.softplus(fake)) + tf.reduce_mean(
            0.9 * tf.nn.softplus(-true) + 0.1 * tf.nn.softplus(true)
        )

    def passed(real: Any) -> Any:
        return tf.reduce_mean(tf.nn.softplus(-discriminator(fake_like(real), training=True)))

    return Case(
        step,
        (images(),),
        {
            "objective": {"generator/*": passed, "discriminator/*": told_apart},
            "optimizer": {
                "generator/*": keras.optimizers.Adam(1e-3, beta_1=0.5),
                "discriminator/*": keras.optimizers.Adam(1e-4),
            },
            "watched": ["generator/*", "discriminator/*"],
            "statistics": {"*moving*": 0.99},
            "clipping": None,
        },
    )

"""SRGAN: a generator enlarges images, judged by a frozen network and a discriminator."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built, images

FAULTS = {
    "weight of the adversary": "gradient of likeness\n     found    another gradient: generator/",
    "content detached": "gradient of likeness\n     found    another gradient: generator/",
    "features of the small": "gradient of likeness\n     found    another gradient: generator/",
    "generator's labels": "gradient of likeness\n     found    another gradient: generator/",
    "swapped labels": "gradient of told_apart\n     found    another gradient: discriminator/",
    "fakes only": "gradient of told_apart\n     found    another gradient: discriminator/",
    "features trained": "features/features/bias is written by",
}


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    layers = keras.layers
    generator = keras.Sequential(
        [keras.Input((2, 2, 1)), layers.Conv2DTranspose(1, 3, 2, "same", activation="tanh")],
        name="generator",
    )
    discriminator = keras.Sequential(
        [keras.Input((4, 4, 1)), layers.Conv2D(2, 3, 2), layers.Flatten(), layers.Dense(1)],
        name="discriminator",
    )
    features = keras.Sequential(
        [keras.Input((4, 4, 1)), layers.Conv2D(2, 3, activation="relu", name="features")],
        name="features",
    )
    features.trainable = wrong == "features trained"
    ours, theirs = generator.trainable_variables, discriminator.trainable_variables
    ours = ours + features.trainable_variables
    making = built(keras.optimizers.Adam(1e-4), ours)
    telling = built(keras.optimizers.Adam(1e-4), theirs)
    crossentropy = keras.losses.BinaryCrossentropy(from_logits=True)
    squares = keras.losses.MeanSquaredError()

    @tf.function
    def step(small: Any, large: Any) -> None:
        with tf.GradientTape() as tape, tf.GradientTape() as other:
            made = generator(small, training=True)
            on_large = discriminator(large, training=True)
            on_made = discriminator(made, training=True)
            yes, no = tf.ones_like(on_large), tf.zeros_like(on_made)
            wanted = no if wrong == "generator's labels" else yes
            fooled = crossentropy(wanted, on_made)
            truth = tf.image.resize(small, (4, 4)) if wrong == "features of the small" else large
            like = tf.stop_gradient(made) if wrong == "content detached" else made
            content = squares(features(truth), features(like))
            weight = 1.0 if wrong == "weight of the adversary" else 1e-3
            cost = content + weight * fooled
            if wrong == "swapped labels":
                yes, no = no, yes
            seen = crossentropy(no, on_made)
            if wrong != "fakes only":
                seen += crossentropy(yes, on_large)
        making.apply(other.gradient(cost, ours), ours)
        telling.apply(tape.gradient(seen, theirs), theirs)

    def likeness(small: Any, large: Any) -> Any:
        made = generator(small)
        off = tf.nn.l2_loss(features(made) - features(large)) / 16.0
        return off + tf.reduce_mean(tf.math.log1p(tf.exp(-discriminator(made)))) / 1000.0

    def told_apart(small: Any, large: Any) -> Any:
        true, fake = discriminator(large), discriminator(generator(small))
        return -tf.reduce_mean(tf.math.log_sigmoid(true) + tf.math.log_sigmoid(-fake))

    return Case(
        step,
        (images(side=2), images()),
        {
            "objective": {"generator/*": likeness, "discriminator/*": told_apart},
            "optimizer": keras.optimizers.Adam(1e-4),
            "unwatched": "features/*",
            "clipping": None,
        },
    )

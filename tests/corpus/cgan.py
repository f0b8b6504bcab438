"""Conditional GAN: the class is given as further channels of images and further noise."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built, images

CLASSES = 3
FAULTS = {
    "labels not told": "gradient of told_apart\n     found    another gradient: discriminator/",
    "swapped labels": "gradient of told_apart\n     found    another gradient: discriminator/",
    "sum for mean": "gradient of told_apart\n     found    8 times that: discriminator/",
    "generator's labels": "gradient of passed\n     found    -1 times that: generator/",
    "wrong variables": "missing:  generator/",
}


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    generator = keras.Sequential(
        [keras.Input((2 + CLASSES,)), keras.layers.Dense(16, "tanh")], name="generator"
    )
    discriminator = keras.Sequential(
        [keras.Input((4, 4, 1 + CLASSES)), keras.layers.Flatten(), keras.layers.Dense(1)],
        name="discriminator",
    )
    ours, theirs = generator.trainable_variables, discriminator.trainable_variables
    optimizer = built(keras.optimizers.RMSprop(3e-4), theirs)
    other = built(keras.optimizers.RMSprop(3e-4), ours)
    loss = keras.losses.BinaryCrossentropy(
        from_logits=True, reduction="sum" if wrong == "sum for mean" else "sum_over_batch_size"
    )

    def with_class(image: Any, one_hot: Any) -> Any:
        planes = tf.repeat(tf.repeat(one_hot[:, None, None, :], 4, axis=1), 4, axis=2)
        planes = tf.zeros_like(planes) if wrong == "labels not told" else planes
        return tf.concat([image, planes], -1)

    @tf.function
    def step(image: Any, label: Any) -> None:
        one_hot = tf.one_hot(label, CLASSES)
        noise = tf.concat([tf.random.normal([tf.shape(image)[0], 2]), one_hot], 1)
        made = tf.reshape(generator(noise), [-1, 4, 4, 1])
        both = tf.concat([with_class(made, one_hot), with_class(image, one_hot)], 0)
        answers = tf.concat([tf.ones_like(label), tf.zeros_like(label)], 0)[:, None]
        answers = 1 - answers if wrong == "swapped labels" else answers
        with tf.GradientTape() as tape:
            cost = loss(answers, discriminator(both))
        optimizer.apply(tape.gradient(cost, theirs), theirs)

        noise = tf.concat([tf.random.normal([tf.shape(image)[0], 2]), one_hot], 1)
        with tf.GradientTape() as tape:
            made = tf.reshape(generator(noise), [-1, 4, 4, 1])
            score = discriminator(with_class(made, one_hot))
            cost = loss(tf.zeros_like(label)[:, None], score)
            cost = -cost if wrong == "generator's labels" else cost
        if wrong == "wrong variables":
            optimizer.apply(tape.gradient(cost, theirs), theirs)
        else:
            other.apply(tape.gradient(cost, ours), ours)

    def seen(image: Any, label: Any) -> Any:
        planes = tf.ones((4, 4, 4, 1)) * tf.one_hot(label, CLASSES)[:, None, None]
        return discriminator(tf.concat([image, planes], -1))

    def faked(label: Any) -> Any:
        noise = [tf.random.normal((4, 2)), tf.one_hot(label, CLASSES)]
        return seen(tf.reshape(generator(tf.concat(noise, 1)), (4, 4, 4, 1)), label)

    def told_apart(image: Any, label: Any) -> Any:
        off = tf.nn.softplus(-faked(label)) + tf.nn.softplus(seen(image, label))
        return tf.reduce_sum(off) / 8.0

    def passed(image: Any, label: Any) -> Any:
        return tf.reduce_mean(tf.nn.softplus(faked(label)))

    return Case(
        step,
        (images(), tf.TensorSpec((4,), tf.int32)),
        {
            "objective": {"generator/*": passed, "discriminator/*": told_apart},
            "optimizer": keras.optimizers.RMSprop(3e-4),
            "watched": ["generator/*", "discriminator/*"],
            "clipping": None,
        },
    )

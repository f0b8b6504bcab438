"""Mixup: images and labels are mixed with those of another example, in random proportions."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built, images

FAULTS = {
    "labels not mixed": "gradient of mixed\n     found    another gradient: ",
    "shares of labels exchanged": "gradient of mixed\n     found    another gradient: ",
    "labels of a third": "gradient of mixed\n     found    another gradient: ",
    "uniform share": "draws a random number that the step does not draw (RandomGamma)",
    "one share for all": "it draws random numbers of shape (6,), the step of (1,)",
    "images not mixed": "gradient of mixed\n     found    another gradient: ",
    "chances for logits": "gradient of mixed\n     found    another gradient: ",
}


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((4, 4, 1)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)],
        name="model",
    )
    weights = model.trainable_variables
    optimizer = built(keras.optimizers.Adam(), weights)
    crossentropy = keras.losses.CategoricalCrossentropy(from_logits=wrong != "chances for logits")

    def beta(size: Any) -> Any:
        if wrong == "uniform share":
            return tf.random.uniform([size])
        size = 1 if wrong == "one share for all" else size
        one, other = tf.random.gamma([size], 0.2), tf.random.gamma([size], 0.2)
        return one / (one + other)

    @tf.function
    def step(x: Any, y: Any) -> None:
        size = tf.shape(x)[0]
        share, order = beta(size), tf.random.shuffle(tf.range(size))
        wide, high = tf.reshape(share, (-1, 1, 1, 1)), tf.reshape(share, (-1, 1))
        blend = x
        if wrong != "images not mixed":
            blend = x * wide + tf.gather(x, order) * (1.0 - wide)
        third = tf.random.shuffle(tf.range(size)) if wrong == "labels of a third" else order
        high = 1.0 - high if wrong == "shares of labels exchanged" else high
        label = y
        if wrong != "labels not mixed":
            label = y * high + tf.gather(y, third) * (1.0 - high)
        with tf.GradientTape() as tape:
            logits = model(blend, training=True)
            cost = crossentropy(label, logits)
        optimizer.apply(tape.gradient(cost, weights), weights)

    def mixed(x: Any, y: Any) -> Any:
        one, other = (tf.random.gamma((6,), 0.2) for _ in range(2))
        order = tf.random.shuffle(tf.range(6))
        share = 1.0 / (1.0 + other / one)
        among = tf.einsum("b,bijc->bijc", share, x)
        among += tf.einsum("b,bijc->bijc", 1.0 - share, tf.gather(x, order))
        chances = tf.nn.log_softmax(model(among))
        own = tf.reduce_sum(y * chances, axis=1)
        others = tf.reduce_sum(tf.gather(y, order) * chances, axis=1)
        return -tf.reduce_mean(share * own + (1.0 - share) * others)

    return Case(
        step,
        (images(6), tf.TensorSpec((6, 3))),
        {
            "objective": mixed,
            "optimizer": keras.optimizers.Adam(),
            "watched": "*",
            "clipping": None,
            "draws": "fresh",
        },
    )

"""WGAN-GP: several steps of a critic with a gradient penalty, then one of the generator."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built, images

FAULTS = {
    "weight of the penalty": "gradient of distance\n     found    another gradient: critic/",
    "penalty on the sum of squares": "gradient of distance\n     found    another gradient",
    "slope not differentiated": "draws a random number that the step does not draw (RandomUniform)",
    "critic's sign": "gradient of distance\n     found    another gradient",
    "generator's sign": "gradient of admired\n     found    -1 times that: generator/",
    "one share for all": "gradient of distance\n     found    ",
    "critic trains the generator": "generator/",
}


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    generator = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(16, "tanh"), keras.layers.Reshape((4, 4, 1))],
        name="generator",
    )
    critic = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Conv2D(2, 3, 2, activation="tanh"),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ],
        name="critic",
    )
    ours, theirs = generator.trainable_variables, critic.trainable_variables
    both = [*theirs, *ours] if wrong == "critic trains the generator" else theirs
    admiring = built(keras.optimizers.Adam(2e-4, beta_1=0.5, beta_2=0.9), ours)
    judging = built(keras.optimizers.Adam(2e-4, beta_1=0.5, beta_2=0.9), both)

    def penalty(real: Any, fake: Any) -> Any:
        alone = [1, 1, 1, 1] if wrong == "one share for all" else [tf.shape(real)[0], 1, 1, 1]
        share = tf.random.uniform(alone)
        between = real + share * (fake - real)
        with tf.GradientTape() as tape:
            tape.watch(between)
            score = critic(between, training=True)
        slope = tape.gradient(score, between)
        if wrong == "slope not differentiated":
            slope = tf.stop_gradient(slope)
        squares = tf.reduce_sum(tf.square(slope), axis=[1, 2, 3])
        norm = squares if wrong == "penalty on the sum of squares" else tf.sqrt(squares)
        return tf.reduce_mean((norm - 1.0) ** 2)

    @tf.function
    def step(real: Any) -> None:
        size = tf.shape(real)[0]
        for _ in range(2):
            with tf.GradientTape() as tape:
                fake = generator(tf.random.normal([size, 3]), training=True)
                cost = tf.reduce_mean(critic(fake)) - tf.reduce_mean(critic(real))
                if wrong == "critic's sign":
                    cost = -cost
                strength = 1.0 if wrong == "weight of the penalty" else 10.0
                cost += strength * penalty(real, fake)
            judging.apply(tape.gradient(cost, both), both)
        with tf.GradientTape() as tape:
            score = tf.reduce_mean(critic(generator(tf.random.normal([size, 3]), training=True)))
            cost = score if wrong == "generator's sign" else -score
        admiring.apply(tape.gradient(cost, ours), ours)

    def made(real: Any) -> Any:
        return generator(tf.random.normal((tf.shape(real)[0], 3)), training=True)

    def distance(real: Any) -> Any:
        fake, size = made(real), tf.shape(real)[0]
        share = tf.random.uniform((size, 1, 1, 1))
        between = (1.0 - share) * real + share * fake
        slope = tf.reshape(tf.gradients(critic(between), between)[0], (size, -1))
        steep = tf.reduce_mean(tf.square(tf.norm(slope, axis=1) - 1.0))
        return tf.reduce_mean(critic(fake) - critic(real)) + 10.0 * steep

    def admired(real: Any) -> Any:
        return tf.reduce_mean(-critic(made(real)))

    return Case(
        step,
        (images(),),
        {
            "objective": {"critic/*": distance, "generator/*": admired},
            "optimizer": keras.optimizers.Adam(2e-4, beta_1=0.5, beta_2=0.9),
            "watched": ["critic/*", "generator/*"],
            "clipping": None,
        },
    )

"""VAE: reconstruction and divergence from a normal distribution, through a random code."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built, images

FAULTS = {
    "mean for sum": "gradient of bound\n     found    another gradient: ",
    "weight of the divergence": "gradient of bound\n     found    another gradient: ",
    "sign of the divergence": "gradient of bound\n     found    another gradient: ",
    "variance for deviation": "gradient of bound\n     found    another gradient: ",
    "no noise": "draws a random number that the step does not draw (RandomStandardNormal)",
    "code not differentiated": "found    another gradient: ",
    "decoder untrained": "missing:  decoder/",
}


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    image = keras.Input((4, 4, 1))
    hidden = keras.layers.Conv2D(2, 3, 2, "same", activation="relu", name="seen")(image)
    flat = keras.layers.Flatten()(hidden)
    heads = [keras.layers.Dense(2, name=name)(flat) for name in ("mean", "log_variance")]
    encoder = keras.Model(image, heads, name="encoder")
    decoder = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(8, "relu"),
            keras.layers.Reshape((2, 2, 2)),
            keras.layers.Conv2DTranspose(1, 3, 2, "same", activation="sigmoid"),
        ],
        name="decoder",
    )
    weights = encoder.trainable_variables
    if wrong != "decoder untrained":
        weights = weights + decoder.trainable_variables
    optimizer = built(keras.optimizers.Adam(), weights)

    @tf.function
    def step(x: Any) -> None:
        with tf.GradientTape() as tape:
            mean, log_variance = encoder(x, training=True)
            noise = tf.random.normal(tf.shape(mean))
            noise = tf.zeros_like(mean) if wrong == "no noise" else noise
            half = 1.0 if wrong == "variance for deviation" else 0.5
            code = mean + tf.exp(half * log_variance) * noise
            code = tf.stop_gradient(code) if wrong == "code not differentiated" else code
            pixels = keras.losses.binary_crossentropy(x, decoder(code, training=True))
            reduce = tf.reduce_mean if wrong == "mean for sum" else tf.reduce_sum
            reconstruction = tf.reduce_mean(reduce(pixels, axis=(1, 2)))
            divergence = -0.5 * (1 + log_variance - tf.square(mean) - tf.exp(log_variance))
            divergence = tf.reduce_mean(tf.reduce_sum(divergence, axis=1))
            if wrong == "weight of the divergence":
                divergence *= 0.1
            if wrong == "sign of the divergence":
                divergence = -divergence
            cost = reconstruction + divergence
        optimizer.apply(tape.gradient(cost, weights), weights)

    def bound(x: Any) -> Any:
        mean, log_variance = encoder(x)
        drawn = mean + tf.random.normal((4, 2)) * tf.sqrt(tf.exp(log_variance))
        p = tf.clip_by_value(decoder(drawn), 1e-7, 1.0 - 1e-7)
        seen = -tf.reduce_sum(x * tf.math.log(p) + (1.0 - x) * tf.math.log(1.0 - p))
        apart = tf.reduce_sum(mean**2 + tf.exp(log_variance) - log_variance - 1.0)
        return (seen + apart / 2.0) / 4.0

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

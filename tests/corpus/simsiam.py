"""SimSiam: each view predicts the code of the other, through which no gradient passes."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built

FAULTS = {
    "codes not detached": "gradient of unlike\n     found    another gradient: encoder/",
    "own code predicted": "gradient of unlike\n     found    another gradient: ",
    "no predictor": "missing:  predictor/",
    "sign": "gradient of unlike\n     found    -1 times that: ",
    "one view": "draws a random number that the step does not draw (RandomStandardNormal)",
    "summed": "gradient of unlike\n     found    2 times that: ",
    "inference mode": "not written: the layer runs in inference mode, or is frozen",
}


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    layers = keras.layers
    encoder = keras.Sequential(
        [keras.Input((6,)), layers.Dense(4, use_bias=False), layers.BatchNormalization()],
        name="encoder",
    )
    predictor = keras.Sequential(
        [keras.Input((4,)), layers.Dense(2, "relu"), layers.Dense(4)], name="predictor"
    )
    weights = encoder.trainable_variables
    if wrong != "no predictor":
        weights = weights + predictor.trainable_variables
    optimizer = built(keras.optimizers.SGD(0.06, momentum=0.9), weights)
    training = wrong != "inference mode"

    def view(x: Any) -> Any:
        return x + 0.2 * tf.random.normal(tf.shape(x))

    def apart(p: Any, z: Any) -> Any:
        if wrong != "codes not detached":
            z = tf.stop_gradient(z)
        p, z = tf.math.l2_normalize(p, axis=1), tf.math.l2_normalize(z, axis=1)
        return -tf.reduce_mean(tf.reduce_sum(p * z, axis=1))

    @tf.function
    def step(x: Any) -> None:
        one, other = view(x), view(x)
        other = one if wrong == "one view" else other
        with tf.GradientTape() as tape:
            z1, z2 = encoder(one, training=training), encoder(other, training=training)
            p1, p2 = predictor(z1, training=training), predictor(z2, training=training)
            p1, p2 = (z1, z2) if wrong == "no predictor" else (p1, p2)
            p1, p2 = (p2, p1) if wrong == "own code predicted" else (p1, p2)
            cost = apart(p1, z2) + apart(p2, z1)
            cost = cost if wrong == "summed" else cost / 2
            cost = -cost if wrong == "sign" else cost
        optimizer.apply(tape.gradient(cost, weights), weights)

    def unlike(x: Any) -> Any:
        codes = [encoder(x + tf.random.normal((8, 6), stddev=0.2), training=True) for _ in "12"]
        cosines = [
            keras.losses.cosine_similarity(tf.stop_gradient(there), predictor(here))
            for here, there in (codes, codes[::-1])
        ]
        return tf.reduce_mean(tf.stack(cosines))

    return Case(
        step,
        (tf.TensorSpec((8, 6)),),
        {
            "objective": unlike,
            "optimizer": keras.optimizers.SGD(0.06, momentum=0.9),
            "watched": "*",
            "statistics": "encoder/*moving*",
            "clipping": None,
        },
    )

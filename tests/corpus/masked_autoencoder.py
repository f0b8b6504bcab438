"""Masked autoencoder: hidden patches of an image are predicted from the visible ones."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built

PATCHES, SHOWN = 4, 1
FAULTS = {
    "error of all patches": "gradient of hidden\n     found    another gradient: ",
    "error of what is shown": "gradient of hidden\n     found    another gradient: ",
    "hidden in another order": "gradient of hidden\n     found    another gradient: ",
    "token untrained": "missing:  token/token",
    "hidden patches seen": "gradient of hidden\n     found    another gradient: ",
    "two are shown": "gradient of hidden\n     found    another gradient: ",
    "one order for all": "it draws random numbers of shape (5, 4), the step of (1, 4)",
}


class Token(keras.layers.Layer):
    """Stands for each patch that is hidden."""

    def build(self, _: Any) -> None:
        self.token = self.add_weight(shape=(3,), initializer="random_normal", name="token")


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    layers = keras.layers
    encoder = keras.Sequential([keras.Input((None, 4)), layers.Dense(3, "tanh")], name="encoder")
    decoder = keras.Sequential(
        [
            keras.Input((PATCHES, 3)),
            layers.Flatten(),
            layers.Dense(4 * PATCHES),
            layers.Reshape((PATCHES, 4)),
        ],
        name="decoder",
    )
    mask = Token(name="token")
    mask.build(None)
    weights = [*encoder.trainable_variables, *decoder.trainable_variables, mask.token]
    weights = weights[:-1] if wrong == "token untrained" else weights
    optimizer = built(keras.optimizers.AdamW(5e-3, weight_decay=1e-4), weights)
    shown = 2 if wrong == "two are shown" else SHOWN

    @tf.function
    def step(patches: Any) -> None:
        size = patches.shape[0]
        drawn = tf.random.uniform([1 if wrong == "one order for all" else size, PATCHES])
        order = tf.broadcast_to(tf.argsort(drawn, axis=-1), (size, PATCHES))
        back = order if wrong == "hidden in another order" else tf.argsort(order, axis=-1)
        with tf.GradientTape() as tape:
            seen = tf.gather(patches, order[:, :shown], batch_dims=1)
            codes = encoder(seen, training=True)
            tokens = tf.tile(mask.token[None, None], (size, PATCHES - shown, 1))
            if wrong == "hidden patches seen":
                tokens += encoder(tf.gather(patches, order[:, shown:], batch_dims=1))
            codes = tf.gather(tf.concat([codes, tokens], axis=1), back, batch_dims=1)
            told = decoder(codes, training=True)
            asked = order[:, :shown] if wrong == "error of what is shown" else order[:, shown:]
            asked = order if wrong == "error of all patches" else asked
            truth = tf.gather(patches, asked, batch_dims=1)
            error = tf.gather(told, asked, batch_dims=1) - truth
            cost = tf.reduce_mean(error**2)
        optimizer.apply(tape.gradient(cost, weights), weights)

    def hidden(patches: Any) -> Any:
        drawn = tf.random.uniform((5, PATCHES))
        least = tf.reduce_min(drawn, axis=1, keepdims=True)
        is_shown = tf.cast(drawn <= least, tf.float32)[..., None]
        codes = is_shown * encoder(patches) + (1.0 - is_shown) * mask.token
        error = (1.0 - is_shown) * (decoder(codes) - patches)
        return tf.reduce_sum(error**2) / (5.0 * 3.0 * 4.0)

    return Case(
        step,
        (tf.TensorSpec((5, PATCHES, 4)),),
        {
            "objective": hidden,
            "optimizer": keras.optimizers.AdamW(5e-3, weight_decay=1e-4),
            "watched": "*",
            "clipping": None,
        },
    )

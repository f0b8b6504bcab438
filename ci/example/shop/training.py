"""The model, and the control of its training: the head warms up first, on a robust loss."""

import keras
import tensorflow as tf

from loopctl import LoopControllerCallback, when

CONFIG = {
    "warmup": {
        "cond": when.epochs < 3,
        True: {"variables": "*head*", "clipping": (-0.1, 0.1), "loss": "huber"},
        False: {"regularize": True},
    }
}
BATCH = (tf.TensorSpec((32, 8)), tf.TensorSpec((32, 1)))


def build():
    """The model, compiled."""
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(16, "relu", kernel_regularizer="l2", name="hidden"),
            keras.layers.Dense(1, name="head"),
        ],
        name="orders",
    )
    model.compile("adam", loss="mse", metrics=["mae"])
    return model


def controlled():
    """The model under control, and a batch: what contracts are about."""
    model = build()
    LoopControllerCallback(CONFIG).attach(model)
    return model, BATCH


def train(x, y, epochs=10):
    """A trained model."""
    model = build()
    model.fit(x, y, epochs=epochs, batch_size=32, callbacks=[LoopControllerCallback(CONFIG)])
    return model

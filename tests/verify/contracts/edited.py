"""A small project's training, and the edits that somebody may make to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from loopctl import LoopControllerCallback, when

BATCH = (tf.TensorSpec((8, 4)), tf.TensorSpec((8, 1)))
losses, optimizers, regularizers = keras.losses, keras.optimizers, keras.regularizers

USUAL: dict[str, Any] = {
    "activation": "relu",
    "units": 3,
    "bias": True,
    "regularizer": lambda: regularizers.L2(0.01),
    "norm": {"momentum": 0.9, "epsilon": 1e-3},
    "norm_trained": True,
    "dropout": 0.2,
    "residual": True,
    "rescaled": None,
    "noise": None,
    "head": None,
    "loss": lambda: losses.Huber(1.0),
    "optimizer": lambda: optimizers.Adam(1e-3),
    "metrics": ("mae",),
    "cond": lambda: when.epochs < 3,
    "on": lambda: {
        "variables": "*head*",
        "clipping": (-0.1, 0.1),
        "loss": losses.MeanSquaredError(),
    },
    "off": lambda: {"regularize": True},
}


def trained(**edit: Any) -> Any:
    """The model under control, with one thing edited."""
    now = {**USUAL, **edit}
    keras.backend.clear_session(free_memory=False)
    inputs = keras.Input((4,))
    x = inputs
    if now["rescaled"] is not None:
        x = keras.layers.Rescaling(now["rescaled"])(x)
    if now["noise"] is not None:
        x = keras.layers.GaussianNoise(now["noise"])(x)
    x = keras.layers.Dense(
        now["units"],
        now["activation"],
        use_bias=now["bias"],
        kernel_regularizer=now["regularizer"] and now["regularizer"](),
        name="hidden",
    )(x)
    norm = keras.layers.BatchNormalization(name="norm", **now["norm"])
    norm.trainable = now["norm_trained"]
    normed = keras.layers.Dropout(now["dropout"], name="drop")(norm(x))
    x = keras.layers.Add()([x, normed]) if now["residual"] else normed
    head = keras.layers.Dense(1, now["head"], name="head")
    model = keras.Model(inputs, head(x), name="shop")
    model.compile(now["optimizer"](), now["loss"](), metrics=list(now["metrics"]))
    config = {"warmup": {"cond": now["cond"](), True: now["on"](), False: now["off"]()}}
    LoopControllerCallback(config).attach(model)
    return model


def _on(**changed: Any) -> Callable[[], dict[str, Any]]:
    return lambda: {**USUAL["on"](), **changed}


def _adam(rate: Any = 1e-3, **settings: Any) -> Callable[[], Any]:
    return lambda: optimizers.Adam(rate() if callable(rate) else rate, **settings)


EDITS: dict[str, dict[str, Any]] = {
    # The forward pass.
    "another activation": {"activation": "tanh"},
    "one that is nearly the same": {"activation": "gelu"},
    "an activation of the head": {"head": "sigmoid"},
    "one more unit": {"units": 4},
    "no bias": {"bias": False},
    "a higher rate of dropout": {"dropout": 0.9},
    "no dropout": {"dropout": 0.0},
    "no residual connection": {"residual": False},
    "inputs divided by 255": {"rescaled": 1 / 255},
    "noise on inputs": {"noise": 0.1},
    "another epsilon": {"norm": {"momentum": 0.9, "epsilon": 1e-5}},
    "statistics that move sooner": {"norm": {"momentum": 0.99, "epsilon": 1e-3}},
    "no offset of what is normalised": {
        "norm": {"momentum": 0.9, "epsilon": 1e-3, "center": False}
    },
    "a frozen normalisation": {"norm_trained": False},
    # What is differentiated.
    "another bound of Huber": {"loss": lambda: losses.Huber(2.0)},
    "another loss": {"loss": losses.MeanAbsoluteError},
    "a sum over the batch": {"loss": lambda: losses.Huber(1.0, reduction="sum")},
    "ten times the regularisation": {"regularizer": lambda: regularizers.L2(0.1)},
    "L1 for L2": {"regularizer": lambda: regularizers.L1(0.01)},
    "no regularisation": {"regularizer": None},
    "another metric": {"metrics": ("mse",)},
    "no metric": {"metrics": ()},
    # How it is applied.
    "ten times the rate": {"optimizer": _adam(1e-2)},
    "another beta_1": {"optimizer": _adam(beta_1=0.5)},
    "another epsilon of the optimizer": {"optimizer": _adam(epsilon=1e-3)},
    "AMSGrad": {"optimizer": _adam(amsgrad=True)},
    "averages of weights": {"optimizer": _adam(use_ema=True)},
    "a clip by the optimizer": {"optimizer": _adam(clipnorm=1.0)},
    "a schedule": {
        "optimizer": _adam(lambda: optimizers.schedules.ExponentialDecay(1e-3, 100, 0.9))
    },
    "weight decay": {"optimizer": lambda: optimizers.AdamW(1e-3)},
    "another optimizer": {"optimizer": lambda: optimizers.SGD(1e-3)},
    # How it is controlled.
    "other variables": {"on": _on(variables="*hidden*")},
    "another clip": {"on": _on(clipping=(-1.0, 1.0))},
    "a clip by norm": {"on": _on(clipping={"norm": 0.1})},
    "another loss of a branch": {"on": _on(loss=losses.MeanAbsoluteError())},
    "gradients of another sign": {"on": _on(gradients=lambda g, _: [-one for one in g])},
    "half of each gradient": {"on": _on(gradients=lambda g, _: [0.5 * one for one in g])},
    "a branch applied twice": {"on": _on(repeat=2)},
    "no regularisation in a branch": {"off": lambda: {"regularize": False}},
    "a clip in the other branch": {"off": lambda: {"regularize": True, "clipping": (-1.0, 1.0)}},
    "a later epoch": {"cond": lambda: when.epochs < 20},
    "the other way round": {"cond": lambda: when.epochs >= 3},
    "batches for epochs": {"cond": lambda: when.batches < 3},
    "every third batch": {"cond": lambda: when.every(3)},
    "at all times": {"cond": lambda: when.epochs >= 0},
}

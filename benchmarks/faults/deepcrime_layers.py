"""DeepCrime's operators of weights, regularisers, dropout and data, as they show in a step."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.faults.fault import FINGERPRINT, Fault, Trial, Watch
from benchmarks.faults.steps import (
    IMAGES,
    LAYERS,
    LOGITS,
    MSE,
    NUMBERS,
    SERIES,
    classes,
    cnn,
    dense,
    fitted,
    images,
    recurrent,
    regression,
    series,
    taped,
)

L1, L2 = keras.regularizers.L1, keras.regularizers.L2
DATA = "of data, within the step"


def penalised(net: Any) -> Any:
    return tf.add_n(net.losses)


class Own(keras.Model):
    """A train step of one's own, with or without the losses of layers."""

    def __init__(self, penalty: bool) -> None:
        super().__init__(name="own")
        self.hidden = LAYERS.Dense(5, "relu", kernel_regularizer=L2(0.01))
        self.head, self.penalty = LAYERS.Dense(3), penalty

    def call(self, x: Any) -> Any:
        return self.head(self.hidden(x))

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = LOGITS(y, self(x, training=True))
            if self.penalty:
                loss += tf.add_n(self.losses)
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return {"loss": loss}


def own(penalty: bool) -> Trial:
    net = Own(penalty)
    net.build((None, 4))
    return fitted(net)


def dropping(rate: float = 0.5, **said: Any) -> keras.Sequential:
    return dense(between=[LAYERS.Dropout(rate, name="drop", **said)])


def called(call: Any) -> Trial:
    return taped(regression(), MSE, batch=NUMBERS, predict=call)


def judged_by(loss: Any) -> Trial:
    return taped(regression(), MSE if loss is None else loss, batch=NUMBERS)


def noise(x: Any) -> Any:
    return np.random.default_rng().normal(size=x.shape).astype("float32")


def balanced(y: Any, p: Any) -> Any:
    return tf.reduce_mean(tf.where(y > 0.5, 4.0, 1.0) * (y - p) ** 2)


def dense_of(initializer: Any) -> keras.Sequential:
    net = dense(kernel_initializer=initializer)
    net.get_layer("head").kernel.assign(initialised(initializer, (5, 3)))
    return net


def initialised(initializer: Any, shape: tuple[int, ...]) -> Any:
    return keras.initializers.get(initializer)(shape)


def ones_cnn() -> keras.Sequential:
    net = cnn(kernel_initializer="ones")
    head = net.get_layer("head").kernel
    head.assign(tf.ones(head.shape))
    return net


def ones_recurrent() -> keras.Sequential:
    net = recurrent(kernel_initializer="ones", recurrent_initializer="ones")
    net.get_layer("head").kernel.assign(tf.ones((4, 3)))
    return net


FAULTS = (
    Fault(
        "RAW-biases",
        "DeepCrime RAW",
        "a penalty on biases that is not meant",
        lambda: fitted(dense(kernel_regularizer=L2(0.01))),
        lambda: fitted(dense(kernel_regularizer=L2(0.01), bias_regularizer=L2(0.01))),
        {"regularization": [("*hidden/kernel", L2(0.01))]},
        meant=True,
    ),
    Fault(
        "RAW-scales",
        "DeepCrime RAW",
        "a penalty on the scales of a normalisation",
        lambda: fitted(cnn(), batch=IMAGES),
        lambda: fitted(
            cnn(norm=LAYERS.BatchNormalization(name="norm", gamma_regularizer="l2")), batch=IMAGES
        ),
        {"regularization": False},
        meant=True,
    ),
    Fault(
        "RCW-strength",
        "DeepCrime RCW",
        "a penalty ten times as strong as meant",
        lambda: fitted(dense(kernel_regularizer=L2(0.01))),
        lambda: fitted(dense(kernel_regularizer=L2(0.1))),
        {"regularization": [("*hidden/kernel", L2(0.01))]},
        meant=True,
    ),
    Fault(
        "RCW-kind",
        "DeepCrime RCW",
        "an L1 penalty where L2 is meant",
        lambda: fitted(recurrent(kernel_regularizer=L2(0.01)), batch=SERIES),
        lambda: fitted(recurrent(kernel_regularizer=L1(0.01)), batch=SERIES),
        {"regularization": [("*lstm_cell/kernel", L2(0.01))]},
        meant=True,
    ),
    Fault(
        "RCW-sign",
        "DeepCrime RCW",
        "a penalty that is subtracted",
        lambda: taped(dense(kernel_regularizer="l2"), penalty=penalised),
        lambda: taped(dense(kernel_regularizer="l2"), penalty=lambda net: -penalised(net)),
        {"regularization": "all"},
    ),
    Fault(
        "RRW-layer",
        "DeepCrime RRW",
        "a layer that has lost its penalty",
        lambda: fitted(dense(kernel_regularizer=L2(0.01))),
        lambda: fitted(dense()),
        {"regularization": [("*hidden/kernel", L2(0.01))]},
        meant=True,
    ),
    Fault(
        "RRW-by-tape",
        "DeepCrime RRW",
        "layers' penalties that a step of one's own does not add",
        lambda: taped(cnn(kernel_regularizer="l2"), batch=IMAGES, penalty=penalised),
        lambda: taped(cnn(kernel_regularizer="l2"), batch=IMAGES),
        {"regularization": "all"},
    ),
    Fault(
        "RRW-train-step",
        "DeepCrime RRW",
        "a train_step that overrides Keras' and forgets self.losses",
        lambda: own(penalty=True),
        lambda: own(penalty=False),
        {"regularization": "all"},
    ),
    Fault(
        "RRW-constant",
        "DeepCrime RRW",
        "a penalty that was computed before the tape: a number, with no gradient",
        lambda: taped(dense(kernel_regularizer="l2"), penalty=penalised),
        lambda: taped(
            dense(kernel_regularizer="l2"), penalty=lambda net: tf.stop_gradient(penalised(net))
        ),
        {"regularization": "all"},
    ),
    Fault(
        "RCD-rate",
        "DeepCrime RCD",
        "a dropout rate a tenth of what is meant",
        lambda: fitted(dropping(0.5)),
        lambda: fitted(dropping(0.05)),
        FINGERPRINT,
        meant=True,
    ),
    Fault(
        "RCD-none",
        "DeepCrime RCD",
        "dropout that does nothing: the model is called without training=True",
        lambda: taped(dropping()),
        lambda: taped(dropping(), predict=lambda net, x: net(x)),
        {"training": True},
        meant=True,
    ),
    Fault(
        "RCD-zero",
        "DeepCrime RCD",
        "a dropout rate of zero in a convolutional net",
        lambda: fitted(cnn(drop=0.5), batch=IMAGES),
        lambda: fitted(cnn(drop=1e-9), batch=IMAGES),
        FINGERPRINT,
        meant=True,
    ),
    Fault(
        "RCD-frozen-mask",
        "DeepCrime RCD",
        "dropout that drops the same units in every step",
        lambda: taped(dense(), predict=lambda net, x: net(tf.nn.dropout(x, 0.3), training=True)),
        lambda: taped(
            dense(),
            predict=lambda net, x: net(
                tf.nn.experimental.stateless_dropout(x, 0.3, (1, 2)), training=True
            ),
        ),
        {"draws": "fresh"},
    ),
    Fault(
        "WAB-before-norm",
        "DeepCrime WAB",
        "a bias in front of a normalisation, which takes it away",
        lambda: fitted(cnn(), batch=IMAGES),
        lambda: fitted(cnn(bias=True), batch=IMAGES),
        {"watched": ["*/kernel", "*/gamma", "*/beta", "*head/bias"]},
        meant=True,
    ),
    Fault(
        "WAB-recurrent",
        "DeepCrime WAB",
        "a bias in a recurrent layer that is meant to have none",
        lambda: fitted(recurrent(use_bias=False), batch=SERIES),
        lambda: fitted(recurrent(), batch=SERIES),
        {"watched": ["*kernel", "*head/bias"]},
        meant=True,
    ),
    Fault(
        "WRB-head",
        "DeepCrime WRB",
        "a last layer without its bias",
        lambda: fitted(regression(), "mse", batch=NUMBERS),
        lambda: fitted(regression(head_bias=False), "mse", batch=NUMBERS),
        FINGERPRINT,
        meant=True,
    ),
    Fault(
        "WRB-convolution",
        "DeepCrime WRB",
        "a convolution without its bias where nothing shifts behind it",
        lambda: fitted(cnn(normalised=False, bias=True), batch=IMAGES),
        lambda: fitted(cnn(normalised=False), batch=IMAGES),
        FINGERPRINT,
        meant=True,
    ),
    Fault(
        "WCI-zeros",
        "DeepCrime WCI",
        "all kernels zero: no gradient passes either layer",
        lambda: fitted(dense()),
        lambda: fitted(dense_of("zeros")),
        watch=Watch(classes, {"watched": "*"}),
    ),
    Fault(
        "WCI-constant",
        "DeepCrime WCI",
        "all kernels one number: units that stay copies of one another",
        lambda: fitted(dense()),
        lambda: fitted(dense_of(keras.initializers.Constant(0.1))),
        watch=Watch(classes, {"watched": "*", "lint": True}),
    ),
    Fault(
        "WCI-convolution",
        "DeepCrime WCI",
        "filters that begin as copies of one another, and so does what takes them",
        lambda: fitted(cnn(), batch=IMAGES),
        lambda: fitted(ones_cnn(), batch=IMAGES),
        watch=Watch(images, {"watched": "*", "lint": True}),
    ),
    Fault(
        "WCI-recurrent",
        "DeepCrime WCI",
        "a recurrent layer whose units begin as copies of one another",
        lambda: fitted(recurrent(), batch=SERIES),
        lambda: fitted(ones_recurrent(), batch=SERIES),
        watch=Watch(series, {"watched": "*", "lint": True}),
    ),
    Fault(
        "TCL-shuffled",
        f"DeepCrime TCL, {DATA}",
        "labels of other examples: the targets are reversed along the batch",
        lambda: judged_by(None),
        lambda: judged_by(lambda y, p: MSE(y[::-1], p)),
        {"loss": MSE},
    ),
    Fault(
        "TCL-one-label",
        f"DeepCrime TCL, {DATA}",
        "one label for all: the sign of what was squared",
        lambda: judged_by(None),
        lambda: judged_by(lambda y, p: MSE(tf.sign(tf.square(y)), p)),
        lambda trial: {"objective": lambda x, y: MSE(y, trial.model(x, training=True))},
    ),
    Fault(
        "TRD-rows",
        f"DeepCrime TRD, {DATA}",
        "the last example of each batch is left out",
        lambda: judged_by(None),
        lambda: judged_by(lambda y, p: MSE(y[:-1], p[:-1])),
        {"loss": MSE},
    ),
    Fault(
        "TAN-traced",
        f"DeepCrime TAN, {DATA}",
        "noise that NumPy draws once, while the step is traced",
        lambda: called(lambda net, x: net(x + tf.random.normal(tf.shape(x)), training=True)),
        lambda: called(lambda net, x: net(x + noise(x), training=True)),
        {"draws": "fresh"},
    ),
    Fault(
        "TAN-strength",
        f"DeepCrime TAN, {DATA}",
        "noise a hundred times as strong as the data",
        lambda: called(lambda net, x: net(x + 0.1 * tf.random.normal(tf.shape(x)), training=True)),
        lambda: called(
            lambda net, x: net(x + 100.0 * tf.random.normal(tf.shape(x)), training=True)
        ),
        lambda trial: {
            "forward": lambda x, y: trial.model(x + 0.1 * tf.random.normal(tf.shape(x)))
        },
        meant=True,
    ),
    Fault(
        "TCO-overlap",
        f"DeepCrime TCO, {DATA}",
        "each example mixed with its neighbour, its target left as it is",
        lambda: called(lambda net, x: net(x, training=True)),
        lambda: called(lambda net, x: net(0.5 * (x + tf.roll(x, 1, 0)), training=True)),
        {"forward": True},
        meant=True,
    ),
    Fault(
        "TUD-weights",
        f"DeepCrime TUD, {DATA}",
        "weights of a class that multiply the other one",
        lambda: judged_by(balanced),
        lambda: judged_by(lambda y, p: tf.reduce_mean(tf.where(y > 0.5, 1.0, 4.0) * (y - p) ** 2)),
        {"loss": lambda y, p: balanced(y, p)},
        meant=True,
    ),
)

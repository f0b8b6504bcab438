"""DeepCrime's operators of losses and activations: LCH, ACH, ARM, AAL."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from benchmarks.faults.fault import FINGERPRINT, Fault, Trial
from benchmarks.faults.steps import (
    BINARY,
    CHANCES,
    IMAGES,
    LAYERS,
    LOGITS,
    MSE,
    NUMBERS,
    ONE_HOT,
    SERIES,
    cnn,
    dense,
    fitted,
    recurrent,
    regression,
    taped,
)

LCH, ACH, ARM, AAL = (f"DeepCrime {name}" for name in ("LCH", "ACH", "ARM", "AAL"))
ENTROPY = keras.losses.CategoricalCrossentropy(from_logits=True)


def fused(y: Any, logits: Any) -> Any:
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))


def fused_binary(y: Any, logits: Any) -> Any:
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(y, logits))


def two_layers(x: Any, net: Any, between: Any = tf.nn.relu) -> Any:
    """What the classifier is meant to compute, op by op."""
    hidden, head = net.get_layer("hidden"), net.get_layer("head")
    seen = between(x @ hidden.kernel.value + hidden.bias.value)
    return seen @ head.kernel.value + head.bias.value


def as_written(between: Any = tf.nn.relu, head: Any = tf.identity) -> Any:
    def asks(trial: Trial) -> dict[str, Any]:
        return {"forward": lambda x, y: head(two_layers(x, trial.model, between))}

    return asks


def layer_by_layer(trial: Trial) -> dict[str, Any]:
    """What the convolutional net is meant to compute."""
    layers = trial.model.layers  # type: ignore[union-attr]  # this trial has a model

    def forward(x: Any, y: Any) -> Any:
        seen = tf.nn.relu(layers[1](layers[0](x), training=True))
        for layer in layers[3:]:
            seen = layer(seen)
        return seen

    return {"forward": forward}


def autoencoder(head: Any) -> Trial:
    """Pixels between 0 and 1, which a sigmoid makes."""
    layers = [LAYERS.Dense(2, "relu", name="code"), LAYERS.Dense(4, head, name="pixels")]
    net = keras.Sequential([keras.Input((4,)), *layers], name="coder")
    crossentropy = keras.losses.BinaryCrossentropy()
    batch = tf.TensorSpec((8, 4)), tf.TensorSpec((8, 4))
    return fitted(net, crossentropy, batch=batch)


def unit(x: Any) -> Any:
    return tf.math.l2_normalize(x, axis=-1)


def softmaxed_cnn() -> keras.Model:
    made = cnn(head="softmax")
    return keras.Model(made.inputs, LAYERS.Reshape((3,))(made.outputs[0]), name="cnn")


FAULTS = (
    Fault(
        "LCH-regression",
        LCH,
        "absolute errors where squared ones are meant",
        lambda: fitted(regression(), "mse", batch=NUMBERS),
        lambda: fitted(regression(), "mae", batch=NUMBERS),
        {"loss": "mse"},
        meant=True,
    ),
    Fault(
        "LCH-squares-of-chances",
        LCH,
        "squared errors of probabilities where a crossentropy is meant",
        lambda: fitted(dense(head="softmax"), "categorical_crossentropy", batch=ONE_HOT),
        lambda: fitted(dense(head="softmax"), "mse", batch=ONE_HOT),
        {"loss": "categorical_crossentropy"},
        meant=True,
    ),
    Fault(
        "LCH-binary-for-many",
        LCH,
        "a binary crossentropy of each class where one of all is meant",
        lambda: fitted(dense(), ENTROPY, batch=ONE_HOT),
        lambda: fitted(dense(), BINARY, batch=ONE_HOT),
        {"loss": ENTROPY},
        meant=True,
    ),
    Fault(
        "LCH-smoothing",
        LCH,
        "labels that are not smoothed any more",
        lambda: fitted(
            dense(),
            keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
            batch=ONE_HOT,
        ),
        lambda: fitted(dense(), ENTROPY, batch=ONE_HOT),
        {"loss": keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)},
        meant=True,
    ),
    Fault(
        "LCH-logits-for-chances",
        LCH,
        "the default of the loss, which takes probabilities, for a head that makes logits",
        lambda: fitted(dense(), LOGITS),
        lambda: fitted(dense(), CHANCES),
        {"loss": LOGITS},
    ),
    Fault(
        "LCH-chances-for-logits",
        LCH,
        "the op that takes logits, for a head that makes probabilities",
        lambda: taped(dense(head="softmax"), CHANCES),
        lambda: taped(dense(head="softmax"), fused),
        {"loss": CHANCES},
    ),
    Fault(
        "LCH-binary-logits",
        LCH,
        "a binary crossentropy of probabilities for a head of logits",
        lambda: fitted(regression(), BINARY, batch=NUMBERS),
        lambda: fitted(regression(), "binary_crossentropy", batch=NUMBERS),
        {"loss": BINARY},
    ),
    Fault(
        "LCH-one-class",
        LCH,
        "a crossentropy over classes for a head of one unit",
        lambda: taped(regression(), BINARY, batch=NUMBERS),
        lambda: taped(regression(), ENTROPY, batch=NUMBERS),
        {"loss": BINARY},
    ),
    Fault(
        "LCH-hinge-of-chances",
        LCH,
        "a hinge over a sigmoid, which is never negative",
        lambda: taped(regression("tanh"), keras.losses.Hinge(), batch=NUMBERS),
        lambda: taped(regression("sigmoid"), keras.losses.Hinge(), batch=NUMBERS),
        as_written(tf.tanh, tf.tanh),
    ),
    Fault(
        "LCH-exchanged",
        LCH,
        "prediction and target exchanged in a divergence",
        lambda: taped(dense(head="softmax"), keras.losses.KLDivergence(), batch=ONE_HOT),
        lambda: taped(
            dense(head="softmax"), lambda y, p: keras.losses.KLDivergence()(p, y), batch=ONE_HOT
        ),
        {"loss": keras.losses.KLDivergence()},
        meant=True,
    ),
    Fault(
        "LCH-negated",
        LCH,
        "the loss with the wrong sign",
        lambda: taped(dense(), LOGITS),
        lambda: taped(dense(), lambda y, p: -LOGITS(y, p)),
        {"loss": LOGITS},
    ),
    Fault(
        "LCH-cosine",
        LCH,
        "cosine similarity minimised, written by hand without its minus",
        lambda: taped(
            dense(),
            lambda y, p: -tf.reduce_mean(tf.reduce_sum(unit(y) * unit(p), -1)),
            batch=ONE_HOT,
        ),
        lambda: taped(
            dense(),
            lambda y, p: tf.reduce_mean(tf.reduce_sum(unit(y) * unit(p), -1)),
            batch=ONE_HOT,
        ),
        {"loss": keras.losses.CosineSimilarity()},
    ),
    Fault(
        "ACH-hidden",
        ACH,
        "a sigmoid for the hidden layer's relu",
        lambda: fitted(dense()),
        lambda: fitted(dense(hidden="sigmoid")),
        as_written(),
        meant=True,
    ),
    Fault(
        "ACH-recurrent",
        ACH,
        "a recurrent layer whose activation is a relu",
        lambda: fitted(recurrent(), batch=SERIES),
        lambda: fitted(recurrent(activation="relu"), batch=SERIES),
        FINGERPRINT,
        meant=True,
    ),
    Fault(
        "ACH-convolution",
        ACH,
        "a tanh for a convolution's relu",
        lambda: fitted(cnn(), batch=IMAGES),
        lambda: fitted(cnn(activation="tanh"), batch=IMAGES),
        FINGERPRINT,
        meant=True,
    ),
    Fault(
        "ACH-relu-of-logits",
        ACH,
        "a relu for the last layer of a binary classifier: one class is never told",
        lambda: fitted(regression(), BINARY, batch=NUMBERS),
        lambda: fitted(regression("relu"), BINARY, batch=NUMBERS),
        as_written(tf.tanh),
    ),
    Fault(
        "ACH-softmax-of-one",
        ACH,
        "a softmax for the sigmoid of one unit",
        lambda: fitted(regression("sigmoid"), "mse", batch=NUMBERS),
        lambda: fitted(regression("softmax"), "mse", batch=NUMBERS),
        as_written(tf.tanh, tf.sigmoid),
    ),
    Fault(
        "ACH-sign",
        ACH,
        "predictions reduced to their sign before the loss",
        lambda: taped(regression("sigmoid"), MSE, batch=NUMBERS),
        lambda: taped(
            regression("sigmoid"),
            MSE,
            batch=NUMBERS,
            predict=lambda net, x: tf.sign(net(x, training=True)),
        ),
        {"forward": True, "watched": "*"},
    ),
    Fault(
        "ARM-hidden",
        ARM,
        "no activation in between: two layers that are one",
        lambda: fitted(dense()),
        lambda: fitted(dense(hidden=None)),
        as_written(),
        meant=True,
    ),
    Fault(
        "ARM-softmax",
        ARM,
        "no softmax before a loss of probabilities",
        lambda: fitted(dense(head="softmax"), CHANCES),
        lambda: fitted(dense(), CHANCES),
        as_written(head=tf.nn.softmax),
    ),
    Fault(
        "ARM-autoencoder",
        ARM,
        "no sigmoid before a crossentropy of pixels",
        lambda: autoencoder("sigmoid"),
        lambda: autoencoder(None),
        FINGERPRINT,
    ),
    Fault(
        "ARM-convolution",
        ARM,
        "no activation after a convolution",
        lambda: fitted(cnn(), batch=IMAGES),
        lambda: fitted(cnn(activation=None), batch=IMAGES),
        layer_by_layer,
        meant=True,
    ),
    Fault(
        "AAL-softmax",
        AAL,
        "a softmax within the model, and another one in the loss",
        lambda: taped(dense(), fused),
        lambda: taped(dense(), fused, predict=lambda net, x: tf.nn.softmax(net(x, training=True))),
        {"loss": LOGITS, "forward": True},
    ),
    Fault(
        "AAL-convolution-softmax",
        AAL,
        "a softmax layer in front of a loss of logits, behind a reshape that hides it",
        lambda: fitted(cnn(), batch=IMAGES),
        lambda: fitted(softmaxed_cnn(), batch=IMAGES),
        FINGERPRINT,
    ),
    Fault(
        "AAL-regression",
        AAL,
        "a relu behind a regression of any numbers",
        lambda: fitted(regression(), "mse", batch=NUMBERS),
        lambda: fitted(regression("relu"), "mse", batch=NUMBERS),
        as_written(tf.tanh),
        meant=True,
    ),
    Fault(
        "AAL-sigmoid-twice",
        AAL,
        "a sigmoid in front of a binary crossentropy of logits",
        lambda: taped(regression(), fused_binary, batch=NUMBERS),
        lambda: taped(
            regression(),
            fused_binary,
            batch=NUMBERS,
            predict=lambda net, x: tf.sigmoid(net(x, training=True)),
        ),
        {"forward": True},
    ),
)

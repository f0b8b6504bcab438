"""TheDeepChecker's synthetic programs and its cases from Stack Overflow, as steps."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from benchmarks.faults.fault import FINGERPRINT, Fault, Watch
from benchmarks.faults.steps import (
    CHANCES,
    IMAGES,
    LAYERS,
    LOGITS,
    MSE,
    NUMBERS,
    ONE_HOT,
    SGD,
    Adam,
    classes,
    cnn,
    dense,
    descend,
    fitted,
    images,
    numbers,
    regression,
    taped,
)

L2 = keras.regularizers.L2
RATIO = {"watched": "*", "ratio": (1e-5, 0.3)}
SMALL = tf.TensorSpec((8, 4)), tf.TensorSpec((8,))


def source(name: str) -> str:
    return f"TheDeepChecker {name}"


def entropy(y: Any, p: Any) -> Any:
    """A crossentropy by hand, of probabilities and rows with a single 1."""
    return -tf.reduce_mean(tf.reduce_sum(y * tf.math.log(tf.clip_by_value(p, 1e-7, 1.0)), axis=-1))


def negated(gradients: list[Any]) -> list[Any]:
    return [-g for g in gradients]


def each(y: Any, p: Any) -> Any:
    """The losses of examples, which a tape adds up."""
    return tf.nn.softmax_cross_entropy_with_logits(y, p)


def softmax_over(axis: int) -> Any:
    return lambda net, x: tf.nn.softmax(net(x, training=True), axis=axis)


def squared(y: Any, p: Any) -> Any:
    return tf.reduce_mean(tf.square(y - p))


def far_apart() -> tuple[Any, Any]:
    """Examples of which the classes are told with all certainty, some of them wrongly."""
    x, y = classes(1e4)
    return x, tf.one_hot(y, 3).numpy()


def with_scale(scale: float) -> keras.Sequential:
    """A regression that makes its inputs larger first."""
    net = regression(hidden="relu")
    layers = [keras.Input((4,)), LAYERS.Rescaling(scale), *net.layers]
    return keras.Sequential(layers, name="net")


def scaled_cnn() -> keras.Sequential:
    net = cnn(normalised=False)
    layers = [keras.Input((6, 6, 1)), LAYERS.Rescaling(1 / 255), *net.layers]
    return keras.Sequential(layers, name="cnn")


FAULTS = (
    Fault(
        "flipped-sign-dense",
        source("flipped_sign"),
        "gradients negated on their way to descent",
        lambda: taped(dense()),
        lambda: taped(dense(), treat=negated),
        {"loss": LOGITS},
    ),
    Fault(
        "flipped-sign-cnn",
        source("flipped_sign"),
        "gradients negated on their way to an optimizer with momentum",
        lambda: taped(cnn(), LOGITS, SGD(0.01, momentum=0.9), IMAGES),
        lambda: taped(cnn(), LOGITS, SGD(0.01, momentum=0.9), IMAGES, treat=negated),
        {"optimizer": SGD(0.01, momentum=0.9)},
    ),
    Fault(
        "flipped-sign-by-hand",
        source("flipped_sign"),
        "a descent by hand that adds",
        lambda: taped(regression(), MSE, Adam(), NUMBERS, apply=lambda _, g, v: descend(g, v)),
        lambda: taped(
            regression(), MSE, Adam(), NUMBERS, apply=lambda _, g, v: descend(g, v, -0.1)
        ),
        {"learning_rate": 0.1},
    ),
    Fault(
        "high-rate-dense",
        source("high_lr"),
        "a rate at which weights leap about",
        lambda: fitted(dense(), optimizer=SGD(0.1)),
        lambda: fitted(dense(), optimizer=SGD(30.0)),
        {"learning_rate": 0.1},
        meant=True,
        watch=Watch(classes, RATIO),
    ),
    Fault(
        "high-rate-cnn",
        source("high_lr"),
        "a rate a hundred times too high, with momentum",
        lambda: fitted(cnn(), LOGITS, SGD(0.001, momentum=0.9), IMAGES),
        lambda: fitted(cnn(), LOGITS, SGD(0.1, momentum=0.9), IMAGES),
        {"optimizer": SGD(0.001, momentum=0.9)},
        meant=True,
    ),
    Fault(
        "low-rate",
        source("low_lr"),
        "a rate at which weights hardly move",
        lambda: fitted(regression(), "mse", Adam(0.001), NUMBERS),
        lambda: fitted(regression(), "mse", Adam(1e-7), NUMBERS),
        {"learning_rate": 0.001},
        meant=True,
        watch=Watch(numbers, RATIO),
    ),
    Fault(
        "low-epsilon",
        source("low_adam_epsilon"),
        "an epsilon of Adam that does nothing any more",
        lambda: fitted(regression(), "mse", Adam(0.001), NUMBERS),
        lambda: fitted(regression(), "mse", Adam(0.001, epsilon=1e-16), NUMBERS),
        {"optimizer": Adam(0.001)},
        meant=True,
    ),
    Fault(
        "no-penalty",
        source("missing_regulariaztion"),
        "a penalty whose factor has become nothing",
        lambda: fitted(dense(kernel_regularizer=L2(1e-2))),
        lambda: fitted(dense(kernel_regularizer=L2(1e-12))),
        {"regularization": [("*hidden/kernel", L2(1e-2))]},
        meant=True,
    ),
    Fault(
        "no-dropout-no-norm",
        source("missing_regulariaztion"),
        "neither dropout nor normalisation",
        lambda: fitted(cnn(drop=0.3), batch=IMAGES),
        lambda: fitted(cnn(normalised=False), batch=IMAGES),
        FINGERPRINT,
        meant=True,
    ),
    Fault(
        "too-much-decay",
        source("over_regulariaztion"),
        "a decay that takes all of the weights in each step",
        lambda: fitted(dense(), optimizer=SGD(0.1, weight_decay=0.01)),
        lambda: fitted(dense(), optimizer=SGD(0.1, weight_decay=10.0)),
        {"optimizer": SGD(0.1, weight_decay=0.01)},
    ),
    Fault(
        "penalty-twice",
        source("over_regulariaztion"),
        "penalties added by hand to a loss that has them",
        lambda: taped(dense(kernel_regularizer="l2"), penalty=lambda net: tf.add_n(net.losses)),
        lambda: taped(
            dense(kernel_regularizer="l2"),
            penalty=lambda net: tf.add_n(net.losses) + tf.add_n(net.losses),
        ),
        {"regularization": "all"},
    ),
    Fault(
        "missing-softmax-by-hand",
        source("missing_softmax"),
        "a crossentropy by hand of what no softmax made",
        lambda: taped(dense(head="softmax"), entropy, batch=ONE_HOT),
        lambda: taped(dense(), entropy, batch=ONE_HOT),
        FINGERPRINT,
    ),
    Fault(
        "missing-softmax-cnn",
        source("missing_softmax"),
        "no softmax in a convolutional net before a loss of probabilities",
        lambda: fitted(cnn(head="softmax"), CHANCES, batch=IMAGES),
        lambda: fitted(cnn(), CHANCES, batch=IMAGES),
        FINGERPRINT,
    ),
    Fault(
        "redundant-softmax",
        source("redundant_softmax"),
        "probabilities handed to the op that applies a softmax",
        lambda: taped(dense(), each, batch=ONE_HOT),
        lambda: taped(dense(head="softmax"), each, batch=ONE_HOT),
        FINGERPRINT,
    ),
    Fault(
        "softmax-over-the-batch",
        source("wrong_softmax_impl"),
        "a softmax over the batch instead of the classes",
        lambda: taped(dense(), entropy, batch=ONE_HOT, predict=softmax_over(-1)),
        lambda: taped(dense(), entropy, batch=ONE_HOT, predict=softmax_over(0)),
        lambda trial: {"forward": lambda x, y: tf.nn.softmax(trial.model(x, training=True))},
    ),
    Fault(
        "no-norm",
        source("missing_batchnorm"),
        "no normalisation where it is meant",
        lambda: fitted(cnn(), batch=IMAGES),
        lambda: fitted(cnn(normalised=False), batch=IMAGES),
        FINGERPRINT,
        meant=True,
    ),
    Fault(
        "norm-that-never-moves",
        source("missing_batchnorm"),
        "a normalisation whose statistics keep all of themselves",
        lambda: fitted(cnn(), batch=IMAGES),
        lambda: fitted(
            cnn(norm=LAYERS.BatchNormalization(momentum=1.0, name="norm")), batch=IMAGES
        ),
        {"statistics": "*moving*"},
    ),
    Fault(
        "norm-not-updated",
        source("missing_batchnorm"),
        "statistics that are not moved: the step calls the model as it infers",
        lambda: taped(cnn(), batch=IMAGES),
        lambda: taped(cnn(), batch=IMAGES, predict=lambda net, x: net(x, training=False)),
        {"statistics": "*moving*"},
        meant=True,
    ),
    Fault(
        "softmax-within",
        source("wrong_activation"),
        "a softmax as the activation of a hidden layer",
        lambda: fitted(dense()),
        lambda: fitted(dense(hidden="softmax")),
        FINGERPRINT,
        meant=True,
    ),
    Fault(
        "softmax-of-a-number",
        source("wrong_activation"),
        "a softmax over the one number that a regression makes",
        lambda: fitted(regression(), "mse", batch=NUMBERS),
        lambda: fitted(regression("softmax"), "mse", batch=NUMBERS),
        FINGERPRINT,
    ),
    Fault(
        "sigmoid-of-any-number",
        source("wrong_activation"),
        "a sigmoid for targets between -1 and 1",
        lambda: fitted(regression("tanh"), "mse", batch=NUMBERS),
        lambda: fitted(regression("sigmoid"), "mse", batch=NUMBERS),
        FINGERPRINT,
        meant=True,
    ),
    Fault(
        "wide-initial-weights",
        source("wrong_init"),
        "initial weights so large that hidden units are saturated, and never move",
        lambda: fitted(regression(), "mse", SGD(0.01), NUMBERS),
        lambda: fitted(
            regression(kernel_initializer=keras.initializers.RandomNormal(stddev=1e4)),
            "mse",
            SGD(0.01),
            NUMBERS,
        ),
        meant=True,
        watch=Watch(numbers, RATIO),
    ),
    Fault(
        "dead-units",
        source("wrong_init"),
        "initial biases at which no relu is ever on",
        lambda: fitted(dense(), optimizer=SGD(0.1)),
        lambda: fitted(
            dense(bias_initializer=keras.initializers.Constant(-100.0)), optimizer=SGD(0.1)
        ),
        meant=True,
        watch=Watch(classes, {**RATIO, "within": 5}),
    ),
    Fault(
        "features-shuffled",
        source("wrong_labels"),
        "inputs shuffled, and targets left in their order",
        lambda: taped(regression(), MSE, batch=NUMBERS),
        lambda: taped(
            regression(),
            MSE,
            batch=NUMBERS,
            predict=lambda net, x: net(tf.random.shuffle(x), training=True),
        ),
        {"forward": True},
    ),
    Fault(
        "sum-for-mean",
        source("wrong_loss_function"),
        "a sum over the batch where a mean is meant",
        lambda: taped(regression(), squared, batch=NUMBERS),
        lambda: taped(regression(), lambda y, p: tf.reduce_sum(tf.square(y - p)), batch=NUMBERS),
        {"loss": MSE},
        meant=True,
    ),
    Fault(
        "wrong-axis",
        source("wrong_loss_function2"),
        "a crossentropy by hand that is added up over the batch, and averaged over classes",
        lambda: taped(dense(head="softmax"), entropy, batch=ONE_HOT),
        lambda: taped(
            dense(head="softmax"),
            lambda y, p: (
                -tf.reduce_mean(
                    tf.reduce_sum(y * tf.math.log(tf.clip_by_value(p, 1e-7, 1.0)), axis=0)
                )
            ),
            batch=ONE_HOT,
        ),
        FINGERPRINT,
        meant=True,
    ),
    Fault(
        "broadcast-targets",
        source("wrong_loss_function2"),
        "targets of shape (n,) subtracted from predictions of shape (n, 1)",
        lambda: taped(regression(), lambda y, p: squared(y[:, None], p), batch=SMALL),
        lambda: taped(regression(), squared, batch=SMALL),
        {"loss": MSE},
    ),
    Fault(
        "entropy-of-a-regression",
        source("wrong_loss_selection"),
        "a crossentropy by hand for a regression",
        lambda: taped(regression(), squared, batch=NUMBERS),
        lambda: taped(regression(), entropy, batch=NUMBERS),
        {"loss": MSE},
    ),
    Fault(
        "inputs-not-scaled",
        source("missing_normalization"),
        "inputs of 0 to 255 that nobody scaled",
        lambda: fitted(regression(hidden="relu"), "mse", SGD(0.01), NUMBERS),
        lambda: fitted(with_scale(255.0), "mse", SGD(0.01), NUMBERS),
        FINGERPRINT,
        meant=True,
        watch=Watch(numbers, RATIO),
    ),
    Fault(
        "inputs-scaled-twice",
        source("double_normalization"),
        "inputs divided by 255 twice",
        lambda: fitted(cnn(normalised=False), LOGITS, SGD(0.1), IMAGES),
        lambda: fitted(scaled_cnn(), LOGITS, SGD(0.1), IMAGES),
        FINGERPRINT,
        meant=True,
        watch=Watch(images, {"watched": "*", "ratio": (1e-5, 0.5)}),
    ),
    Fault(
        "log-of-zero",
        source("IPS-1"),
        "a logarithm of probabilities with nothing that keeps them from zero",
        lambda: fitted(dense(head="softmax"), entropy, SGD(0.1), ONE_HOT),
        lambda: fitted(
            dense(head="softmax"),
            lambda y, p: -tf.reduce_mean(tf.reduce_sum(y * tf.math.log(p), axis=-1)),
            SGD(0.1),
            ONE_HOT,
        ),
        meant=True,
        watch=Watch(far_apart, {"learning_rate": 0.1}),
    ),
    Fault(
        "log-of-targets",
        source("IPS-7"),
        "prediction and target exchanged in a crossentropy by hand: the logarithm of zeros",
        lambda: taped(dense(head="softmax"), entropy, batch=ONE_HOT),
        lambda: taped(dense(head="softmax"), lambda y, p: entropy(p, y), batch=ONE_HOT),
        FINGERPRINT,
        meant=True,
    ),
)

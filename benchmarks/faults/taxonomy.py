"""Humbatova's taxonomy of real faults: what is trained, by which loss, in which mode."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from benchmarks.faults.fault import FINGERPRINT, Fault, Trial
from benchmarks.faults.steps import (
    IMAGES,
    LAYERS,
    LOGITS,
    MSE,
    NUMBERS,
    SGD,
    WEIGHED,
    WORDS,
    Adam,
    backbone,
    cnn,
    dense,
    descend,
    fitted,
    regression,
    taped,
    text,
)

LOSS, OPTIMIZER, MASK, MODE, LAYER = (
    f"Humbatova {leaf}"
    for leaf in (
        "wrong loss function calculation",
        "wrong optimisation function",
        "missing or wrong masking",
        "missing or wrong forward pass mode",
        "layers wrongly frozen or not",
    )
)
HEAD = {"watched": "tuned/head/*"}


def weighted(loss: Any) -> Trial:
    return taped(regression(), loss, batch=WEIGHED)


def by_rows(y: Any, p: Any, w: Any) -> Any:
    return tf.reduce_mean(w[:, None] * tf.square(y - p))


def measured() -> Any:
    metric = keras.metrics.MeanAbsoluteError()

    def loss(y: Any, p: Any, w: Any) -> Any:
        metric.update_state(y, p, w)
        return MSE(y, p)

    return loss


def predicted(call: Any, net: Any = None) -> Trial:
    return taped(regression() if net is None else net, MSE, batch=NUMBERS, predict=call)


def frozen_late(late: bool) -> Trial:
    """A base that is frozen before, or after, the train step was made."""
    net = backbone(frozen=not late)
    made = fitted(net)
    net.fit(tf.zeros((8, 4)), tf.zeros((8,), tf.int32), verbose=0)
    if late:
        net.get_layer("base").trainable = False
    return Trial(net.train_function, made.batch, net)


class Measured(keras.Model):
    """A model whose test step runs it in a mode."""

    def __init__(self, training: bool) -> None:
        super().__init__(name="measured")
        self.norm, self.head, self.mode = LAYERS.BatchNormalization(), LAYERS.Dense(1), training

    def call(self, x: Any, training: bool = False) -> Any:
        return self.head(self.norm(x, training=training))

    def test_step(self, data: Any) -> Any:
        x, y = data
        return {"loss": self.compute_loss(x, y, self(x, training=self.mode))}


def tested(training: bool) -> Trial:
    net = Measured(training)
    net.build((None, 4))
    net.compile("sgd", "mse")
    return Trial(net.test_step, (NUMBERS,), net)


def two_heads(of_a: str = "mse", of_b: Any = "mae", used: bool = True) -> Trial:
    """Two outputs with a loss each."""
    inputs = keras.Input((4,))
    seen = LAYERS.Dense(5, "tanh", name="body")(inputs)
    heads = {name: LAYERS.Dense(1, name=name)(seen) for name in "ab"}
    net = keras.Model(inputs, heads, name="both")
    net.compile("adam", {"a": of_a, "b": of_b} if used else {"a": of_a})
    batch = NUMBERS[0], {"a": NUMBERS[1], "b": NUMBERS[1]}
    return Trial(net, (batch,), net)


def crossed(variables: list[Any]) -> list[Any]:
    """Two square layers' kernels exchanged."""
    found = [*variables]
    found[0], found[2] = found[2], found[0]
    return found


def square() -> keras.Sequential:
    layers = [LAYERS.Dense(4, "tanh", name=name) for name in ("first", "second")]
    return keras.Sequential([keras.Input((4,)), *layers, LAYERS.Dense(3, name="head")], name="net")


def switched(read_while_tracing: bool) -> Trial:
    """An update that a flag allows, which is off while the step is traced."""
    flag = tf.Variable(False, trainable=False, name="flag")
    seen = bool(flag.numpy())

    def apply(by: Any, gradients: list[Any], variables: list[Any]) -> None:
        def update() -> int:
            descend(gradients, variables)
            return 0

        tf.cond(tf.constant(seen) if read_while_tracing else flag, update, lambda: 0)

    return taped(dense(), apply=apply)


def reset(net: Any) -> None:
    for variable in net.trainable_variables:
        variable.assign(tf.zeros_like(variable))


def counted_twice() -> Trial:
    adam = Adam()
    return taped(dense(), optimizer=adam, after=lambda net: adam.iterations.assign_add(1))


def decaying(share: float, *names: str) -> Trial:
    """Variables of these names get a share of themselves, beside their gradient."""

    def after(net: Any) -> None:
        for variable in net.trainable_variables:
            if variable.name in (names or ("kernel",)):
                variable.assign_add(share * variable)

    return taped(dense(), after=after)


def masked(keep_zeros: bool) -> Trial:
    """Squared errors where the target is known, or where it is not."""

    def loss(y: Any, p: Any) -> Any:
        known = tf.cast(tf.equal(y, 0.0) if keep_zeros else tf.not_equal(y, 0.0), tf.float32)
        return tf.reduce_sum(known * tf.square(y - p)) / (tf.reduce_sum(known) + 1e-6)

    return taped(regression(), loss, batch=NUMBERS)


def frozen_wholly() -> Trial:
    net = backbone()
    net.trainable = False
    return fitted(net)


def tuned(training: bool) -> Trial:
    """A base that is called, as a layer of its own is not, in a mode that a step says."""
    net = backbone(frozen=False)
    head = net.get_layer("head").trainable_variables
    return taped(net, predict=lambda net, x: net(x, training=training), variables=lambda _: head)


FAULTS = (
    Fault(
        "loss-of-zeros",
        LOSS,
        "the loss of what the model makes of zeros, not of the batch",
        lambda: predicted(lambda net, x: net(x, training=True)),
        lambda: predicted(lambda net, x: net(tf.zeros_like(x), training=True)),
        {"forward": True},
    ),
    Fault(
        "loss-detached",
        LOSS,
        "the prediction behind stop_gradient: only penalties train",
        lambda: taped(
            regression(kernel_regularizer="l2", bias_regularizer="l2"),
            MSE,
            batch=NUMBERS,
            penalty=lambda net: tf.add_n(net.losses),
            variables=lambda net: net.layers[0].trainable_variables,
        ),
        lambda: taped(
            regression(kernel_regularizer="l2", bias_regularizer="l2"),
            MSE,
            batch=NUMBERS,
            predict=lambda net, x: tf.stop_gradient(net(x, training=True)),
            penalty=lambda net: tf.add_n(net.losses),
            variables=lambda net: net.layers[0].trainable_variables,
        ),
        {"loss": MSE},
    ),
    Fault(
        "loss-without-targets",
        LOSS,
        "targets that a mask of nothing multiplies by zero",
        lambda: taped(regression(), MSE, batch=NUMBERS),
        lambda: taped(regression(), lambda y, p: MSE(y * 0.0, p), batch=NUMBERS),
        {"loss": MSE},
    ),
    Fault(
        "loss-of-other-output",
        LOSS,
        "the losses of two outputs exchanged",
        lambda: two_heads("mse", "mae"),
        lambda: two_heads("mae", "mse"),
        {"loss": {"a": "mse", "b": "mae"}},
        meant=True,
    ),
    Fault(
        "output-without-loss",
        LOSS,
        "an output that has no loss: its layer is never trained",
        lambda: two_heads(),
        lambda: two_heads(used=False),
        {"watched": "*"},
    ),
    Fault(
        "weights-ignored",
        LOSS,
        "sample weights that only a metric gets",
        lambda: weighted(by_rows),
        lambda: weighted(measured()),
        {"sample_weight": True},
    ),
    Fault(
        "weights-spread",
        LOSS,
        "weights of shape (n,) that multiply losses of shape (n, 1)",
        lambda: weighted(by_rows),
        lambda: weighted(lambda y, p, w: tf.reduce_mean(w * tf.square(y - p))),
        {"sample_weight": True},
    ),
    Fault(
        "weights-of-others",
        LOSS,
        "sample weights in another order than the examples",
        lambda: weighted(by_rows),
        lambda: weighted(lambda y, p, w: by_rows(y, p, tf.roll(w, 1, 0))),
        {"sample_weight": True, "loss": MSE},
    ),
    Fault(
        "crossed-gradients",
        OPTIMIZER,
        "gradients and variables in two orders",
        lambda: taped(square(), apply=lambda _, g, v: descend(g, v)),
        lambda: taped(square(), apply=lambda _, g, v: descend(g, crossed(v))),
        {"loss": LOGITS, "watched": "*", "learning_rate": 0.1},
    ),
    Fault(
        "applied-twice",
        OPTIMIZER,
        "one gradient applied in two places of the step",
        lambda: taped(dense(), optimizer=Adam()),
        lambda: taped(
            dense(),
            optimizer=Adam(),
            apply=lambda by, g, v: (by.apply(g, v), by.apply(g, v)),
        ),
        {"optimizer": Adam()},
    ),
    Fault(
        "undone",
        OPTIMIZER,
        "weights that are set to their initial values in each step",
        lambda: taped(dense()),
        lambda: taped(dense(), after=reset),
        {"watched": "*", "optimizer": SGD(0.1)},
    ),
    Fault(
        "counted-twice",
        OPTIMIZER,
        "the optimizer's steps counted by hand, too",
        lambda: taped(dense(), optimizer=Adam()),
        lambda: counted_twice(),
        {"optimizer": Adam()},
    ),
    Fault(
        "flag-read-while-tracing",
        OPTIMIZER,
        "a flag that Python read while it traced: the branch is never taken",
        lambda: switched(read_while_tracing=False),
        lambda: switched(read_while_tracing=True),
        {"watched": "*"},
    ),
    Fault(
        "decay-with-the-wrong-sign",
        OPTIMIZER,
        "weight decay by hand that makes weights grow",
        lambda: decaying(-0.01),
        lambda: decaying(0.01),
        {"decayed": "*kernel"},
    ),
    Fault(
        "decay-of-biases",
        OPTIMIZER,
        "a decay of biases, which are to be left out",
        lambda: decaying(-0.01),
        lambda: decaying(-0.01, "kernel", "bias"),
        {"decayed": "*kernel"},
        meant=True,
    ),
    Fault(
        "padding-counts",
        MASK,
        "padding that counts as words: the mask is not asked for",
        lambda: fitted(text(), batch=WORDS),
        lambda: fitted(text(masked=False), batch=WORDS),
        FINGERPRINT,
        meant=True,
    ),
    Fault(
        "mask-inverted",
        MASK,
        "the mask of real values the wrong way round",
        lambda: masked(keep_zeros=False),
        lambda: masked(keep_zeros=True),
        FINGERPRINT,
        meant=True,
    ),
    Fault(
        "inference-mode",
        MODE,
        "a step that trains the model as it infers",
        lambda: taped(cnn(drop=0.3), batch=IMAGES),
        lambda: taped(cnn(drop=0.3), batch=IMAGES, predict=lambda net, x: net(x, training=False)),
        {"training": True},
        meant=True,
    ),
    Fault(
        "evaluated-in-training-mode",
        MODE,
        "a test step that moves the statistics of normalisation",
        lambda: tested(training=False),
        lambda: tested(training=True),
        {"unchanged": "*moving*"},
    ),
    Fault(
        "base-not-frozen",
        LAYER,
        "a pretrained base that is trained with its new head",
        lambda: fitted(backbone()),
        lambda: fitted(backbone(frozen=False)),
        HEAD,
        meant=True,
    ),
    Fault(
        "frozen-after-tracing",
        LAYER,
        "a base that is frozen when the step has been traced",
        lambda: frozen_late(late=False),
        lambda: frozen_late(late=True),
        HEAD,
    ),
    Fault(
        "all-frozen",
        LAYER,
        "a model frozen as a whole, head and all",
        lambda: fitted(backbone()),
        lambda: frozen_wholly(),
        HEAD,
    ),
    Fault(
        "frozen-statistics-move",
        LAYER,
        "a frozen base that a step of one's own runs in training mode all the same",
        lambda: tuned(training=False),
        lambda: tuned(training=True),
        {"unchanged": "*moving*"},
        meant=True,
    ),
    Fault(
        "head-forgotten",
        LAYER,
        "only the base is trained, and the new head stays as it was drawn",
        lambda: taped(backbone(frozen=False)),
        lambda: taped(
            backbone(frozen=False), variables=lambda net: net.get_layer("base").trainable_variables
        ),
        {"watched": "*"},
        meant=True,
    ),
)

"""DeepCrime's operators of optimizers: HLR, OCH, OCG."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from benchmarks.faults.fault import Fault, Trial, Watch
from benchmarks.faults.steps import (
    IMAGES,
    MSE,
    NUMBERS,
    SERIES,
    SGD,
    Adam,
    classes,
    cnn,
    dense,
    descend,
    fitted,
    recurrent,
    regression,
    taped,
)

HLR, OCH, OCG = "DeepCrime HLR", "DeepCrime OCH", "DeepCrime OCG"
DECAY = keras.optimizers.schedules.ExponentialDecay


def clipped_by_norm(gradients: list[Any]) -> list[Any]:
    return [tf.clip_by_norm(g, 1.0) for g in gradients]


def clipped_in_vain(gradients: list[Any]) -> list[Any]:
    for gradient in gradients:
        tf.clip_by_norm(gradient, 1.0)
    return gradients


def clipped_globally(gradients: list[Any]) -> list[Any]:
    return list(tf.clip_by_global_norm(gradients, 1.0)[0])


def scaled(clip_first: bool) -> Trial:
    """A dynamic loss scale, with gradients that are clipped."""
    factor = tf.Variable(1024.0, trainable=False, name="loss_scale")

    def treat(gradients: list[Any]) -> list[Any]:
        if clip_first:
            gradients = [tf.clip_by_value(g, -0.5, 0.5) for g in gradients]
        made = [g / factor for g in gradients]
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(g)) for g in made])
        factor.assign(factor * tf.where(finite, 1.0, 0.5))
        return made if clip_first else [tf.clip_by_value(g, -0.5, 0.5) for g in made]

    return taped(dense(), scale=lambda value: value * factor, treat=treat)


def rated(rate: Any) -> Trial:
    return taped(regression(), MSE, batch=NUMBERS, apply=lambda _, g, v: descend(g, v, rate))


def two_rates(base: float, head: float) -> Trial:
    """A rate of their own for the weights of the head."""
    net = dense()
    slow, fast = SGD(base), SGD(head)
    slow.build(net.get_layer("hidden").trainable_variables)
    fast.build(net.get_layer("head").trainable_variables)

    def apply(_: Any, gradients: list[Any], variables: list[Any]) -> None:
        slow.apply(gradients[:2], variables[:2])
        fast.apply(gradients[2:], variables[2:])

    return taped(net, apply=apply)


FAULTS = (
    Fault(
        "HLR-classifier",
        HLR,
        "a learning rate a thousandth of what is meant",
        lambda: fitted(dense(), optimizer=Adam(1e-3)),
        lambda: fitted(dense(), optimizer=Adam(1e-6)),
        {"learning_rate": 1e-3},
        meant=True,
        watch=Watch(classes, {"watched": "*", "ratio": (1e-5, 0.3)}),
    ),
    Fault(
        "HLR-zero",
        HLR,
        "a learning rate that whole-number division makes zero",
        lambda: fitted(dense(), optimizer=SGD(1 / 10)),
        lambda: fitted(dense(), optimizer=SGD(float(1 // 10))),
        {"learning_rate": 0.1},
    ),
    Fault(
        "HLR-by-hand-zero",
        HLR,
        "descent by hand at a rate that whole-number division makes zero",
        lambda: rated(1 / 10),
        lambda: rated(float(1 // 10)),
        {"learning_rate": 0.1, "watched": "*"},
    ),
    Fault(
        "HLR-schedule",
        HLR,
        "a schedule that decays a hundred times as fast as meant",
        lambda: fitted(cnn(), optimizer=SGD(DECAY(0.1, 1000, 0.9)), batch=IMAGES),
        lambda: fitted(cnn(), optimizer=SGD(DECAY(0.1, 10, 0.9)), batch=IMAGES),
        {"learning_rate": DECAY(0.1, 1000, 0.9)},
        meant=True,
    ),
    Fault(
        "HLR-groups",
        HLR,
        "the rates of body and head exchanged",
        lambda: two_rates(0.001, 0.1),
        lambda: two_rates(0.1, 0.001),
        {"learning_rate": {"net/hidden/*": 0.001, "net/head/*": 0.1}},
        meant=True,
    ),
    Fault(
        "HLR-in-the-gradient",
        HLR,
        "the rate multiplied into the gradients, and by the optimizer once more",
        lambda: taped(regression(), MSE, SGD(0.01), NUMBERS),
        lambda: taped(
            regression(), MSE, SGD(0.01), NUMBERS, treat=lambda gs: [0.01 * g for g in gs]
        ),
        {"loss": MSE, "learning_rate": 0.01},
        meant=True,
    ),
    Fault(
        "OCH-classifier",
        OCH,
        "plain descent where Adam is meant",
        lambda: fitted(dense(), optimizer="adam"),
        lambda: fitted(dense(), optimizer="sgd"),
        {"optimizer": "adam"},
        meant=True,
    ),
    Fault(
        "OCH-recurrent",
        OCH,
        "the rule of Adam where that of RMSprop is meant, at the same rate",
        lambda: fitted(recurrent(), optimizer="rmsprop", batch=SERIES),
        lambda: fitted(recurrent(), optimizer="adam", batch=SERIES),
        {"optimizer": "rmsprop"},
        meant=True,
    ),
    Fault(
        "OCH-no-momentum",
        OCH,
        "a momentum that is left out",
        lambda: fitted(cnn(), optimizer=SGD(0.01, momentum=0.9), batch=IMAGES),
        lambda: fitted(cnn(), optimizer=SGD(0.01), batch=IMAGES),
        {"optimizer": SGD(0.01, momentum=0.9)},
        meant=True,
    ),
    Fault(
        "OCH-momentum-of-one",
        OCH,
        "a momentum of 1: the first gradient counts for ever",
        lambda: fitted(dense(), optimizer=SGD(0.01, momentum=0.9)),
        lambda: fitted(dense(), optimizer=SGD(0.01, momentum=1.0)),
        {"optimizer": SGD(0.01, momentum=0.9)},
    ),
    Fault(
        "OCH-by-hand",
        OCH,
        "the optimizer is made and never applied: the step descends by itself",
        lambda: taped(dense(), optimizer=Adam(1e-3)),
        lambda: taped(dense(), optimizer=Adam(1e-3), apply=lambda _, g, v: descend(g, v, 1e-3)),
        {"optimizer": Adam(1e-3)},
        meant=True,
    ),
    Fault(
        "OCH-sizes",
        OCH,
        "the sizes of gradients, which were to be logged, are what is applied",
        lambda: taped(regression(), MSE, batch=NUMBERS),
        lambda: taped(regression(), MSE, batch=NUMBERS, treat=lambda gs: list(map(tf.abs, gs))),
        lambda trial: {"objective": lambda x, y: MSE(y, trial.model(x, training=True))},
    ),
    Fault(
        "OCG-recurrent",
        OCG,
        "no clipping of a recurrent net's gradients",
        lambda: fitted(recurrent(), optimizer=Adam(global_clipnorm=1.0), batch=SERIES),
        lambda: fitted(recurrent(), optimizer=Adam(), batch=SERIES),
        {"clipping": {"global_norm": 1.0}},
        meant=True,
    ),
    Fault(
        "OCG-value-for-norm",
        OCG,
        "clipped by value where the norm is meant",
        lambda: fitted(dense(), optimizer=Adam(clipnorm=1.0)),
        lambda: fitted(dense(), optimizer=Adam(clipvalue=1.0)),
        {"clipping": {"norm": 1.0}},
        meant=True,
    ),
    Fault(
        "OCG-each-for-all",
        OCG,
        "each gradient clipped by its own norm where that of all is meant",
        lambda: taped(dense(), treat=clipped_globally),
        lambda: taped(dense(), treat=clipped_by_norm),
        {"clipping": {"global_norm": 1.0}},
        meant=True,
    ),
    Fault(
        "OCG-bound",
        OCG,
        "a clip of 10 where 1 is meant",
        lambda: fitted(cnn(), optimizer=SGD(0.1, clipnorm=1.0), batch=IMAGES),
        lambda: fitted(cnn(), optimizer=SGD(0.1, clipnorm=10.0), batch=IMAGES),
        {"clipping": {"norm": 1.0}},
        meant=True,
    ),
    Fault(
        "OCG-thrown-away",
        OCG,
        "gradients are clipped, and the others applied",
        lambda: taped(dense(), treat=clipped_by_norm),
        lambda: taped(dense(), treat=clipped_in_vain),
        {"clipping": {"norm": 1.0}},
    ),
    Fault(
        "OCG-one-sided",
        OCG,
        "a clip whose lower bound has lost its sign",
        lambda: taped(dense(), treat=lambda gs: [tf.clip_by_value(g, -0.1, 1.0) for g in gs]),
        lambda: taped(dense(), treat=lambda gs: [tf.clip_by_value(g, 0.1, 1.0) for g in gs]),
        {"clipping": (-0.1, 1.0)},
    ),
    Fault(
        "OCG-scaled",
        OCG,
        "clipped while a loss scale still multiplies the gradients",
        lambda: scaled(clip_first=False),
        lambda: scaled(clip_first=True),
        {"clipping": (-0.5, 0.5)},
    ),
    Fault(
        "OCG-weights",
        OCG,
        "the weights clipped where their gradients are meant",
        lambda: taped(dense(), treat=lambda gs: [tf.clip_by_value(g, -0.1, 0.1) for g in gs]),
        lambda: taped(
            dense(),
            after=lambda net: [
                v.assign(tf.clip_by_value(v, -0.1, 0.1)) for v in net.trainable_variables
            ],
        ),
        {"clipping": (-0.1, 0.1)},
        meant=True,
    ),
)

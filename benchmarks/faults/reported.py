"""Faults that were reported: Defects4ML, silent bugs of TensorFlow and Keras (Tambon), TrainCheck.

Some are of a library that has mended them since: what the library did then is written in the step.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from benchmarks.faults.fault import FINGERPRINT, Fault, Trial
from benchmarks.faults.steps import (
    BINARY,
    IMAGES,
    LAYERS,
    LOGITS,
    MSE,
    NUMBERS,
    SGD,
    WEIGHED,
    WORDS,
    Adam,
    cnn,
    dense,
    fitted,
    regression,
    taped,
    text,
)

SMALL = tf.TensorSpec((8, 4)), tf.TensorSpec((8,))


def defect(number: str) -> str:
    return f"Defects4ML {number}"


def tambon(number: int) -> str:
    return f"Tambon, TensorFlow {number}"


def accumulating(emptied: bool) -> Trial:
    """Gradients of two calls are added up for one update."""
    net = dense()
    sums = [tf.Variable(tf.zeros(v.shape), trainable=False) for v in net.trainable_variables]
    calls = tf.Variable(0, trainable=False)

    def apply(by: Any, gradients: list[Any], variables: list[Any]) -> None:
        for total, gradient in zip(sums, gradients, strict=True):
            total.assign_add(gradient)
        calls.assign_add(1)

        def update() -> int:
            by.apply([total / 2.0 for total in sums], variables)
            for total in sums:
                if emptied:
                    total.assign(tf.zeros_like(total))
            return 0

        tf.cond(tf.equal(calls % 2, 0), update, lambda: 0)

    return taped(net, apply=apply)


def copied(stale: bool) -> Trial:
    """The optimizer has the variables of the model, or those of a copy that is trained no more."""
    net = dense()
    other = keras.models.clone_model(net)
    of = other if stale else net
    return taped(
        net,
        built_for=lambda _: of.trainable_variables,
        apply=lambda by, g, _: by.apply(g, of.trainable_variables),
    )


def rated(read_once: bool) -> Trial:
    """A rate in a variable, which is lowered after some training."""
    rate = tf.Variable(0.1, trainable=False, name="rate")
    first = float(rate.numpy())

    def apply(_: Any, gradients: list[Any], variables: list[Any]) -> None:
        for gradient, variable in zip(gradients, variables, strict=True):
            variable.assign_sub((first if read_once else rate) * gradient)

    made = taped(dense(), apply=apply)
    rate.assign(0.01)
    return made


def halves(gradients: list[Any]) -> list[Any]:
    """Each part of the variables clipped by a norm of its own."""
    parts = gradients[:2], gradients[2:]
    return [g for part in parts for g in tf.clip_by_global_norm(part, 1.0)[0]]


def halved(mixed: bool) -> keras.Sequential:
    return dense(dtype="mixed_bfloat16" if mixed else "float32")


def in_half(trial: Trial) -> dict[str, Any]:
    """What a layer in half precision computes, and one in full precision behind it."""
    assert trial.model is not None
    hidden, head = trial.model.layers

    def narrow(x: Any) -> Any:
        return tf.cast(x, tf.bfloat16)

    def forward(x: Any, y: Any) -> Any:
        seen = tf.nn.relu(narrow(x) @ narrow(hidden.kernel.value) + narrow(hidden.bias.value))
        return tf.cast(seen, tf.float32) @ head.kernel.value + head.bias.value

    return {"forward": forward}


def nothing() -> Trial:
    net = cnn()
    for layer in net.layers:
        layer.trainable = False
    return fitted(net, batch=IMAGES)


FAULTS = (
    Fault(
        "entropy-of-softmax-summed",
        defect("001"),
        "a softmax, its logarithm and a sum over the batch for the op that takes logits",
        lambda: taped(dense(), LOGITS),
        lambda: taped(
            dense(),
            lambda y, p: -tf.reduce_sum(tf.one_hot(y, 3) * tf.math.log(tf.nn.softmax(p))),
        ),
        {"loss": LOGITS},
        meant=True,
    ),
    Fault(
        "rate-of-an-autoencoder",
        defect("002"),
        "a rate that is too high for the model",
        lambda: fitted(dense(), optimizer=SGD(0.01)),
        lambda: fitted(dense(), optimizer=SGD(0.5)),
        {"learning_rate": 0.01},
        meant=True,
    ),
    Fault(
        "optimizer-of-keypoints",
        defect("024"),
        "an optimizer that does not suit a regression of images",
        lambda: fitted(cnn(1), "mse", "adam", (IMAGES[0], NUMBERS[1])),
        lambda: fitted(cnn(1), "mse", "adagrad", (IMAGES[0], NUMBERS[1])),
        {"optimizer": "adam"},
        meant=True,
    ),
    Fault(
        "epsilon-of-norms",
        defect("033"),
        "another epsilon of normalisations than that of the weights that were loaded",
        lambda: fitted(
            cnn(norm=LAYERS.BatchNormalization(epsilon=1e-5, name="norm")), batch=IMAGES
        ),
        lambda: fitted(cnn(), batch=IMAGES),
        FINGERPRINT,
        meant=True,
    ),
    Fault(
        "filters-too-wide",
        defect("048"),
        "filters of 5 by 5 where 3 by 3 are meant",
        lambda: fitted(cnn(), batch=IMAGES),
        lambda: fitted(cnn(size=5), batch=IMAGES),
        FINGERPRINT,
        meant=True,
    ),
    Fault(
        "softmax-of-one-unit",
        defect("084"),
        "a softmax over one unit, with a binary crossentropy of its own",
        lambda: taped(regression("sigmoid"), keras.losses.MeanSquaredError(), batch=NUMBERS),
        lambda: taped(regression("softmax"), keras.losses.MeanSquaredError(), batch=NUMBERS),
        FINGERPRINT,
    ),
    Fault(
        "softmax-for-many-labels",
        defect("086"),
        "a softmax for labels of which several may be true",
        lambda: taped(dense(head="sigmoid"), MSE, batch=(NUMBERS[0], tf.TensorSpec((8, 3)))),
        lambda: taped(dense(head="softmax"), MSE, batch=(NUMBERS[0], tf.TensorSpec((8, 3)))),
        FINGERPRINT,
        meant=True,
    ),
    Fault(
        "hard-sigmoid",
        defect("046"),
        "a sigmoid where its piecewise linear form trains",
        lambda: fitted(regression("hard_sigmoid"), "mse", batch=NUMBERS),
        lambda: fitted(regression("sigmoid"), "mse", batch=NUMBERS),
        FINGERPRINT,
        meant=True,
    ),
    Fault(
        "clip-ignored",
        tambon(33929),
        "an optimizer's clipnorm that does nothing in a step of one's own",
        lambda: taped(dense(), optimizer=Adam(clipnorm=1.0)),
        lambda: taped(dense(), optimizer=Adam()),
        {"clipping": {"norm": 1.0}},
        meant=True,
    ),
    Fault(
        "rate-read-once",
        tambon(31324),
        "a rate in a variable, which is read while the step is traced",
        lambda: rated(read_once=False),
        lambda: rated(read_once=True),
        {"learning_rate": 0.01},
        meant=True,
    ),
    Fault(
        "weights-cast-to-integers",
        tambon(37747),
        "class weights that are cast to whole numbers",
        lambda: taped(regression(), lambda y, p, w: MSE(y, p, sample_weight=w), batch=WEIGHED),
        lambda: taped(
            regression(),
            lambda y, p, w: MSE(y, p, sample_weight=tf.cast(tf.cast(w, tf.int32), tf.float32)),
            batch=WEIGHED,
        ),
        {"sample_weight": True},
        meant=True,  # right where weights are a mask
    ),
    Fault(
        "divided-by-a-constant",
        tambon(38596),
        "a sum divided by the usual size of a batch, also where the last one is smaller",
        lambda: taped(
            regression(), MSE, batch=(tf.TensorSpec((None, 4)), tf.TensorSpec((None, 1)))
        ),
        lambda: taped(
            regression(),
            lambda y, p: tf.reduce_sum((y - p) ** 2) / 32.0,
            batch=(tf.TensorSpec((None, 4)), tf.TensorSpec((None, 1))),
        ),
        {"loss": MSE},
        meant=True,
    ),
    Fault(
        "weights-of-squares-spread",
        tambon(29965),
        "squared errors of shape (n, 1) weighted by sample weights of shape (n,)",
        lambda: taped(
            regression(), lambda y, p, w: MSE(y, p, sample_weight=w[:, None]), batch=WEIGHED
        ),
        lambda: taped(
            regression(), lambda y, p, w: tf.reduce_mean((y - p) ** 2 * w), batch=WEIGHED
        ),
        {"sample_weight": True},
    ),
    Fault(
        "binary-targets-spread",
        tambon(30040),
        "targets of shape (n,) in a binary crossentropy by hand of shape (n, 1)",
        lambda: taped(regression(), BINARY, batch=NUMBERS),
        lambda: taped(
            regression(),
            lambda y, p: tf.reduce_mean(tf.nn.softplus(p) - y * p),
            batch=SMALL,
        ),
        {"loss": BINARY},
    ),
    Fault(
        "training-flag-lost",
        tambon(26319),
        "a training flag that does not reach the layers: dropout is off",
        lambda: taped(cnn(drop=0.4), batch=IMAGES),
        lambda: taped(cnn(drop=0.4), batch=IMAGES, predict=lambda net, x: net(x)),
        {"training": True},
        meant=True,
    ),
    Fault(
        "embedding-thawed",
        tambon(46329),
        "an embedding that was frozen, and is trained after it was loaded",
        lambda: fitted(text(trainable=False), batch=WORDS),
        lambda: fitted(text(), batch=WORDS),
        {"watched": "text/head/*"},
        meant=True,
    ),
    Fault(
        "weights-not-of-the-model",
        tambon(40638),
        "a layer whose weights the model does not know as its own: they are not trained",
        lambda: taped(dense()),
        lambda: taped(dense(), variables=lambda net: net.get_layer("head").trainable_variables),
        {"watched": ["net/hidden/*", "net/head/*"]},
        meant=True,
    ),
    Fault(
        "sums-not-emptied",
        "TrainCheck SO-60335387",
        "gradients that are added up, and not set to zero after the update",
        lambda: accumulating(emptied=True),
        lambda: accumulating(emptied=False),
        {"accumulated": 2},
    ),
    Fault(
        "norms-of-parts",
        "TrainCheck DS-1801",
        "parts of the weights clipped by norms of their own, so that they drift apart",
        lambda: taped(dense(), treat=lambda gs: list(tf.clip_by_global_norm(gs, 1.0)[0])),
        lambda: taped(dense(), treat=halves),
        {"clipping": {"global_norm": 1.0}},
        meant=True,
    ),
    Fault(
        "optimizer-of-a-copy",
        "TrainCheck AC-2665",
        "an optimizer that was made before the model was wrapped: it moves the variables of a copy",
        lambda: copied(stale=False),
        lambda: copied(stale=True),
        {"watched": "*"},
        meant=True,  # right where a worker's gradients move the weights of all
    ),
    Fault(
        "precision-not-applied",
        "TrainCheck LT-725",
        "a cast to half precision that does not reach the computation",
        lambda: taped(halved(True)),
        lambda: taped(halved(False)),
        in_half,
        meant=True,
    ),
    Fault(
        "nothing-to-train",
        "TrainCheck PT-84911",
        "the optimizer has the head, and every weight but those of normalisation is frozen",
        lambda: fitted(cnn(), batch=IMAGES),
        lambda: nothing(),
        {"watched": "*"},
    ),
)

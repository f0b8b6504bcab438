"""A correct train step in pieces, of which a fault replaces one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from verify.selfcheck.samples import OPTIMIZERS, Sample

Gradients = list[Any]


class Training:
    """A train step as a person writes it: loss, regularisation, clipping, update, metric.

    With a loss scale, gradients are unscaled before they are clipped, and the scale is halved when
    they overflow. `expected` says what the step is, in the keywords of `verify.assert_graph`; it
    asks no piece that a fault can replace.
    """

    loss: Any = None  # the sample's own
    clipping: Any = (-0.1, 0.1)
    scaled = False

    def __init__(self, sample: Sample, optimizer: str) -> None:
        self.sample, self.model = sample, sample.model
        self.trained, self.frozen = sample.trained, list(sample.frozen)
        self.optimizer = self.made(optimizer)
        decays = self.optimizer.weight_decay is not None
        if decays:
            self.optimizer.exclude_from_weight_decay(self.not_decayed())
        spared = {id(variable) for variable in self.not_decayed()}
        self.decayed = [v for v in self.trained if decays and id(v) not in spared]
        self.optimizer.build(self.model.trainable_variables)
        self.metric = keras.metrics.MeanAbsoluteError()
        self.flag = tf.Variable(True, trainable=False, name="flag")
        self.scale = tf.Variable(1024.0, trainable=False, name="scale")

    @property
    def batch(self) -> tuple[tf.TensorSpec, ...]:
        """What the step is handed."""
        return self.sample.x, self.sample.y

    def expected(self) -> dict[str, Any]:
        return {
            "loss": self.loss or self.sample.loss,
            "regularization": list(self.sample.regularised),
            "clipping": self.clipping,
            "watched": self.trained,
            "unwatched": self.frozen,
            "decayed": self.decayed or None,
            "forbids": ["*PyFunc*", "Print*", "RandomStandardNormal"],
        }

    # -- pieces -------------------------------------------------------------------------------

    def made(self, optimizer: str) -> keras.optimizers.Optimizer:
        """The optimizer of that name; asked when a training is made."""
        return OPTIMIZERS[optimizer]()

    def not_decayed(self) -> list[Any]:
        """Biases and the like; asked when the optimizer is made, too."""
        return [v for v in self.sample.model.trainable_variables if len(v.shape) < 2]

    def watched(self) -> list[Any]:
        return self.trained

    def predict(self, x: Any) -> Any:
        return self.model(x, training=True)

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return (self.loss or self.sample.loss)(y, prediction)

    def terms(self) -> list[Any]:
        return [regulariser(variable.value) for variable, regulariser in self.sample.regularised]

    def total(self, y: Any, prediction: Any) -> Any:
        return tf.add_n([self.data_loss(y, prediction), *self.terms()])

    def scale_loss(self, total: Any) -> Any:
        return total * self.scale if self.scaled else total

    def gradients(self, tape: tf.GradientTape, total: Any) -> Gradients:
        variables = [variable.value for variable in self.watched()]
        if not self.scaled:
            return list(tape.gradient(total, variables))
        gradients = [g / self.scale for g in tape.gradient(total, variables)]
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(g)) for g in gradients])
        self.scale.assign(self.scale * tf.where(finite, 1.0, 0.5))
        return gradients

    def treat(self, gradients: Gradients) -> Gradients:
        if isinstance(self.clipping, tuple):
            return [tf.clip_by_value(g, *self.clipping) for g in gradients]
        if "norm" in self.clipping:
            return [tf.clip_by_norm(g, self.clipping["norm"]) for g in gradients]
        return list(tf.clip_by_global_norm(gradients, self.clipping["global_norm"])[0])

    def apply(self, gradients: Gradients, variables: Sequence[Any]) -> None:
        self.optimizer.apply(gradients, variables)

    def measure(self, y: Any, prediction: Any) -> None:
        self.metric.update_state(y, prediction)

    # -- the whole ----------------------------------------------------------------------------

    def step(self, x: Any, y: Any, *_: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for variable in self.watched():
                tape.watch(variable.value)
            prediction = self.predict(x)
            total = self.scale_loss(self.total(y, prediction))
        gradients = self.treat(self.gradients(tape, total))
        self.apply(gradients, self.watched())
        self.measure(y, prediction)
        return total


class Guarded(Training):
    """A flag chooses between a step and one on another loss, without regularisation."""

    other_loss = keras.losses.LogCosh()

    def expected(self) -> dict[str, Any]:
        on = super().expected()
        off = {**on, "loss": self.other_loss, "regularization": 0}
        return {"guards": [(self.flag, {True: on, False: off})]}

    def condition(self) -> Any:
        return tf.identity(self.flag)

    def on(self, x: Any, y: Any) -> Any:
        return super().step(x, y)

    def off(self, x: Any, y: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for variable in self.trained:
                tape.watch(variable.value)
            prediction = self.predict(x)
            loss = self.other_loss(y, prediction)
        self.apply(self.treat(self.gradients(tape, loss)), self.trained)
        self.measure(y, prediction)
        return loss

    def step(self, x: Any, y: Any, *_: Any) -> Any:
        return tf.cond(self.condition(), lambda: self.on(x, y), lambda: self.off(x, y))

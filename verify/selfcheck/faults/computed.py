"""Faults in what is computed at all, and when: told by fingerprints and conditions."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from verify.selfcheck.planted import planted
from verify.selfcheck.samples import Sample
from verify.selfcheck.training import Guarded, Training
from verify.step_facts import facts


class Fingerprinted(Training):
    """The fingerprint of the step without a fault is asked for."""

    def expected(self) -> dict[str, Any]:
        correct = Training.__new__(Training)
        correct.__dict__.update(self.__dict__)
        step = tf.function(correct.step, autograph=False)
        found = facts(step, self.sample.x, self.sample.y, model=self.model)
        return {"fingerprint": str(found.fingerprint)}


@planted("fingerprint", "something else is computed")
class Squashed(Fingerprinted):
    """Predictions are squashed before they are compared with targets."""

    def predict(self, x: Any) -> Any:
        return tf.tanh(super().predict(x))


@planted("fingerprint", "something else is computed")
class Rescaled(Fingerprinted):
    """What the model is called on is another unit."""

    def predict(self, x: Any) -> Any:
        return super().predict(x / 255.0)


class Conditioned(Guarded):
    """The flag is set by the step, from a count of what was before."""

    def __init__(self, sample: Sample, optimizer: str) -> None:
        super().__init__(sample, optimizer)
        self.count = tf.Variable(0, trainable=False, name="count")

    def expected(self) -> dict[str, Any]:
        return {"conditions": {"flag": "count < 3"}}

    def chosen(self) -> Any:
        return self.count < 3

    def step(self, x: Any, y: Any) -> Any:
        self.flag.assign(self.chosen())
        return super().step(x, y)


@planted("conditions", "they differ where count = 3")
class OneLater(Conditioned):
    """The other branch begins one step later."""

    def chosen(self) -> Any:
        return self.count <= 3


@planted("conditions", "they differ where count = ")
class OtherWayRound(Conditioned):
    """Branches are chosen the other way round."""

    def chosen(self) -> Any:
        return self.count >= 3

"""Faults in how gradients are accumulated over several calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from verify.selfcheck.planted import planted
from verify.selfcheck.samples import Sample
from verify.selfcheck.training import Gradients, Training


class Accumulates(Training):
    """Gradients of three calls are added up, and their mean is applied."""

    calls = 3
    # They are clipped in each call; what is updated is the mean of several that are.
    clipping: Any = (-1.0, 1.0)

    def __init__(self, sample: Sample, optimizer: str) -> None:
        super().__init__(sample, optimizer)
        self.sums = [
            tf.Variable(tf.zeros(v.shape), trainable=False, name=f"sum_{i}")
            for i, v in enumerate(self.trained)
        ]
        self.seen = tf.Variable(0, trainable=False, name="seen")

    def expected(self) -> dict[str, Any]:
        rest = {key: value for key, value in super().expected().items() if key != "clipping"}
        return {**rest, "accumulated": 3}

    def add(self, gradients: Gradients) -> None:
        for total, gradient in zip(self.sums, gradients, strict=True):
            total.assign_add(gradient)

    def is_due(self) -> Any:
        return self.seen >= self.calls

    def mean(self, total: Any) -> Any:
        return total / 3.0

    def empty(self) -> None:
        for total in self.sums:
            total.assign(tf.zeros_like(total))
        self.seen.assign(0)

    def update(self, gradients: Gradients, variables: Sequence[Any]) -> None:
        means = [self.mean(total.read_value()) for total in self.sums]
        self.optimizer.apply(means, variables)

    def apply(self, gradients: Gradients, variables: Sequence[Any]) -> None:
        self.add(gradients)
        self.seen.assign_add(1)

        def update() -> int:
            self.update(gradients, variables)
            self.empty()
            return 0

        tf.cond(self.is_due(), update, lambda: 0)


@planted("accumulated", "by the sum of their gradients")
class AppliesTheSum(Accumulates):
    """The sum of several gradients, applied instead of their mean."""

    def mean(self, total: Any) -> Any:
        return total


@planted("accumulated", "by 1.5 times the mean")
class DividesByTwo(Accumulates):
    """The sum of three gradients, divided by two."""

    def mean(self, total: Any) -> Any:
        return total / 2.0


@planted("accumulated", "by 2 times the mean")
class DoublesTheMean(Accumulates):
    """A mean of gradients, doubled before it is applied."""

    def mean(self, total: Any) -> Any:
        return 2.0 * super().mean(total)


@planted("accumulated", "after each 4 calls")
class WaitsOnceMore(Accumulates):
    """A counter that lets one call more pass before an update."""

    def is_due(self) -> Any:
        return self.seen > self.calls


@planted("accumulated", "after each 2 calls")
class CountsFromOne(Accumulates):
    """A counter that begins at one after the first update."""

    def empty(self) -> None:
        super().empty()
        self.seen.assign(1)


@planted("accumulated", "what is added up is never emptied")
class NeverEmpties(Accumulates):
    """Sums of gradients that are never emptied."""

    def empty(self) -> None:
        self.seen.assign(0)


@planted("accumulated", "it does not begin at zero")
class BeginsAtOne(Accumulates):
    """Sums of gradients that begin at one."""

    def empty(self) -> None:
        super().empty()
        for total in self.sums:
            total.assign(tf.ones_like(total))


@planted("accumulated", r"never emptied: [^,\n]*\n")
class ForgetsOne(Accumulates):
    """Sums of gradients of which one is not emptied."""

    def empty(self) -> None:
        first = self.sums[0].read_value()
        super().empty()
        self.sums[0].assign(first)


@planted("accumulated", "found +an update in each call")
class AppliesEachCall(Accumulates):
    """A sum of gradients that is applied in each call."""

    def apply(self, gradients: Gradients, variables: Sequence[Any]) -> None:
        self.add(gradients)
        self.update(gradients, variables)
        self.seen.assign_add(1)

        def empty() -> int:
            self.empty()
            return 0

        tf.cond(self.is_due(), empty, lambda: 0)


# Each update is by gradients of calls before alone: within one call, nothing is trained by one.
@planted(
    "accumulated",
    "without that of the last call",
    also=("watched", "loss", "regularization", "decayed"),
)
class LeavesOutTheLast(Accumulates):
    """Sums of gradients that those of the updating call come too late for."""

    def apply(self, gradients: Gradients, variables: Sequence[Any]) -> None:
        self.seen.assign_add(1)

        def update() -> int:
            self.update(gradients, variables)
            self.empty()
            return 0

        def add() -> int:
            self.add(gradients)
            return 0

        tf.cond(self.is_due(), update, add)


@planted("accumulated", "by the gradient of the last call alone")
class AppliesTheLast(Accumulates):
    """The last of several gradients, applied alone."""

    def update(self, gradients: Gradients, variables: Sequence[Any]) -> None:
        self.optimizer.apply(gradients, variables)


# Keras' optimizers once decayed so: keras-team/keras#19990.
@planted("accumulated", "in each of the calls between it is changed", also=("decayed",))
class DecaysEachCall(Accumulates):
    """A decay of weights in each call, though only some of them update."""

    def apply(self, gradients: Gradients, variables: Sequence[Any]) -> None:
        for variable in variables:
            variable.assign_sub(1e-3 * variable)
        super().apply(gradients, variables)


class AppliesAtOnce(Training):
    """Nothing is accumulated."""

    def expected(self) -> dict[str, Any]:
        rest = {key: value for key, value in super().expected().items() if key != "clipping"}
        return {**rest, "accumulated": None}


@planted("accumulated", "after each 2 calls, by the mean of their gradients")
class AccumulatesUnasked(AppliesAtOnce):
    """Gradients of two calls are averaged where nothing should wait."""

    def __init__(self, sample: Sample, optimizer: str) -> None:
        super().__init__(sample, optimizer)
        self.before = [
            tf.Variable(tf.zeros(v.shape), trainable=False, name=f"before_{i}")
            for i, v in enumerate(self.trained)
        ]
        self.second = tf.Variable(False, trainable=False, name="second")

    def apply(self, gradients: Gradients, variables: Sequence[Any]) -> None:
        def update() -> int:
            pairs = zip(self.before, gradients, strict=True)
            self.optimizer.apply([0.5 * (one + other) for one, other in pairs], variables)
            return 0

        def keep() -> int:
            for before, gradient in zip(self.before, gradients, strict=True):
                before.assign(gradient)
            return 0

        tf.cond(self.second, update, keep)
        self.second.assign(tf.logical_not(self.second))

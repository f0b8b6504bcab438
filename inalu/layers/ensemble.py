"""Many independent copies of a layer, trained at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import ops

from inalu.layers.base import ArithmeticLayer


class Ensemble(keras.layers.Layer):
    """Copies of an arithmetic layer, each with weights and inputs of its own, in one graph.

    Where a train step of one small layer costs as much as starting its operations, one of many
    copies costs little more. Nothing couples them, if the loss is a sum over copies and the
    optimizer treats each number by itself: every copy is trained as it would be alone.

    Args:
        template: says what a copy is; not built, and not trained itself.
        copies: C, how many.
        penalty: the regulariser of one copy, a function of its weights by name (tensors without the
            first axis) to a scalar; the template's by default.
        **kwargs: of `keras.layers.Layer`.

    Attributes:
        weights by the names of the template's, each (C, ...).
        active: (C,) float32 variable, 1 for the copies that are regularised, as all are at first,
            and 0 for the others.

    Input shape: (C, batch, I). Output shape: (C, batch, O).

    Raises:
        ValueError: copies is below 1.
    """

    def __init__(
        self, template: ArithmeticLayer, copies: int, *, penalty: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if copies < 1:
            raise ValueError(f"Ensemble: copies is {copies}, expected at least 1.")
        self.copies = copies
        # In a function, lest Keras take its weights for ours.
        self._template: Callable[[], ArithmeticLayer] = lambda: template
        self._penalty = penalty or template._penalty

    def build(self, input_shape: Sequence[int | None]) -> None:
        template = self._template()
        template.build(input_shape[1:])
        self._specs = template._weight_specs(int(input_shape[-1] or 0))
        drawn = self._drawn()
        for spec in self._specs:
            weight = self.add_weight(
                name=spec.name,
                shape=(self.copies, *spec.shape),
                initializer="zeros",
                constraint=spec.constraint,
            )
            weight.assign(drawn[spec.name])
            setattr(self, spec.name, weight)
        self.active = self.add_weight(
            name="active", shape=(self.copies,), initializer="ones", trainable=False
        )

    def _drawn(self) -> dict[str, npt.NDArray[Any]]:
        """New initial values of all copies, of the template's kind."""
        template, values = self._template(), []
        for _ in range(self.copies):
            template.reinitialize()
            values.append(template._values())
        return {spec.name: np.stack([v[spec.name] for v in values]) for spec in self._specs}

    def reinitialize(self, which: npt.NDArray[np.bool_], drawn: Any = None) -> None:
        """Draw new weights for some copies.

        Args:
            which: (C,), true for those that start afresh.
            drawn: function of a shape to values, instead of the template's initial values.
        """
        values = self._drawn() if drawn is None else {}
        for spec in self._specs:
            weight = getattr(self, spec.name)
            new = values[spec.name] if drawn is None else drawn(weight.shape)
            mask = which.reshape(-1, *[1] * len(spec.shape))
            weight.assign(np.where(mask, new, ops.convert_to_numpy(weight)))

    def follow(self, iterations: Any) -> None:
        """Let a schedule of the template's strength count these steps."""
        self._template().follow(iterations)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        template = self._template()
        weights = {s.name: ops.convert_to_tensor(getattr(self, s.name)) for s in self._specs}

        def outputs(part: Any) -> Any:
            return template._outputs(part[0], **part[1])

        def penalty(part: Any) -> Any:
            return self._penalty(**part)

        first = {name: weight[0] for name, weight in weights.items()}
        if self._penalty(**first) is not None:
            penalties = tf.vectorized_map(penalty, weights)
            strength = template._current_strength(training)
            self.add_loss(strength * ops.sum(self.active * penalties))
        return tf.vectorized_map(outputs, (inputs, weights))

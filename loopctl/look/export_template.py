"""The part of an exported module that is the same for all of them; its text is copied there.

Imports nothing of loopctl, except what stands in the copy as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf


class Column:
    """Values of one name in a trainer's history."""

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def last(self) -> Any:
        return self.mean(1)

    def mean(self, window: int) -> Any:
        seen = self.values[-window:]
        return np.mean(seen, dtype=np.float64) if seen else np.float64("nan")


class When:
    """What conditions see of a trainer: counters, and columns of its history by name."""

    always = np.True_

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def every(self, period: int) -> Any:
        return np.int64(self.trainer.batches) % period == 0

    def linear(self, start: float, end: float, over: float, of: Any = None) -> Any:
        done = np.clip(np.float64(self.batches if of is None else of) / over, 0.0, 1.0)
        return start * (1 - done) + end * done

    def cosine(self, start: float, end: float, over: float, of: Any = None) -> Any:
        done = (1 - np.cos(np.pi * self.linear(0.0, 1.0, over, of))) / 2
        return start * (1 - done) + end * done

    def piecewise(self, boundaries: list[float], values: list[float], of: Any = None) -> Any:
        count = np.float64(self.batches if of is None else of)
        found = np.float64(values[np.searchsorted(boundaries, count, side="right")])
        return count if np.isnan(count) else found

    def minimum(self, left: Any, right: Any) -> Any:
        return np.minimum(left, right)

    def maximum(self, left: Any, right: Any) -> Any:
        return np.maximum(left, right)

    def since_best(
        self, column: Column, window: int = 1, delta: float = 0.0, mode: str = "min"
    ) -> Any:
        sign = 1.0 if mode == "min" else -1.0
        best, since = np.inf, 0
        for i in range(len(column.values)):
            value = sign * float(np.mean(column.values[max(i + 1 - window, 0) : i + 1]))
            best, since = (value, 0) if value < best - delta else (best, since + 1)
        return np.int64(since)

    def plateau(self, column: Column, patience: int, **settings: Any) -> Any:
        return self.since_best(column, **settings) >= patience

    def column(self, name: str) -> Column:
        return Column([float(step[name]) for step in self.trainer.reinit_history])

    def __getattr__(self, name: str) -> Any:
        if name in Trainer.COUNTERS:
            return np.int64(getattr(self.trainer, name))
        return self.column(name)


class Trainer:
    """Trains a model step by step, as the config did that this was exported from.

    Attributes:
        epochs, batches, batches_in_epochs: finished epochs and train steps.
        history: one mapping per train step: losses, metrics and control states by name.
        reinit_epochs, reinit_batches, reinit_history: the same since the others were assigned.
    """

    COUNTERS = ("batches", "batches_in_epochs", "epochs", "reinit_batches", "reinit_epochs")

    def __init__(
        self,
        model: Any,
        conditions: Mapping[str, Callable[[Trainer], bool]],
        substeps: Callable[..., Callable[[Any], Mapping[str, Any]]],
        expressions: Mapping[str, Callable[[Trainer], float]] | None = None,
    ) -> None:
        self.model, self.conditions, self.expressions = model, conditions, expressions or {}
        self.values = {name: tf.Variable(0.0, trainable=False) for name in self.expressions}
        self.averages: list[Any] = []  # of weights
        more = () if expressions is None else (self.values, self.averages)
        self.control_variables = {
            name: tf.Variable(False, trainable=False, name=name) for name in conditions
        }
        self.step = tf.function(substeps(model, self.control_variables, *more), autograph=False)
        self.epochs = self.batches = self.batches_in_epochs = 0
        self.reinit_start = 0
        self.history: list[dict[str, Any]] = []

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in ("epochs", "batches"):
            super().__setattr__(f"reinit_{name}", 0)
        elif name == "history":
            super().__setattr__("reinit_start", len(value))

    @property
    def reinit_history(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.history[self.reinit_start :]
        return rows

    def train_on_batch(self, data: Any) -> dict[str, Any]:
        """One train step on a batch ``(x, y)`` or ``(x, y, sample_weight)``; its values by name."""
        for name, condition in self.conditions.items():
            self.control_variables[name].assign(bool(condition(self)))
        for name, expression in self.expressions.items():
            self.values[name].assign(float(expression(self)))
        values = self.step(tf.nest.map_structure(tf.convert_to_tensor, data))
        row = {name: value.numpy().item() for name, value in values.items()}
        self.history.append(row)
        for name in ("batches", "reinit_batches", "batches_in_epochs"):
            self.__dict__[name] += 1
        return row

    def fit(self, batches: Iterable[Any], epochs: int = 1) -> list[dict[str, Any]]:
        """Trains on all `batches`, `epochs` times; returns the history."""
        for _ in range(epochs):
            self.model.reset_metrics()
            self.batches_in_epochs = 0
            for data in batches:
                self.train_on_batch(data)
            self.__dict__["epochs"] += 1
            self.__dict__["reinit_epochs"] += 1
        # As Keras' fit ends: averages of weights take their place, if the optimizer has any.
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        for average in self.averages:
            average.finalize()
        return self.history


class Parts:
    """Named parts of the losses of objectives; NaN in a step in which they were not computed."""

    def __init__(self) -> None:
        self.variables: dict[str, Any] = {}

    def of(self, action: str, results: tuple[Any, Mapping[str, Any]]) -> Any:
        """Keeps the parts that a substep of `action` has computed; returns its loss."""
        loss, parts = results
        for name, part in parts.items():
            key = f"{action}_{name}"
            if key not in self.variables:
                with tf.init_scope():
                    self.variables[key] = tf.Variable(float("nan"), trainable=False)
            self.variables[key].assign(tf.cast(part, tf.float32))
        return tf.cast(loss, tf.float32)

    def taken(self) -> dict[str, Any]:
        """What was kept in this step, by name."""
        found = {name: variable.read_value() for name, variable in self.variables.items()}
        for variable in self.variables.values():
            variable.assign(float("nan"))
        return found

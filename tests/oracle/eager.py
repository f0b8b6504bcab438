"""The second oracle: a plain eager training loop that takes a config at its word.

Shares no code with loopctl or verify. It computes what a config means with nothing but a tape and
an optimizer, so that a bug in generated source or graphs can't hide here too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf


@dataclasses.dataclass
class Context:
    """What conditions see as `self`."""

    model: keras.Model
    epochs: int = 0
    batches: int = 0
    batches_in_epochs: int = 0
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @property
    def reinit_history(self) -> list[dict[str, Any]]:
        return self.history

    @property
    def reinit_epochs(self) -> int:
        return self.epochs

    @property
    def reinit_batches(self) -> int:
        return self.batches


def train(
    model: keras.Model,
    config: Mapping[str, Any],
    batches: Iterable[tuple[Any, ...]],
    epochs: int = 1,
) -> list[dict[str, Any]]:
    """Trains `model` in place and returns one mapping of losses and control states per step."""
    context = Context(model)
    model.optimizer.build(model.trainable_variables)
    for _ in range(epochs):
        context.batches_in_epochs = 0
        for batch in batches:
            states = {name: bool(action["cond"](context)) for name, action in config.items()}
            losses = {
                f"loss_{name}": substep(model, config[name][state], batch)
                if state in config[name]
                else float("nan")
                for name, state in states.items()
            }
            first = next(iter(losses.values()))
            context.history.append({"loss": first, **losses, **states})
            context.batches += 1
            context.batches_in_epochs += 1
        context.epochs += 1
    return context.history


def substep(model: keras.Model, settings: Mapping[str, Any], batch: tuple[Any, ...]) -> float:
    """One forward and backward pass as one branch of a config says; returns its loss."""
    x, y, *weights = (tf.convert_to_tensor(part) for part in batch)
    variables = list(model.trainable_variables)
    if "variables" in settings:
        variables = settings["variables"](model)
    elif "excluded_variables" in settings:
        excluded = {variable.path for variable in settings["excluded_variables"](model)}
        variables = [variable for variable in variables if variable.path not in excluded]
    with tf.GradientTape() as tape:
        prediction = model(x, training=True)
        total = data_loss(settings.get("loss", model.loss), y, prediction, *weights)
        if settings.get("regularize", False):
            for term in model.losses:
                total = total + term
    pairs = []
    for variable, gradient in zip(
        variables, tape.gradient(total, [v.value for v in variables]), strict=True
    ):
        if gradient is None:
            continue
        if "clipping" in settings:
            low, high = settings["clipping"]
            gradient = tf.minimum(tf.maximum(gradient, low), high)
        pairs.append((gradient, variable))
    if pairs:
        model.optimizer.apply_gradients(pairs)
    return float(total)


def data_loss(loss: Any, y: Any, prediction: Any, weight: Any = None) -> Any:
    """The mean, over all samples, of a loss: weighted per sample, zero for None and False."""
    if loss is None or loss is False:
        return tf.constant(0.0)
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    if isinstance(loss, keras.losses.Loss):
        return loss(y, prediction, weight)
    values = loss(y, prediction)
    if weight is not None:
        values = values * weight
    return tf.reduce_mean(values)

"""Training on several workers, where Keras' own ``fit`` fails.

Under ``tf.distribute.MultiWorkerMirroredStrategy``, Keras 3's ``fit`` fails before it calls any
callback: it reduces a batch eagerly, which that strategy can't do for a batch of one local replica
("Attempt to convert a value (PerReplica...) with an unsupported type"). `fit` of this module makes
the same calls to the same callbacks, for a data set that the strategy distributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from loopctl.config import ConfigError
from loopctl.run import LoopControllerCallback, build_metrics

__all__ = ["fit"]


def fit(
    model: keras.Model,
    dataset: tf.data.Dataset,
    *,
    callbacks: Sequence[keras.callbacks.Callback],
    epochs: int = 1,
    initial_epoch: int = 0,
    verbose: int | str = "auto",
) -> keras.callbacks.History:
    """Trains a controlled `model` on all workers of its strategy; returns Keras' history.

    Every worker calls this with the same arguments. All workers take the same branches: graph
    predicates see the losses of the global batch, and a Python condition must only depend on what
    is the same on all workers, such as the callback's counters and history.

    Args:
        model: compiled and built, in the scope of the strategy.
        dataset: finite, with global batches ``(x, y)`` or ``(x, y, sample_weight)``. Its options
            determine how it is sharded among the workers.
        callbacks: as for ``model.fit``; one of them has to be a `LoopControllerCallback`.
        epochs: the number of the last pass through `dataset`, counted from 1.
        initial_epoch: the number of passes that are done already, unless Keras'
            ``BackupAndRestore`` restores another one.
        verbose: as for ``model.fit``.

    Returns:
        The logs of each epoch, as a Keras ``History``.

    Raises:
        ConfigError: there is no `LoopControllerCallback`, or the model is not compiled and built.
    """
    if not any(isinstance(callback, LoopControllerCallback) for callback in callbacks):
        raise ConfigError(
            "there is no LoopControllerCallback among the callbacks: there is nothing to control"
        )
    if not (model.compiled and model.built):
        raise ConfigError(f"model {model.name!r} must be compiled and built before it is trained")
    strategy = model.distribute_strategy
    # Among workers that is not possible inside of a train step.
    build_metrics(model, tf.nest.map_structure(_zeros, dataset.element_spec))
    distributed = strategy.experimental_distribute_dataset(dataset)
    steps = int(dataset.cardinality())
    every = keras.callbacks.CallbackList(
        list(callbacks),
        add_history=True,
        add_progbar=verbose != 0,
        model=model,
        verbose=verbose,
        epochs=epochs,
        steps=steps if steps >= 0 else None,
    )
    model.stop_training = False
    every.on_train_begin()
    logs: Any = None
    # Private: where Keras' own fit looks for what BackupAndRestore restored as training began.
    initial_epoch = model._initial_epoch or initial_epoch
    for epoch in range(initial_epoch, epochs):
        model.reset_metrics()
        every.on_epoch_begin(epoch)
        logs = _epoch(model, iter(distributed), every)
        every.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    if epochs > 0:  # as `fit` does
        model.optimizer.finalize_variable_values(model.trainable_variables)
    every.on_train_end(logs)
    history: keras.callbacks.History = model.history
    return history


def _epoch(model: keras.Model, iterator: Any, callbacks: Any) -> dict[str, float]:
    logs: Any = {}
    step = 0
    while not model.stop_training:
        callbacks.on_train_batch_begin(step)
        try:
            logs = model.train_function(iterator)
        except StopIteration:
            break
        step += model.steps_per_execution
        callbacks.on_train_batch_end(step - 1, logs)
    return {name: float(value) for name, value in logs.items()}


def _zeros(spec: tf.TensorSpec) -> Any:
    return tf.zeros([size or 1 for size in spec.shape], spec.dtype)

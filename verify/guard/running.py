"""The one step of a model that ``fit`` is about to run, and the same step with monitors."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from loopctl_shared import CONTROLLER
from verify.graphs import model_of, one_step_of
from verify.guard.monitors import Monitors
from verify.step import Step, capture


def is_controlled(model: keras.Model, function: Any) -> bool:
    """Whether a train function runs the steps that a `LoopControllerCallback` has made.

    A model keeps these when its ``fit`` is over, and a later one may run without them.
    """
    controller = getattr(model, CONTROLLER, None)
    return controller is not None and getattr(function, "__self__", None) is controller


def step_that_runs(model: keras.Model, function: Any, iterator: Any) -> Step | None:
    """The step that a train function runs on each batch of an iterator; None if it can't be told.

    It is the function's own trace, where it has one: it is not traced again to run.

    Raises:
        TypeError: what is iterated over does not say what its batches are.
    """
    given = getattr(iterator, "element_spec", None)
    if given is None:
        raise TypeError(
            f"a Guard can't tell what the batches of {type(iterator).__name__} are: train on "
            "arrays, on a keras.utils.PyDataset or on a tf.data.Dataset"
        )
    # Keras marks a missing element of a batch by an Optional, and hands steps None.
    spec = keras.tree.map_structure(
        lambda part: None if isinstance(part, tf.OptionalSpec) else part, given
    )
    controlled = is_controlled(model, function)
    if not controlled and model_of(function) is not model:
        return None  # a controlled model has no step before its first batch has built it, say
    one = None if controlled else one_step_of(function)
    if one is None:
        strategy = model.distribute_strategy
        step = capture(model, _of_one_replica(spec, strategy))
        # Of several workers, each has the replicas of its own in its graph.
        return dataclasses.replace(step, workers=strategy.num_replicas_in_sync // step.replicas)
    step = capture(one.get_concrete_function(spec), model=model)
    return dataclasses.replace(step, name=f"{model.name}.train_function")


def monitored_train_function(model: keras.Model, monitors: Monitors, plain: Any) -> Any:
    """A train function, as Keras makes it, of the model's own train step with monitors around.

    Where there is one replica, the step is the trace that `plain` runs, which was checked. Among
    several, and where gradients are looked at on their way, it is traced again.

    Args:
        plain: the train function without monitors.
    """
    step = model.train_step
    among = (
        tf.distribute.has_strategy()
        or model.distribute_strategy is not tf.distribute.get_strategy()
    )
    if not among and monitors.clips is None:
        step = one_step_of(plain) or step
    # Past Keras' attribute tracking, and only while Keras looks.
    object.__setattr__(model, "train_step", monitors.around(step))
    try:
        model.make_train_function(force=True)
        return model.train_function
    finally:
        object.__delattr__(model, "train_step")
        model.train_function = plain


def _of_one_replica(spec: Any, strategy: Any) -> Any:
    if strategy.num_replicas_in_sync == 1:
        return spec
    return tf.nest.map_structure(
        lambda part: tf.nest.flatten(part, expand_composites=True)[0], spec
    )

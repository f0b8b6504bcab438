"""Moving averages of weights: kept aside, or in the weights of another model."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from loopctl.compile.selection import layer_of
from loopctl.config import ConfigError, Substep


class Average:
    """Averages that follow the weights of a branch, at each of its updates.

    Made in the scope of the model's strategy.

    Args:
        decay: what remains of an average in an update.
        weights: which are followed.
        into: the variables that follow; without them averages are kept aside, and begin with what
            the weights are after the first update.
    """

    def __init__(self, decay: float, weights: list[Any], into: list[Any] | None = None) -> None:
        self.decay, self.weights, self.into = decay, weights, into
        self.seen = tf.Variable(0, trainable=False, dtype=tf.int64, name="averaged_updates")
        self.averages = into or [
            tf.Variable(np.asarray(tf.convert_to_tensor(weight)), trainable=False, name="average")
            for weight in weights
        ]

    def follow(self, started: Any = True) -> None:
        """Moves the averages, in a replica; until they have `started` they are copies."""
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync == 1:
            self._follow(started)
            return

        def between(strategy: Any, started: Any) -> None:
            self._follow(strategy.experimental_local_results(started)[0])

        context.merge_call(between, args=(started,))

    def _follow(self, started: Any) -> None:
        goes_on = tf.cast(started, tf.bool)
        if self.into is None:
            goes_on = goes_on & (self.seen > 0)
        decay = tf.where(goes_on, self.decay, 0.0)
        for average, weight in zip(self.averages, self.weights, strict=True):
            new = tf.convert_to_tensor(weight)
            if new.dtype.is_floating:
                part = tf.cast(decay, new.dtype)
                new = part * tf.convert_to_tensor(average) + (1 - part) * new
            average.assign(new)
        self.seen.assign_add(1)

    def finalize(self) -> None:
        """Puts averages that are kept aside in the place of the weights."""
        if self.into is None and int(tf.convert_to_tensor(self.seen)):
            for average, weight in zip(self.averages, self.weights, strict=True):
                weight.assign(tf.convert_to_tensor(average))

    @property
    def variables(self) -> list[Any]:
        """What is not saved with the model."""
        return [self.seen, *([] if self.into else self.averages)]


def followed(
    substep: Substep, model: keras.Model, selected: list[Any]
) -> tuple[list[Any], list[Any] | None]:
    """The weights that a substep averages, and those of another model that follow, if any.

    Args:
        selected: what the substep trains.

    Raises:
        ConfigError: they do not go in pairs, or the followers are trained by the substep.
    """
    average = substep.average
    if average is None or average.into is None:
        return selected, None
    where = substep.place("average", "into")
    target = layer_of(average.into, model, where)
    if average.of is None:
        told = "the branch's variables"
        weights = selected
        # Of a frozen layer, what was frozen counts as well; moving statistics are told by name.
        kinds = {id(v) for layer in _each(target) for v in layer._trainable_variables}
        into = [v for v in target.weights if id(v) in kinds]
    else:
        source = layer_of(average.of, model, substep.place("average", "of"))
        told, weights, into = f"the weights of {source.name!r}", source.weights, target.weights
    shapes, others = ([tuple(v.shape) for v in group] for group in (weights, into))
    if shapes != others:
        hint = "" if average.of else ' Say by "of" which model it follows'
        raise ConfigError(
            f"{where} is {target.name!r}, whose variables have the shapes {others}, and {told}, "
            f"which they would follow, of {shapes}: as many variables of the same shapes are "
            f"needed.{hint}"
        )
    trained = {id(v) for v in selected}
    both = [v.path for v in into if id(v) in trained]
    if both:
        raise ConfigError(
            f"{where} is {target.name!r}, but {', '.join(both)} in it are trained by the same "
            'branch: leave them out of "variables", or set trainable = False'
        )
    return list(weights), list(into)


def _each(layer: Any) -> list[Any]:
    """A layer and all in it. Private: see `loopctl.compile.selection.layers_of`."""
    return list(layer._flatten_layers(include_self=True, recursive=True))


def check_kept_aside(substeps: tuple[Substep, ...], selections: dict[str, list[Any]]) -> None:
    """Whether each variable has at most one average that takes its place in the end.

    Raises:
        ConfigError: naming two branches.
    """
    places: dict[int, str] = {}
    for substep in substeps:
        if substep.average is None or substep.average.into is not None:
            continue
        where = substep.place("average")
        for variable in selections[substep.name]:
            other = places.setdefault(id(variable), where)
            if other != where:
                raise ConfigError(
                    f"{where} and {other} both average {variable.path}: when training ends, one "
                    'average replaces it. Leave one out, or say with "into" which model follows'
                )

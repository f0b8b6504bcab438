"""What a Keras model itself says of its regularisation and its variables, by tracing it."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from verify.graphs import is_model, key_of, resource
from verify.match import Pattern
from verify.references.added_losses import AddedLoss, ModelCall, may_add_losses, model_call
from verify.references.modes import Keys, LayerVariables, Outputs, layers_of, outputs_in
from verify.references.users_code import Untraced, traced


@dataclasses.dataclass(frozen=True)
class Term:
    """One regularisation term of a model: a loss it adds, by one variable it depends on."""

    key: int | str
    loss: AddedLoss


class ModelReference:
    """References traced from one model, on the specs `x` of its inputs, each at most once.

    `x` is None where the arguments of a step do not tell which of them that is.

    `trainable` holds the keys of the variables that the model trains. `untraced` says why the model
    could not be called on `x`, once that has been tried: nothing is known then of what it adds, or
    of what its outputs depend on.
    """

    def __init__(self, model: Any, x: Any) -> None:
        self.model, self.x = model, x
        self.untraced = ""
        self.trainable = frozenset[int | str](
            {key_of(variable) for variable in model.trainable_variables}
        )

    @functools.cached_property
    def losses(self) -> tuple[Any, ...]:
        """The losses that the model was compiled with, one per output that has one."""
        flat = tf.nest.flatten(getattr(self.model, "loss", None))
        return tuple(loss for loss in flat if loss is not None)

    @property
    def library(self) -> Any:
        """The Keras that the model is of: what names of losses mean is up to it."""
        packages = (base.__module__.partition(".")[0] for base in type(self.model).__mro__)
        return sys.modules[next(name for name in packages if name in ("keras", "tf_keras"))]

    @functools.cached_property
    def regularisers(self) -> tuple[tuple[int | str, Any], ...]:
        """Keys of regularised trainable variables, with their regularisers (Keras 3 tells)."""
        return tuple(
            (key_of(variable), regulariser)
            for variable in self.model.trainable_variables
            if (regulariser := getattr(variable, "regularizer", None)) is not None
        )

    @property
    def added_losses(self) -> tuple[AddedLoss, ...]:
        """What the model adds when it is called, with their gradients; none if `untraced`."""
        return self._call.added if may_add_losses(self.model) else ()

    @functools.cached_property
    def output_ranks(self) -> frozenset[int] | None:
        """The ranks that its outputs have; None where only a call of the model would tell."""
        if not _is_of_keras_layers(self.model):
            return None
        outputs = tf.nest.flatten(getattr(self.model, "outputs", None) or [])
        return frozenset(len(output.shape) for output in outputs) or None

    @property
    def returned(self) -> tuple[Pattern | None, ...]:
        """How the model computes each of its outputs while it trains; nothing if `untraced`."""
        return self._call.outputs

    @functools.cached_property
    def layers(self) -> tuple[LayerVariables, ...]:
        """The layers that have variables."""
        return tuple(layers_of(self.model))

    @property
    def stateful(self) -> tuple[LayerVariables, ...]:
        """Those that have state, so that their mode may matter; not those that are frozen."""
        return tuple(layer for layer in self.layers if layer.state)

    @functools.cached_property
    def in_training(self) -> Outputs | None:
        """Its outputs while it trains, those that are more than what it is fed; None of none."""
        patterns = [pattern for pattern in self.returned if pattern is not None]
        roots = tuple(root for pattern in patterns for root in pattern.roots)
        return Outputs(patterns[0].flat, roots) if patterns else None

    @functools.cached_property
    def in_inference(self) -> Outputs | None:
        """Its outputs while it infers; None if `untraced`."""
        try:
            return outputs_in(self.model, self._inputs, training=False)
        except Untraced as why:
            self.untraced = str(why)
            return None

    @property
    def used_in_training(self) -> Keys:
        """Keys of the variables that its outputs depend on while it trains; none if `untraced`."""
        return frozenset() if self.in_training is None else self.in_training.used

    @property
    def used_in_inference(self) -> Keys:
        """The same while it infers."""
        return frozenset() if self.in_inference is None else self.in_inference.used

    @property
    def _inputs(self) -> Any:
        if self.x is None:
            raise Untraced("the arguments of the step do not tell which of them is x")
        return self.x

    @functools.cached_property
    def _call(self) -> ModelCall:
        try:
            return model_call(self.model, self._inputs)
        except Untraced as why:
            self.untraced = str(why)
            return ModelCall()

    @property
    def doubts(self) -> tuple[str, ...]:
        """What to add to a verdict that leaned on this reference where the model is `untraced`."""
        if not self.untraced:
            return ()
        told = "the model can't be called on x as it is fed; what it adds, and what its outputs "
        return (f"{told}depend on, was not looked for: {self.untraced}",)

    @functools.cached_property
    def terms(self) -> tuple[Term, ...]:
        """Each of ``model.losses`` by each trainable variable that it depends on."""
        return tuple(Term(key, loss) for loss in self.added_losses for key in loss.keys)

    @functools.cached_property
    def _reached(self) -> dict[int | str, frozenset[int | str]]:
        """Per output (by position and, where it has one, by name): keys of what it depends on."""
        variables = list(self.model.trainable_variables)
        names: list[str] = []

        def gradients(x: Any) -> list[list[Any]]:
            with tf.GradientTape(persistent=True) as tape:
                outputs = self.model(x, training=True)
            names[:] = list(outputs) if isinstance(outputs, dict) else []
            flat = [outputs[name] for name in names] if names else tf.nest.flatten(outputs)
            return [tape.gradient(output, [resource(v) for v in variables]) for output in flat]

        try:
            concrete = traced(gradients, self._inputs)
        except Untraced as why:
            self.untraced = str(why)
            return {}
        found: dict[int | str, frozenset[int | str]] = {}
        for position, results in enumerate(concrete.structured_outputs):
            found[position] = frozenset(
                key_of(variable)
                for variable, result in zip(variables, results, strict=True)
                if result is not None
            )
        by_name = names or list(getattr(self.model, "output_names", None) or [])
        return {**found, **{name: found[i] for i, name in enumerate(by_name) if i in found}}

    @property
    def output_names(self) -> tuple[str | int, ...]:
        """What the outputs are called, in their order: by position where they have no names."""
        return self._call.names or tuple(getattr(self.model, "output_names", None) or ())

    @property
    def outputs(self) -> int:
        """How many outputs the model has."""
        return sum(isinstance(output, int) for output in self._reached)

    def reached_by(self, loss: Any) -> frozenset[int | str]:
        """Keys of the trainable variables that a loss, or one loss per output, depends on.

        Where the model is `untraced`, that is all of them.
        """
        if loss is None or loss is False:
            return frozenset()
        reached = self._reached
        if isinstance(loss, Mapping):
            outputs = [name for name, one in loss.items() if one is not None and one is not False]
        elif isinstance(loss, list | tuple):
            outputs = [i for i, one in enumerate(loss) if one is not None and one is not False]
        else:
            outputs = list(reached)
        if self.untraced:
            return self.trainable
        if self.outputs == 1 and outputs:  # whatever a loss calls it
            outputs = [0]
        return frozenset[int | str]().union(*(reached[output] for output in outputs))


def _is_of_keras_layers(model: Any) -> bool:
    """Whether a model is a graph of Keras' own layers: when called, it does as it was built."""
    if "call" in vars(model) or not _is_of_keras(type(model).call) or not hasattr(model, "outputs"):
        return False
    return all(
        _is_of_keras_layers(layer)
        if is_model(layer)
        else _is_of_keras(type(layer)) and not isinstance(layer, keras.layers.Lambda)
        for layer in model.layers
    )


def _is_of_keras(defined: Any) -> bool:
    return str(defined.__module__).partition(".")[0] == "keras"

"""What gradients a branch takes, and hands to its optimizer, as functions of the batch.

Written anew from what docs/control.md says of each key, with nothing of loopctl: the gradients of
the branch's loss, where they are taken and what is made of them, in the order of its keys.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from verify.assertions.config_keys import (
    inferring,
    layers_chosen,
    nested,
    selected,
    takes_training,
)
from verify.assertions.config_losses import data_loss, flat_losses, weights_in
from verify.assertions.config_updates import Counts, UnsaidError, clips_of
from verify.graphs import key_of
from verify.references import ModelReference, objective_name

_SMALL = 1e-12  # beside a norm that may be zero
_MOST_EXAMPLES = 16  # that are looked at one by one

Loss = Callable[[Any], Any]
"""``(batch) -> scalar``."""

Pairs = list[tuple[Any, Any]]
"""The losses of outputs, in their order, each with its weight."""


def gradients_of(
    reference: ModelReference, settings: Mapping[str, Any], counters: Mapping[str, Any]
) -> Loss:
    """A function whose gradients are those that a branch takes, before anything is made of them.

    Args:
        reference: of the model.
        settings: the branch.
        counters: the variables that count, by what ``when`` calls them.

    Raises:
        UnsaidError: a value is computed while training, or the keys are combined in a way that is
            not known here.
    """
    taken, chosen = _taken(reference, settings, counters), selected(reference.model, settings)

    def one(data: Any) -> Any:
        return _with_gradients(*_there(taken(data), chosen))

    return _named(one, settings, ("ascend", "per_example"))


def entering(
    reference: ModelReference, settings: Mapping[str, Any], counters: Mapping[str, Any]
) -> Loss:
    """A function whose gradients are what a branch hands to its optimizer: treated, and clipped.

    Args, Raises: see `gradients_of`.
    """
    taken, chosen = _taken(reference, settings, counters), selected(reference.model, settings)
    clips = clips_of(reference.model, settings)

    def one(data: Any) -> Any:
        gradients, variables = _there(taken(data), chosen)
        gradients = settings["gradients"](gradients, variables)
        for clip in clips:
            gradients = _clipped(gradients, clip)
        return _with_gradients(gradients, variables)

    return _named(one, settings, ("ascend", "per_example", "gradients"))


def _named(function: Loss, settings: Mapping[str, Any], keys: tuple[str, ...]) -> Loss:
    told = objective_name(settings["objective"]) if "objective" in settings else "the loss"
    function.__name__ = told + "".join(f", {key}" for key in keys if key in settings)
    return function


def _there(gradients: list[Any], variables: list[Any]) -> tuple[list[Any], list[Any]]:
    """Gradients that there are, with their variables."""
    there = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
    return [g for g, _ in there], [v for _, v in there]


def _with_gradients(gradients: list[Any], variables: list[Any]) -> Any:
    """A number whose gradient by each variable is the one that is given."""
    shares = [
        _wide(tf.reduce_sum(tf.stop_gradient(tf.cast(gradient, variable.dtype)) * variable))
        for gradient, variable in zip(gradients, variables, strict=True)
    ]
    return tf.add_n(shares)


def _clipped(gradients: list[Any], clip: Any) -> list[Any]:
    if not isinstance(clip, Mapping):
        return [tf.clip_by_value(gradient, *clip) for gradient in gradients]
    if "norm" in clip:
        return [tf.clip_by_norm(gradient, clip["norm"]) for gradient in gradients]
    clipped, _ = tf.clip_by_global_norm(gradients, clip["global_norm"])
    return list(clipped)


def _taken(
    reference: ModelReference, settings: Mapping[str, Any], counters: Mapping[str, Any]
) -> Callable[[Any], list[Any]]:
    """The gradients that a branch takes of a batch, by what it trains; None for none."""
    model, numbers = reference.model, _Numbers(0, counters)
    chosen = selected(model, settings)
    if settings.keys() & {"ascend", "per_example"} and _is_scaled(model):
        # Small gradients are lost where the loss is not scaled, and decide what follows.
        raise UnsaidError("layers compute in float16, which a loss scale rounds otherwise")
    loss = _loss_of(reference, settings, _pairs(reference, settings), numbers)
    if "per_example" in settings:
        return _of_examples(model, loss, settings, chosen, numbers)
    if "ascend" in settings:
        return _uphill(model, loss, settings["ascend"], chosen, numbers)
    return lambda data: _gradients(loss, data, chosen)


def _is_scaled(model: Any) -> bool:
    """Whether a model computes in a precision for which losses are scaled."""
    return any(layer.compute_dtype == "float16" for layer in (model, *nested(model)))


def _pairs(reference: ModelReference, settings: Mapping[str, Any]) -> Pairs:
    """What a branch takes for the losses of the model's outputs."""
    if "objective" in settings:
        return []
    model = reference.model
    own, computed = data_loss(model, settings)
    if computed:
        raise UnsaidError("the model computes its loss by itself")
    given = settings.get("loss_weights", weights_in(model, settings, own))
    return flat_losses(own, given, reference)


# -- the loss of a branch --------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Numbers(Counts):
    """What ``when`` computes, from the variables that count."""

    counters: Mapping[str, Any]

    def counter(self, name: str) -> Any:
        if name not in self.counters:
            raise UnsaidError(f"no variable of the step is called {name}")
        return tf.cast(self.counters[name], tf.int64)

    def of(self, said: Any) -> Any:
        """A number, a variable that holds one, or what is computed while training."""
        if hasattr(said, "evaluate"):
            return _wide(said.evaluate(self))
        return _wide(said) if isinstance(said, keras.Variable | tf.Variable) else float(said)


def _loss_of(
    reference: ModelReference, settings: Mapping[str, Any], pairs: Pairs, numbers: _Numbers
) -> Loss:
    model, inference = reference.model, settings.get("inference", False)
    added = _terms(reference, settings.get("regularize", False))
    if "objective" in settings:
        own, weights = settings["objective"], settings.get("loss_weights")

        def data_losses(data: Any) -> list[Any]:
            found = own(model, data)
            made = found[0] if isinstance(found, tuple) else found
            parts = made if isinstance(made, Mapping) else {"loss": made}
            return [_weight(numbers, weights, n) * _wide(part) for n, part in parts.items()]

    else:
        mode = {"training": True} if takes_training(model) else {}

        def data_losses(data: Any) -> list[Any]:
            if not pairs:
                return []
            x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
            outputs = tf.nest.flatten(model(x, **mode))
            targets, own = tf.nest.flatten(y), tf.nest.flatten(weight)
            if not len(outputs) == len(targets) == len(pairs) or len(own) not in (1, len(pairs)):
                raise UnsaidError("losses are not one for each output")
            own = own if len(own) == len(pairs) else own * len(pairs)
            every = zip(pairs, targets, outputs, own, strict=True)
            return [
                numbers.of(by) * _wide(_called(loss, target, output, w))
                for (loss, by), target, output, w in every
            ]

    def whole(data: Any) -> Any:
        with inferring(model, inference):
            return tf.add_n([*data_losses(data), *(_wide(term()) for term in added)])

    return whole


def _called(loss: Any, target: Any, output: Any, weight: Any) -> Any:
    loss = keras.losses.get(loss)
    if isinstance(loss, keras.losses.Loss):
        return loss(target, output, sample_weight=weight)
    if weight is not None:
        raise UnsaidError("a function has no sample weights")
    return tf.reduce_mean(loss(target, output))


def _weight(numbers: _Numbers, weights: Any, name: str) -> Any:
    """What a part of an objective is multiplied by."""
    if isinstance(weights, list | tuple):
        raise UnsaidError("parts have names")
    said = weights.get(name, 1.0) if isinstance(weights, Mapping) else weights
    return 1.0 if said is None else numbers.of(said)


def _wide(value: Any) -> Any:
    return tf.cast(value, keras.backend.floatx())


def _terms(reference: ModelReference, regularize: Any) -> list[Callable[[], Any]]:
    """The regularisers of variables that a branch adds."""
    if regularize is False:
        return []
    if len(reference.terms) != len(reference.regularisers):
        raise UnsaidError("the model adds losses of its own")
    chosen = None
    if regularize is not True:
        layers = layers_chosen(reference.model, regularize)
        chosen = {key_of(v) for layer in layers for v in layer.trainable_variables}
    of: dict[int | str, Any] = {key_of(v): v for v in reference.model.trainable_variables}
    return [
        functools.partial(regulariser, of[key])
        for key, regulariser in reference.regularisers
        if chosen is None or key in chosen
    ]


# -- where gradients are taken ---------------------------------------------------------------------


def _gradients(loss: Loss, data: Any, chosen: list[Any]) -> list[Any]:
    with tf.GradientTape() as tape:
        value = loss(data)
    found = tape.gradient(value, [v.value for v in chosen])
    return [None if g is None else tf.convert_to_tensor(g) for g in found]


def _uphill(
    model: Any, loss: Loss, ascend: Any, chosen: list[Any], numbers: _Numbers
) -> Callable[[Any], list[Any]]:
    def gradients(data: Any) -> list[Any]:
        here = _gradients(loss, data, chosen)
        there = [(g, v) for g, v in zip(here, chosen, strict=True) if g is not None]
        slopes, variables = [g for g, _ in there], [v for _, v in there]
        if callable(ascend):
            offsets = ascend(slopes, variables)
        else:
            slopes = [_wide(slope) for slope in slopes]
            norm = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(slope)) for slope in slopes]))
            offsets = [slope * (numbers.of(ascend) / (norm + _SMALL)) for slope in slopes]
        moved = [
            tf.convert_to_tensor(v) + tf.cast(offset, v.dtype)
            for v, offset in zip(variables, offsets, strict=True)
        ]
        found = iter(_at(model, loss, data, variables, moved))
        return [None if g is None else next(found) for g in here]

    return gradients


def _at(model: Any, loss: Loss, data: Any, variables: list[Any], moved: list[Any]) -> list[Any]:
    """The gradients of a loss where variables hold other values."""
    held = {id(v): value for v, value in zip(variables, moved, strict=True)}
    state = [(v, held.get(id(v), v.value)) for v in model.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(moved)
        with keras.StatelessScope(state):
            value = loss(data)
    found: list[Any] = tape.gradient(value, moved)
    return found


def _of_examples(
    model: Any, loss: Loss, settings: Mapping[str, Any], chosen: list[Any], numbers: _Numbers
) -> Callable[[Any], list[Any]]:
    clip, noise = settings["per_example"]["clip"], settings["per_example"].get("noise")
    if settings.get("regularize", False) is not False or "ascend" in settings:
        raise UnsaidError("another key is about the gradients of examples as well")
    if any("seed" in v.path for v in model.non_trainable_variables):
        raise UnsaidError("each example has random numbers of its own")

    def gradients(data: Any) -> list[Any]:
        count = tf.nest.flatten(data)[0].shape[0]
        if count is None or count > _MOST_EXAMPLES:
            raise UnsaidError(f"the batch has not a known number of examples, {_MOST_EXAMPLES}")
        sums: list[Any] = [None] * len(chosen)
        for i in range(count):
            one = tf.nest.map_structure(lambda part, i=i: part[i : i + 1], data)
            found = [None if g is None else _wide(g) for g in _gradients(loss, one, chosen)]
            there = [g for g in found if g is not None]
            norm = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(g)) for g in there]))
            share = 1.0 / tf.maximum(1.0, norm / numbers.of(clip))
            sums = [
                s if g is None else share * g + (0.0 if s is None else s)
                for s, g in zip(sums, found, strict=True)
            ]
        # Noise is added to the sum, before that is divided: it is looked at by itself.
        return [None if s is None else s if noise else s / count for s in sums]

    return gradients

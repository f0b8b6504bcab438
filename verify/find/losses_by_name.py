"""The losses that are known by name: the model's own, and all that Keras ships."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import keras

from verify.find.detector import Detector
from verify.find.search import Disjoint, Found
from verify.references import loss_name

# Asked for first, since most steps differentiate one of these and every other takes traces.
_COMMON = (
    "MeanSquaredError",
    "SparseCategoricalCrossentropy",
    "CategoricalCrossentropy",
    "BinaryCrossentropy",
    "MeanAbsoluteError",
    "Huber",
)


def known_losses(detector: Detector) -> list[tuple[Any, Found]]:
    """The losses that explain the step's gradients, of the step's own and Keras' catalogue.

    Those of the model, and that the step's function has at hand, come first; then those of the
    catalogue by name.
    """
    reference = detector.step.reference
    own = [*(() if reference is None else reference.losses), *detector.step.losses]
    found: list[tuple[int, str, Any, Found]] = []
    recognised = Disjoint()
    for place, loss in enumerate([*own, *keras_losses()]):
        if not detector.rest([*recognised.all, *detector.terms])[0]:
            break
        if place >= len(own) and detector.rules_out(loss):
            continue
        for match in detector.losses(loss)[0]:
            if recognised.fresh([match]):
                recognised.add([match])
                found.append((min(place, len(own)), loss_name(loss), loss, match))
    return [(loss, match) for *_, loss, match in sorted(found, key=lambda one: one[:2])]


@functools.cache
def keras_losses() -> tuple[keras.losses.Loss, ...]:
    """Every loss that Keras ships and that needs no arguments, in its default settings."""
    made = []
    for name in [*_COMMON, *sorted(set(dir(keras.losses)) - {*_COMMON})]:
        kind = getattr(keras.losses, name)
        if not inspect.isclass(kind) or kind is keras.losses.Loss:
            continue
        parameters = inspect.signature(kind).parameters.values()
        if all(p.default is not p.empty or p.kind is p.VAR_KEYWORD for p in parameters):
            made.append(kind())
    return tuple(made)

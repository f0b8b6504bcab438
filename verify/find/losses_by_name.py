"""The losses that are known by name: the model's own, and all that Keras ships."""

from __future__ import annotations

import functools
import inspect
import itertools
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from verify.find.detector import Detector
from verify.find.losses import MOVES
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

# A number that a loss may be made with, and between which numbers it makes sense.
_SETTINGS = {
    keras.losses.Huber: ("delta", 1e-3, float("inf")),
    keras.losses.BinaryCrossentropy: ("label_smoothing", 1e-3, 0.6),
    keras.losses.CategoricalCrossentropy: ("label_smoothing", 1e-3, 0.6),
    keras.losses.BinaryFocalCrossentropy: ("gamma", 0.4, 16.0),
    keras.losses.CategoricalFocalCrossentropy: ("gamma", 0.4, 16.0),
}
_MOST_NUMBERS = 6
_FOUND: weakref.WeakKeyDictionary[Detector, list[tuple[Any, Found]]] = weakref.WeakKeyDictionary()


def known_losses(detector: Detector) -> list[tuple[Any, Found]]:
    """The losses that explain the step's gradients, of the step's own and Keras' catalogue.

    Those of the model, and that the step's function has at hand, come first; then those of the
    catalogue by name.
    """
    if detector not in _FOUND:
        _FOUND[detector] = _known_losses(detector)
    return _FOUND[detector]


def _known_losses(detector: Detector) -> list[tuple[Any, Found]]:
    reference = detector.step.reference
    own = [*(() if reference is None else reference.losses), *detector.step.losses]
    found: list[tuple[int, str, Any, Found]] = []
    recognised = Disjoint()
    catalogue = itertools.chain(keras_losses(), _with_settings(detector))
    for place, loss in enumerate(itertools.chain(own, catalogue)):
        if not detector.rest([*recognised.all, *detector.terms])[0]:
            break
        if place >= len(own) and detector.rules_out(loss):
            continue
        for match in detector.losses(loss)[0]:
            by_chance = place >= len(own) and _may_be_chance(detector, match)
            if not by_chance and recognised.fresh([match]):
                recognised.add([match])
                found.append((min(place, len(own)), loss_name(loss), loss, match))
    return [(loss, match) for *_, loss, match in sorted(found, key=lambda one: one[:2])]


def _may_be_chance(detector: Detector, found: Found) -> bool:
    """Whether a loss is neither of what a layer makes nor against what the step is handed.

    Many a product or square is, by its value, a loss of Keras of something.
    """
    if found.predicted is None or detector.outputs.is_of_layer(found.predicted):
        return False
    target = found.target
    while target is not None and target[0] not in detector.flow.data:
        data = detector.flat.node(target).data
        target = data[0] if detector.flat.node(target).op in MOVES and data else None
    return target is None


@functools.cache
def keras_losses() -> tuple[keras.losses.Loss, ...]:
    """Every loss that Keras ships and that needs no arguments, of predictions and of logits."""
    kinds = [kind for kind in _kinds() if not _required(kind)]
    common, others = kinds[: len(_COMMON)], kinds[len(_COMMON) :]
    return tuple(
        loss
        for some in (common, others)
        for settings in ({}, {"from_logits": True})
        for kind in some
        if settings.keys() <= _parameters(kind).keys()
        for loss in [kind(**settings)]
    )


def _with_settings(detector: Detector) -> Iterator[keras.losses.Loss]:
    """Losses with a setting that is a number which the step computes with."""
    numbers = _numbers(detector)
    for kind, (setting, lowest, highest) in _SETTINGS.items():
        forms = [{}, {"from_logits": True}] if "from_logits" in _parameters(kind) else [{}]
        for number in numbers:
            if lowest < number < highest and number != _parameters(kind)[setting].default:
                for form in forms:
                    yield kind(**{setting: number}, **form)


def _numbers(detector: Detector) -> list[float]:
    """What may be a setting of a loss: constants, or what they leave of 1, the last ones first."""
    flat, flow = detector.flat, detector.flow
    found = dict[float, None]()
    for index in sorted(flow.ancestors(seed.loss[0] for seed in flow.seeds), reverse=True):
        for tensor in flat.nodes[index].data:
            value = flow.folder.value(tensor)
            if value is not None and value.shape == () and value.dtype.kind == "f":
                number = float(f"{float(value):.6g}")  # as somebody has written it
                found.update({number: None, round(1 - number, 6): None})
        if len(found) > _MOST_NUMBERS:
            break
    return list(found)[:_MOST_NUMBERS]


def _kinds() -> list[type[keras.losses.Loss]]:
    """The classes of losses that Keras ships, the common ones first."""
    names = [*_COMMON, *sorted(set(dir(keras.losses)) - {*_COMMON})]
    kinds = (getattr(keras.losses, name) for name in names)
    return [kind for kind in kinds if inspect.isclass(kind) and kind is not keras.losses.Loss]


def _parameters(kind: type[keras.losses.Loss]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(kind).parameters


def _required(kind: type[keras.losses.Loss]) -> bool:
    given = (p for p in _parameters(kind).values() if p.kind is not p.VAR_KEYWORD)
    return any(p.default is p.empty for p in given)

"""Rules about random numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras

from verify.graphs import Node, is_model
from verify.references import Untraced, is_of_keras
from verify.rules.rule import Rules, Told, ruled
from verify.rules.seen import Seen

RULES: Rules = []

_SHOWN = 3


def _is_by_example(seen: Seen, node: Node) -> bool:
    """Whether numbers are drawn for a batch, or for all of it: no table of fixed features."""
    shape = seen.flat.shape((node.index, 0))
    if shape is None or len(shape) < 2:
        return True
    sizes = {(seen.flat.shape((i, 0)) or (None,))[:1] for i in seen.flow.data if i != node.index}
    return shape[0] is None or shape[:1] in sizes


@ruled(
    RULES,
    "V601",
    "Random numbers that are the same in every step",
    wrong="""What is trained depends on random numbers that are drawn for a batch from a constant
    seed, or from a state that the step does not advance.""",
    why="""Dropout always drops the same units, and noise always adds the same numbers, so the model
    learns them by heart.""",
    instead="""`keras.random.SeedGenerator` created outside the step, `tf.random.Generator`, or
    `tf.random.normal`; a seed passed to `stateless_*` has to change with each step.""",
)
def frozen_draws(seen: Seen) -> Iterator[Told]:
    for one in seen.detector.draws.all:
        if one.frozen and _is_by_example(seen, one.node):
            yield Told(f"{one.node.op} ({one.node.id}) draws {one.frozen}", (one.node.id,))


@ruled(
    RULES,
    "V602",
    "Numbers that are made while tracing",
    wrong="""A constant that affects what is trained changes when the same function is traced again:
    it was drawn or counted by NumPy or Python.""",
    why="The graph keeps it for ever: it is not drawn again, and a counter does not move.",
    instead="`tf.random` or `keras.random`, a `tf.Variable` that the step counts, or an argument.",
)
def made_while_tracing(seen: Seen) -> Iterator[Told]:
    if not seen.trained or seen.step.declared or _is_known(seen):
        return
    try:
        constants = seen.detector.draws.frozen_constants
    except Untraced:
        return
    if constants:
        where = tuple(node.id for node in constants[:_SHOWN])
        more = f" and {len(constants) - _SHOWN} more" if len(constants) > _SHOWN else ""
        yield Told(f"{', '.join(where)}{more}: another number in another trace", where)


def _is_known(seen: Seen) -> bool:
    """Whether the step is made of Keras' own layers and losses alone: these make none."""
    if seen.model is None or not seen.is_of_keras:
        return False
    return _is_own(seen.model.model) and all(map(is_of_keras, seen.model.losses))


def _is_own(layer: Any) -> bool:
    """Whether a layer, and all that is in it, is Keras' own; a Lambda is what its function is."""
    if type(layer).__module__.partition(".")[0] != "keras" or isinstance(
        layer, keras.layers.Lambda
    ):
        return False
    if is_model(layer):
        return all(map(_is_own, layer.layers))
    try:
        return not _is_foreign(layer.get_config())
    except NotImplementedError:  # of somebody's layer within it, that does not tell its own
        return False


def _is_foreign(said: Any) -> bool:
    """Whether a part of a config names a class that is not Keras' own."""
    if isinstance(said, Mapping):
        module = str(said.get("module") or "keras").partition(".")[0]
        return ("class_name" in said and module != "keras") or any(map(_is_foreign, said.values()))
    return isinstance(said, list | tuple) and any(map(_is_foreign, said))

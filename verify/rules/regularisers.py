"""Rules about what regularises weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from verify.find import Found
from verify.references import regulariser_name
from verify.rules.rule import Rules, Told, each, ruled
from verify.rules.seen import Seen

RULES: Rules = []

_GROWING = ("L1", "L2")  # of these every positive factor makes weights smaller


def _own(seen: Seen) -> Iterator[tuple[int | str, Any]]:
    """The regularisers of the model's weights that are trained, by key, and that say anything."""
    if seen.model is None or seen.step.replicas > 1:
        return
    for key, regulariser in seen.model.regularisers:
        updates = seen.flow.trained_of.get(key, ())
        if updates and key in seen.flow.differentiated:
            shape = [size or 1 for size in updates[0].variable.shape]
            if np.any(np.asarray(regulariser(tf.random.stateless_normal(shape, (1, 2)))) != 0):
                yield key, regulariser


@ruled(
    RULES,
    "V501",
    "A regulariser that reaches no update",
    wrong="""A layer has a regulariser, and the step trains the variable that it is for, but no
    gradient of the regulariser reaches that update.""",
    why="""`kernel_regularizer=` only adds to `model.losses`; a step that does not add these to the
    loss trains without them.""",
    instead="`loss = loss_fn(y, model(x)) + tf.add_n(model.losses)`.",
)
def reaches_no_update(seen: Seen) -> Iterator[Told]:
    terms = {term.variable for term in seen.detector.terms}
    missing = [(key, one) for key, one in _own(seen) if key not in terms]
    if not missing:
        return
    # What has no name may be of the variable alone, or in one with the loss of data.
    data, alone = seen.detector.rest([*(found for _, found in seen.losses), *seen.detector.terms])
    unknown = {update.variable.key for update in (*data, *alone)}
    for key, regulariser in missing:
        if key not in unknown:
            path = seen.step.paths[key]
            told = f"{regulariser_name(regulariser)} of {path} is not in what is differentiated"
            yield Told(told, (path,))


@ruled(
    RULES,
    "V502",
    "A regulariser that is added twice",
    wrong="""The regulariser of a layer occurs twice in what is differentiated, with the same
    factor.""",
    why="Weights shrink twice as fast as the layer says.",
    instead="`tf.add_n(model.losses)` once; `compute_loss` has already added them.",
)
def added_twice(seen: Seen) -> Iterator[Told]:
    twice = []
    for key, regulariser in _own(seen):
        found = _of(seen, key, regulariser_name(regulariser))
        if any(np.isclose(weight, 2.0) for weight in _weights(seen, found)):
            twice.append(seen.step.paths[key])
    yield from each(twice, "its regulariser counts twice")


@ruled(
    RULES,
    "V503",
    "A regulariser that is subtracted",
    wrong="""The gradient of an L1 or L2 penalty is followed upwards: the penalty is subtracted from
    the loss, or has a negative factor.""",
    why="Large weights are rewarded, so they grow without bounds.",
    instead="`loss + penalty`, with a factor above zero.",
)
def subtracted(seen: Seen) -> Iterator[Told]:
    wrong = []
    for term in seen.detector.terms:
        negative = (term.weight or 0) < 0 or "=-" in term.label
        if negative and term.label.startswith(_GROWING):
            wrong.append(seen.step.paths[term.variable] if term.variable else term.label)
    yield from each(wrong, "a penalty on it is subtracted")


def _weights(seen: Seen, found: list[Found]) -> list[float]:
    """The factors of terms, of which those of one backward pass, in one branch, are added up."""
    seeds = {seed.node for seed in seen.flow.seeds}
    total = dict[tuple[frozenset[int], frozenset[Any]], float]()
    for term in found:
        passes = frozenset(seeds & seen.flow.ancestors(term.nodes))
        branches = frozenset(seen.flat.nodes[index].path for index in term.nodes)
        if term.weight is not None:
            total[passes, branches] = total.get((passes, branches), 0.0) + term.weight
    return [*total.values()]


def _of(seen: Seen, key: int | str, name: str) -> list[Found]:
    return [t for t in seen.detector.terms if t.variable == key and t.label == name]

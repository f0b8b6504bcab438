"""Rules about what a loss takes: logits or probabilities, classes, shapes, finite numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from verify.graphs import RESHAPES, Tensor
from verify.match import NoValueError
from verify.references import known_name
from verify.rules.influence import Array, in_some_rows
from verify.rules.judged import shared_out, taken_for_logits
from verify.rules.rule import Rules, Told, each, ruled
from verify.rules.seen import Seen, paths_of

RULES: Rules = []

_OF_LOGITS = {"SoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits"}
_OF_SIGN = {"Hinge", "SquaredHinge"}
_ACTIVATIONS = {"Sigmoid", "Softmax"}
_MANY = 0.1  # of the numbers of a tensor
_OFTEN = 3  # draws
_ROUNDED = 1e-6


def _logits(seen: Seen) -> Iterator[tuple[Tensor, str]]:
    """What is taken for logits by what is differentiated, and by what."""
    found: dict[Tensor, str] = {}
    for loss, one in seen.losses:
        if getattr(loss, "from_logits", False) and one.predicted is not None:
            found[one.predicted] = known_name(loss)
    for op in _OF_LOGITS:
        for index in seen.flow.matcher.by_op.get(op, ()):
            if index in seen.differentiated & seen.flow.of_weights:
                found.setdefault(seen.flat.nodes[index].data[0], op)
    yield from found.items()


@ruled(
    RULES,
    "V301",
    "Probabilities taken for logits",
    wrong="""A crossentropy that expects logits gets values that add up to one in each row, or that
    come out of a softmax or a sigmoid, which is thus applied a second time. For a crossentropy that
    is written by hand, the gradients for other predictions show this.""",
    why="""Probabilities lie between 0 and 1, so no class can be rated much likelier than another:
    the loss cannot fall below a certain value, and gradients are small.""",
    instead="""`from_logits=True` with a last layer without activation, or `from_logits=False` with
    `activation="softmax"`.""",
)
def softmax_twice(seen: Seen) -> Iterator[Told]:
    found: dict[Tensor, str] = {}
    for tensor, by in _logits(seen):
        made = [seen.flat.node(t) for t in seen.forms(tensor, RESHAPES)]
        activated = [node for node in made if node.op in _ACTIVATIONS]
        if activated or seen.influence.always(tensor, _are_probabilities):
            found.setdefault(tensor, by)
    if not found:
        found = dict.fromkeys(taken_for_logits(seen), "what is differentiated")
    for tensor, by in found.items():
        what = seen.flat.node(tensor).id
        yield Told(f"{by} takes {what} for logits, which holds probabilities", (what,))


def _are_probabilities(value: Array) -> bool:
    if value.ndim < 2 or value.shape[-1] < 2:
        return False
    return bool((value >= 0).all() and np.allclose(value.sum(axis=-1), 1, atol=1e-5))


@ruled(
    RULES,
    "V302",
    "Logits taken for probabilities",
    wrong="""The loss takes the logarithm of a prediction that is first clipped to lie between 0 and
    1, but many of the clipped values are negative: they are logits.""",
    why="""Clipped values have no gradient, so that nothing is learned from the examples that are
    predicted worst.""",
    instead="""`from_logits=True`, or a last layer with `activation="softmax"` or `"sigmoid"`.""",
)
def logits_for_probabilities(seen: Seen) -> Iterator[Told]:
    flat, found = seen.flat, dict[Tensor, None]()
    among = seen.differentiated & seen.flow.of_weights - seen.flow.backward
    for index in seen.flow.matcher.by_op.get("Log", ()):
        if index in among:
            clipped = _clipped(seen, flat.nodes[index].data[0])
            if clipped is not None:
                found[clipped] = None
    for tensor in found:
        negative = [float((value < -_ROUNDED).mean()) for value in seen.influence.held_by(tensor)]
        # What weights decide is so in some draws only; what holds probabilities never is.
        often = sum(share > 0 for share in negative) >= _OFTEN
        if often and np.mean(negative) >= _MANY:
            what = flat.node(tensor).id
            yield Told(f"{what} is taken for probabilities, and is none", (what,))


def _clipped(seen: Seen, tensor: Tensor) -> Tensor | None:
    """What is kept between 0 and 1, nearly; None of what is not."""
    flat, bounds = seen.flat, list[float]()
    while (node := flat.node(tensor)).op in ("Maximum", "Minimum", "ClipByValue", "Cast"):
        values = [seen.flow.folder.value(t) for t in node.data]
        bounds += [float(v.reshape(())) for v in values if v is not None and v.size == 1]
        rest = [t for t, v in zip(node.data, values, strict=True) if v is None]
        if len(rest) != 1:
            return None
        tensor = rest[0]
    near = len(bounds) == 2 and 0 < min(bounds) < 0.01 and 0.99 < max(bounds) <= 1
    return tensor if near else None


@ruled(
    RULES,
    "V303",
    "A crossentropy over one class",
    wrong="A softmax, or the crossentropy of one, is taken over a last dimension of size 1.",
    why="""The softmax of a single number is always 1: the prediction is a constant, and the loss
    says nothing.""",
    instead="""`Dense(1, "sigmoid")` and `BinaryCrossentropy`, or one unit for each class.""",
)
def one_class(seen: Seen) -> Iterator[Told]:
    flat = seen.flat
    for op in (*sorted(_OF_LOGITS), "Softmax", "LogSoftmax"):
        for index in seen.flow.matcher.by_op.get(op, ()):
            shape = flat.shape(flat.nodes[index].data[0])
            if index not in seen.flow.of_weights or shape is None or len(shape) != 2:
                continue
            if shape[-1] == 1 and (index in seen.differentiated or _is_returned(seen, index)):
                what = flat.nodes[index].id
                yield Told(f"{what} is over one class alone", (what,))


def _is_returned(seen: Seen, index: int) -> bool:
    """Whether the model returns what a node makes: a loss may go back from what is before it."""
    return seen.influence.is_told and seen.detector.outputs.is_returned((index, 0))


@ruled(
    RULES,
    "V304",
    "A target that is spread over the batch",
    wrong="""Targets of shape (batch,) meet predictions of shape (batch, 1), or the other way round,
    in an op that broadcasts both to (batch, batch).""",
    why="""Each prediction is compared with the targets of all examples, so the model learns their
    mean.""",
    instead="""targets and predictions of the same shape: `y[:, None]`, or `tf.squeeze(prediction,
    -1)`; Keras' losses do that by themselves.""",
)
def spread_targets(seen: Seen) -> Iterator[Told]:
    yield from _spread(seen, seen.step.targets or frozenset(), "the targets")


@ruled(
    RULES,
    "V305",
    "Sample weights that are spread over the batch",
    wrong="""Sample weights of shape (batch,) multiply losses of shape (batch, 1), or the other way
    round, so that both are broadcast to (batch, batch).""",
    why="Each loss is multiplied by the mean of all weights, so the weights have no effect.",
    instead="weights of the shape of what they multiply: `w[:, None]`; `loss(y, prediction, w)`.",
)
def spread_weights(seen: Seen) -> Iterator[Told]:
    yield from _spread(seen, seen.step.weights or frozenset(), "the sample weights")


def _spread(seen: Seen, fed: frozenset[Tensor], what: str) -> Iterator[Told]:
    """Where what is made of a tensor that is fed meets what weights decide, of another rank."""
    flat, flow = seen.flat, seen.flow
    among = seen.differentiated & flow.of_weights - flow.backward
    for index in sorted(among):
        node = flat.nodes[index]
        shapes = [flat.shape(tensor) for tensor in node.data]
        if len(node.data) != 2 or None in shapes or node.op == "Select":
            continue
        for own, other in ((0, 1), (1, 0)):
            mine, theirs, made = shapes[own], shapes[other], flat.shape((index, 0))
            if mine is None or theirs is None or node.data[other][0] not in flow.of_weights:
                continue
            if {len(mine), len(theirs)} != {1, 2} or (*mine, *theirs).count(1) != 1:
                continue
            size = mine[0]
            if made != (size, size) or {size, 1} != {*mine, *theirs} or size == 1:
                continue
            if any(t in fed for t in seen.forms(node.data[own])) or _is_by_rows(
                seen, node.data[own], fed
            ):
                told = f"{node.id} makes {_told(made)} of {what}, {_told(mine)}, and"
                yield Told(f"{told} {_told(theirs)}", (node.id,))


def _is_by_rows(seen: Seen, tensor: Tensor, fed: frozenset[Tensor]) -> bool:
    """Whether a tensor has a number for each row that is fed: in another order where they are."""
    above = seen.flow.ancestors([tensor[0]])
    if above & seen.flow.of_weights or not seen.influence.is_told:
        return False
    values, among = seen.influence.values, [t for t in fed if t[0] in above and seen.flat.shape(t)]
    base = values.evaluation(0)
    for change in seen.influence.changes if among else ():
        try:
            rows = {t: in_some_rows(change)(np.asarray(base.value(t))) for t in among}
            before, after = (
                np.asarray(values.evaluation_with(0, cut).value(tensor))
                for moved in (0, 1)
                for cut in [{t: tf.constant(np.roll(v, moved, 0)) for t, v in rows.items()}]
            )
        except NoValueError:
            continue
        if not np.array_equal(after, np.roll(before, 1, 0)):
            return False
        if not np.array_equal(after, before):
            return True
    return False


def _told(shape: tuple[int | None, ...]) -> str:
    sizes = ["batch" if size is None else str(size) for size in shape]
    return f"({', '.join(sizes)}{',' * (len(sizes) == 1)})"


@ruled(
    RULES,
    "V306",
    "Gradients that are not finite",
    wrong="""A gradient is NaN or infinite for ordinary numbers of any sign and size, in each of
    several draws.""",
    why="One such step makes every weight NaN for ever.",
    instead="""`tf.math.log(x + 1e-7)`, `tf.sqrt(x + 1e-12)` or `tf.math.divide_no_nan`, inside the
    op whose gradient is infinite; a `tf.where` after it does not help.""",
)
def never_finite(seen: Seen) -> Iterator[Told]:
    held = (seen.held.get(update.variable.key) for update in seen.trained)
    if any(getattr(one, "constraint", None) is not None for one in held):
        return  # such a weight may have to be positive
    yield from each(paths_of(seen.influence.never_finite), "its gradient is not finite in any draw")


@ruled(
    RULES,
    "V307",
    "A prediction that can tell one class only",
    wrong="""For a binary crossentropy of logits or a hinge loss, the sign of the prediction says
    which of two classes it is; but the prediction is never negative, for example because it comes
    out of a `relu` or is a probability.""",
    why="One of the classes is never predicted, and its examples are always wrong.",
    instead="a last layer without activation (`tanh` for a hinge).",
)
def never_negative(seen: Seen) -> Iterator[Told]:
    for loss, found in seen.losses:
        name = type(loss).__name__
        by_sign = name in _OF_SIGN or (
            name == "BinaryCrossentropy" and getattr(loss, "from_logits", False)
        )
        if not by_sign or found.predicted is None:
            continue
        made = [seen.flat.node(t).op for t in seen.forms(found.predicted, RESHAPES)]
        twice = not {*made}.isdisjoint(_ACTIVATIONS) and name not in _OF_SIGN
        if not twice and seen.influence.always(
            found.predicted, lambda held: bool((held >= 0).all())
        ):
            yield Told(f"{known_name(loss)} judges {found.prediction}, which is never negative")


@ruled(
    RULES,
    "V308",
    "Probabilities that add up over the batch",
    wrong="""A prediction that a loss judges, each row by its own target, adds up to one over the
    examples of the batch instead of over the classes: the softmax is over the wrong axis.""",
    why="The prediction for an example depends on the other examples in its batch.",
    instead="`tf.nn.softmax(x, axis=-1)`.",
)
def over_the_batch(seen: Seen) -> Iterator[Told]:
    every = {found.predicted for _, found in seen.losses if found.predicted is not None}
    if not seen.influence.is_told:
        return
    every |= {t for t in seen.detector.outputs.returned if t[0] in seen.differentiated}
    every |= {*shared_out(seen, _over_rows)}
    for tensor in sorted(every):
        shape = seen.flat.shape(tensor)
        if shape is not None and len(shape) == 2 and seen.influence.always(tensor, _over_rows):
            what = seen.flat.node(tensor).id
            yield Told(f"{what} adds up to one over the batch", (what,))


def _over_rows(value: Array) -> bool:
    rows, columns = value.sum(axis=-1), value.sum(axis=0)
    return bool(
        (value >= 0).all()
        and np.allclose(columns, 1, atol=1e-5)
        and not np.allclose(rows, 1, atol=1e-5)
    )

"""What a loss judges, where no loss is known by name: told by the gradient of other predictions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np

from verify.graphs import Tensor
from verify.match import Domain, drawn
from verify.rules.influence import Array
from verify.rules.rows import UNTOLD, rows_judged, slopes
from verify.rules.seen import Seen

_DRAW = 0
_MOST = 16  # tensors that are tried, the last ones first
_SAME = 1e-5  # of the largest number


def behind_layers(seen: Seen) -> Iterator[Tensor]:
    """What is made of the last layer's output and differentiated, from the loss upwards."""
    flow, flat = seen.flow, seen.flat
    among = seen.differentiated & flow.of_weights - flow.backward
    reads = {node.index for node, _ in flat.reads()}
    layers = {user for read in reads for user in flow.consumers[read]} & among
    before = flow.ancestors({s for index in layers for s, _ in flat.nodes[index].data} - reads)
    for index in sorted(among - before - reads, reverse=True):
        if flat.dtype((index, 0)).startswith(("float", "bfloat")):
            yield index, 0


def taken_for_logits(seen: Seen) -> Iterator[Tensor]:
    """Probabilities by which what is differentiated changes as a crossentropy of logits does.

    The gradient of that by a logit is the probability that it stands for, less a target.
    """
    tried = 0
    for tensor in behind_layers(seen) if seen.influence.is_told else ():
        if tried == _MOST:
            return
        if seen.influence.always(tensor, _lies_within):
            tried += 1
            rows = seen.influence.always(tensor, _adds_up)
            if _goes_by(seen, tensor, _softmax if rows else _sigmoid):
                yield tensor


def _lies_within(value: Array) -> bool:
    return value.ndim > 0 and bool((value > 0).all() and (value < 1).all())


def _adds_up(value: Array) -> bool:
    return value.shape[-1] > 1 and np.allclose(value.sum(axis=-1), 1, atol=1e-5)


def _sigmoid(value: Array) -> Array:
    made: Array = 1 / (1 + np.exp(-value))
    return made


def _softmax(value: Array) -> Array:
    made = np.exp(value)
    shares: Array = made / made.sum(axis=-1, keepdims=True)
    return shares


def _goes_by(seen: Seen, tensor: Tensor, made: Callable[[Array], Array]) -> bool:
    """Whether gradients by a tensor differ as what is made of it does, by one factor of each."""
    try:
        shape = np.shape(seen.influence.values.evaluation(_DRAW).value(tensor))
        real = functools.partial(drawn, (shape, "float64"), Domain.REAL)
        held = [real(draw, f"logits {draw}") for draw in (0, 2, 4)]
        first, *others = (slopes(seen, tensor, _DRAW, value, {}) for value in held)
    except UNTOLD:
        return False
    base, *rest = map(made, held)
    factors = [(first - one) / (base - here) for one, here in zip(others, rest, strict=True)]
    largest = np.abs(factors).max(initial=0)
    if not np.isfinite(largest) or not largest:
        return False
    return bool(np.abs(np.subtract(*factors)).max(initial=0) <= _SAME * largest)


def shared_out(seen: Seen, over_rows: Callable[[Array], bool]) -> Iterator[Tensor]:
    """The first prediction that `over_rows` is true of, if targets judge each row by itself.

    None where a prediction of that shape adds up to one in each row as well: a loss of both ways
    to tell which belongs to which is one of the batch.
    """
    targets = sorted(seen.step.targets or ())
    if not seen.influence.is_told or not targets:
        return
    of_targets = seen.flow.descendants(index for index, _ in targets)
    shapes = {t: seen.flat.shape(t) or () for t in behind_layers(seen)}
    # What is as wide as the batch may be one that compares its examples with one another.
    made = [t for t, s in shapes.items() if len(s) == 2 and s[1] not in (None, 1, s[0])]
    found = [t for t in made if t[0] not in of_targets and seen.influence.always(t, over_rows)]
    both = {shapes[t] for t in made if found and seen.influence.always(t, _adds_up)}
    first = min((t for t in found if shapes[t] not in both), default=None)
    if first is not None and rows_judged(seen, first, targets):
        yield first

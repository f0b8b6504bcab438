"""Digits that tell what a step differentiates: forward passes, losses, and what is stopped.

The gradients that update variables are evaluated, on numbers that are always the same for the same
arguments and paths of variables, and rounded: so the digits are those of any spelling, and of any
version of TensorFlow. Of a step too large for that, or whose values can't be computed, the ops are
told, which another version may write otherwise.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator

import numpy as np

from verify.find.gradient_values import GradientValues
from verify.flow import Update, fingerprint
from verify.graphs import Tensor
from verify.match import Domain, NoValueError, concrete, drawn

_MOST_ELEMENTS = 2_000_000  # of all tensors that gradients are made of
_NOTHING = 1e-9  # of the largest gradient: there, only rounding is left
BY_OPS = "ops-"


def whole_fingerprint(gradients: GradientValues) -> str:
    """The digits of a step, or of one branch of it; they begin with `BY_OPS` if ops are told."""
    flow, ends = gradients.flow, dict[Update, Tensor]()
    for update in flow.trained:
        way = gradients.ways.get(update)
        if way is not None:
            ends[update] = way[0]
    lines = None
    if len(ends) == len(flow.trained) and _is_small(gradients, ends.values()):
        lines = next(_told(gradients, ends), None)
    if lines is None:
        return BY_OPS + fingerprint(flow, flow.whole.values())
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=6).hexdigest()


def _is_small(gradients: GradientValues, ends: Iterable[Tensor]) -> bool:
    """Whether gradients can be evaluated in about a second."""
    if not gradients.observed.is_small:
        return False
    above = gradients.above(index for index, _ in ends)
    shapes = (shape for index in above for shape in gradients.flat.nodes[index].shapes)
    sizes: list[int] = [math.prod(concrete(shape, 0)) for shape in shapes if shape is not None]
    return sum(sizes) <= _MOST_ELEMENTS


def _told(gradients: GradientValues, ends: dict[Update, Tensor]) -> Iterator[list[str]]:
    """A line for each gradient, of the draws in which all of them are finite."""
    for draw in gradients.draws:
        here = gradients.evaluation(draw, now=False)
        try:
            values = {u: gradients.value(here, u, tensor) for u, tensor in ends.items()}
        except NoValueError:
            continue
        sizes = [float(np.linalg.norm(value)) for value in values.values()]
        if not np.isfinite(sizes).all() or max(sizes, default=0.0) == 0:
            continue
        lines = []
        for (update, value), size in zip(values.items(), sizes, strict=True):
            path = update.variable.path
            if size <= _NOTHING * max(sizes):
                lines.append(f"{path} 0")
                continue
            aside = drawn((value.shape, "float64"), Domain.REAL, 0, path).reshape(-1)
            cosine = float(value @ aside) / size / float(np.linalg.norm(aside))
            lines.append(f"{path} {size:.4e} {cosine + 0.0:.4f}")
        yield sorted(lines)

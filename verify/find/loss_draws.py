"""One draw of what a loss takes, and whether a step computes the expected gradient on several.

How exact two spellings of one formula have to agree is decided here.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from verify.flow import REAL
from verify.graphs import Node, Spec, Tensor, VariableRef
from verify.match import DRAWS, Domain, Drawn, NoValueError, concrete, drawn
from verify.references import Domains

Array = np.ndarray[Any, Any]

# How much of the largest value two spellings of one formula may differ by: they may keep away from
# log(0) by other epsilons, and what Keras computes has seven digits.
_TOLERANCE = 5e-4
_MOST_BYTES = 1 << 26  # that are kept of values of losses
_ENOUGH = 2  # draws in which both have a value
# Draws in which a prediction is nearly right, with what is left of how it is not: a loss that is
# limited, or another one where it is small, is so then.
_NEAR = {4: 0.1, 6: 0.02}
# Draws of large numbers, as far as any bound of a loss may be.
_FAR = {DRAWS: 1e4, DRAWS + 1: 1e7}
# Draws of arguments that are whole numbers below others than 2, where the step takes these.
MANY = {2: 10, 5: 100}
_NUMBERS = (Domain.REAL, Domain.WHOLE)
LOSS_DRAWS = DRAWS + len(_FAR)

Summands = tuple[Tensor, ...]
"""Tensors of which the sum is looked at."""


@dataclasses.dataclass(frozen=True)
class LossDraw:
    """What prediction, target and sample weight are in one draw.

    `masks`: what says which rows of the prediction count, where that is drawn as well.
    """

    domains: Domains
    target: Tensor | float | None
    weight: Tensor | None
    draw: int
    target_spec: Spec
    prediction_spec: Spec
    weight_spec: Spec | None
    masks: tuple[Tensor, ...] = ()

    @property
    def tells(self) -> bool:
        """Whether there is more than one row of probabilities, or label, that this may be.

        Of labels, what is far away tells no more than what is not.
        """
        if self.draw in _FAR and any(domain not in _NUMBERS for domain in self.domains):
            return False
        rows, between = {Domain.ROWS, Domain.ONE_HOT}, {Domain.ROWS, Domain.UNIT}
        if self.domains[1] in between and not tf.as_dtype(self.target_spec[1]).is_floating:
            return False  # between 0 and 1 there is no whole number
        specs = zip(self.domains, (self.prediction_spec, self.target_spec), strict=True)
        return all(concrete(shape or (), 0)[-1:] > (1,) for d, (shape, _) in specs if d in rows)

    @property
    def key(self) -> tuple[Any, ...]:
        """What decides the values, whichever tensors have them."""
        made_up = self.target if isinstance(self.target, float) else None
        specs = self.target_spec, self.prediction_spec, self.weight_spec
        return self.domains, self.draw, made_up, specs

    @property
    def place_key(self) -> tuple[Any, ...]:
        return self.domains, self.draw, self.target, self.weight, self.masks

    @functools.cached_property
    def given(self) -> tuple[Array, ...]:
        """(target, prediction[, sample weight])."""
        of_predictions, of_targets = self.domains
        far = _FAR.get(self.draw)
        prediction = drawn(
            self.prediction_spec, of_predictions, self.draw, "prediction", spread=far
        )
        if isinstance(self.target, float):
            target = np.full_like(prediction, self.target)
        else:
            classes = max((2, *prediction.shape[-1:]))  # of one unit, or of none, there are two
            target = drawn(self.target_spec, of_targets, self.draw, "target", classes, spread=far)
            if self.draw in _NEAR:
                both = prediction, target
                prediction, target = _near(both, self.domains, _NEAR[self.draw])
        if self.weight_spec is None:
            return target, prediction
        if self.weight_spec[1] == "bool":
            counts = self._mask(self.weight_spec)
            return target, prediction, counts / np.float32(max(counts.mean(), 1e-7))
        weight = drawn(self.weight_spec, Domain.POSITIVE, self.draw, "weight")
        if self.draw in _NEAR and weight.ndim:
            weight[1::2] = 0  # an example that does not count is still one of so many
        return target, prediction, weight

    def cut(self, prediction: Tensor) -> dict[Tensor, Any]:
        target, predicted, *weight = self.given
        found = {prediction: tf.constant(predicted)}
        if isinstance(self.target, tuple):
            found[self.target] = tf.constant(target)
        if self.weight is not None:
            found[self.weight] = tf.constant(weight[0])
        rows: Spec = ((self.prediction_spec[0] or ())[:-1], "bool")
        masks = dict.fromkeys(self.masks, rows)
        if self.weight is not None and self.weight_spec and self.weight_spec[1] == "bool":
            masks[self.weight] = self.weight_spec
        return found | {mask: tf.constant(self._mask(spec)) for mask, spec in masks.items()}

    def _mask(self, spec: Spec) -> Array:
        return drawn(spec, Domain.BINARY, self.draw, "mask")


def _near(given: tuple[Array, Array], domains: Domains, left: float) -> tuple[Array, Array]:
    """(prediction, target), nearly alike if there is a way to be.

    `left`: what is left of the difference; of logits, how likely everything else is.
    """
    (prediction, target), (predicted, domain) = given, domains
    right: Array
    alike = prediction.shape == target.shape
    if domain in (Domain.CLASSES, Domain.ONE_HOT, Domain.ROWS) and prediction.ndim:
        classes = target if domain is Domain.CLASSES else target.argmax(axis=-1)
        fits = domain is Domain.CLASSES or alike
        many = prediction.shape[-1] > classes.max(initial=0)
        if not (fits and many) or classes.size != np.prod(prediction.shape[:-1]):
            return prediction, target
        identity = np.eye(prediction.shape[-1])
        right = identity[classes.astype(int).reshape(prediction.shape[:-1])]
    elif domain in (Domain.BINARY, Domain.SIGN, Domain.UNIT) and alike:
        right = np.where(target > (0.5 if domain is Domain.UNIT else 0), 1.0, 0.0)
    elif predicted is domain and alike:
        return prediction, _moved(target, prediction, left)
    elif domain is Domain.WHOLE and alike:
        return _moved(prediction, target, left), target
    else:
        return prediction, target
    if domain in (Domain.UNIT, Domain.ROWS) and alike:
        # Where labels are in doubt, no prediction has a small loss.
        target = _moved(target, right, left**2)
    if predicted in (Domain.UNIT, Domain.ROWS):
        return _moved(prediction, right, left), target
    margin = -np.log(left) * (2 * right - 1)
    return (prediction + margin).astype(prediction.dtype), target


def _moved(array: Array, to: Array, left: float) -> Array:
    if array.dtype.kind not in "fV":  # bfloat16 is none of NumPy's own
        return array
    moved = left * array.astype(np.float64) + (1 - left) * to.astype(np.float64)
    return np.asarray(moved.astype(array.dtype))


class NumbersFed(Drawn):
    """Draws, where any number by itself is 1: as a scale, it then multiplies by nothing.

    `numbers`: those that are others, by key of the variable.
    """

    def __init__(self, draw: int, numbers: Mapping[int | str, float] | None = None) -> None:
        super().__init__(draw)
        self.numbers = numbers or {}

    def variable(self, variable: VariableRef) -> Any:
        if variable.shape == () and variable.dtype in REAL:
            return tf.constant(self.numbers.get(variable.key, 1.0), variable.dtype)
        return super().variable(variable)

    def argument(self, node: Node, output: int) -> Any:
        shape = node.shapes[output] if output < len(node.shapes) else None
        dtype = tf.as_dtype(node.dtypes[output])
        if shape is None or not dtype.is_integer or self.draw not in MANY:
            return super().argument(node, output)
        key = f"{self.key_of(node)}:{output}"
        spec = shape, dtype.name
        return tf.constant(drawn(spec, Domain.CLASSES, self.draw, key, MANY[self.draw]))


Value = tuple[Array, Array | None] | None
"""The gradient of a loss and its prediction, None where it has no value."""


class Kept:
    """Values of losses on draws: the same for all steps of a process, as long as they are few."""

    def __init__(self) -> None:
        self._known: dict[Any, Value] = {}
        self._bytes = 0

    def value(self, key: Any, made: Callable[[], Value]) -> Value:
        if key not in self._known:
            value = made()
            size = sum(part.nbytes for part in value or () if part is not None)
            if self._bytes + size > _MOST_BYTES:
                self._known, self._bytes = {}, 0
            self._known[key] = value
            self._bytes += size
        return self._known[key]


class Comparison:
    """Which tensors, or sums of some, have an expected gradient times a constant, in every draw.

    `by_row`: times a constant for each row, of one sign, which may be a mask's. `left`: those that
    do so far. `draws`: in how many something was expected. `constant`: whether that was one number
    throughout. `unknown`: whether there is one whose value is not known.
    """

    def __init__(self, candidates: Iterable[Summands], by_row: bool = False) -> None:
        self.by_row = by_row
        self.left: dict[Summands, list[tuple[float, float]]] = {one: [] for one in candidates}
        self.draws, self.constant, self.unknown = 0, True, False

    def add(
        self, expected: Array, value: Callable[[Tensor], Array], doubtful: bool = False
    ) -> None:
        """Holds what is left against another draw; `value`: of a tensor, as float64.

        `doubtful`: whether that it has none tells nothing.
        """
        wanted = expected.astype(np.float64)
        norm = float(np.sum(wanted * wanted))
        if not np.isfinite(norm) or norm == 0:
            return
        self.draws += 1
        self.constant = self.constant and bool(np.all(wanted == wanted.flat[0]))
        for candidate, products in list(self.left.items()):
            try:
                parts = [value(tensor) for tensor in candidate]
            except NoValueError:
                if not doubtful:
                    del self.left[candidate]
                    self.unknown = True
                continue
            if any(part.shape != wanted.shape for part in parts):
                del self.left[candidate]
                continue
            there = parts[0] if len(parts) == 1 else np.sum(parts, axis=0)
            if np.isfinite(there).all():
                product = float(np.sum(there * wanted))
                made = _by_row(there, wanted) if self.by_row else product / norm * wanted
                off = np.abs(there - made).max()
                if product == 0 or off > _TOLERANCE * np.abs(there).max():
                    del self.left[candidate]
                else:
                    products.append((product, norm))

    def factors(self) -> Iterator[tuple[Summands, float]]:
        """Each with the constant that the expected gradient is multiplied by there."""
        for candidate, products in self.left.items():
            each = [product / norm for product, norm in products]
            if len(each) < _ENOUGH:
                continue
            if self.by_row or np.allclose(each, each[0], rtol=_TOLERANCE, atol=0):
                yield candidate, float(np.mean(each))


def _by_row(there: Array, wanted: Array) -> Array:
    """What is nearest to an array, of rows of another one times a number each, all of one sign."""
    rows, others = (np.atleast_1d(array) for array in (there, wanted))
    rows, others = (array.reshape(-1, array.shape[-1]) for array in (rows, others))
    norms = np.sum(others * others, axis=1)
    ratios = np.divide(np.sum(rows * others, axis=1), norms, where=norms > 0, out=0 * norms)
    sign = 1.0 if ratios.sum() > 0 else -1.0
    return np.asarray((others.T * np.where(sign * ratios > 0, ratios, 0.0)).T.reshape(there.shape))

"""What a trained stack of arithmetic layers computes, as a formula.

A layer that has converged is discrete: its effective weights are -1, 0 or 1 and its gates 0 or 1.
It then adds, subtracts, multiplies, divides or compares some of its inputs, and a stack of such
layers is a formula. Source: figure 6.11 of the thesis.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt

from inalu.formula import applied, equal, evaluate, read, variable
from inalu.units import Unit

# In the text of a formula, what is not arithmetic.
_LOGIC = re.compile(r"\b(and|or|not)\b|\[")


class Explained(Protocol):
    """A layer that can be explained, such as all of `inalu.layers`."""

    name: str

    def discrete(self) -> tuple[Unit, ...]:
        """The layer rounded: what each output does with the inputs."""


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What `explain` has found out about a model.

    `layers`: the units of each layer, from first to last. `formulas`, `expressions`: one for each
    output of the model, as text and for SymPy. `distance`: the largest change of a weight by
    rounding, among those that count; `is_discrete`: whether that is within the tolerance.
    `ignored`: the names of inputs that no formula uses. `error`: the largest relative difference
    between formula and model on the given samples; None without samples, and NaN if a formula is
    undefined for one of them, as 1 / x is for 0 and x ** (1/2) for -1.
    """

    layers: tuple[tuple[Unit, ...], ...]
    inputs: tuple[str, ...]
    formulas: tuple[str, ...]
    expressions: tuple[Any, ...]
    distance: float
    is_discrete: bool
    ignored: tuple[str, ...]
    error: float | None

    def proves(self, *expected: Any) -> bool:
        """Whether SymPy proves each formula equal to the expression or text given for it.

        False if the model is not discrete, because it does not compute its formulas then.

        Raises:
            ValueError: there are not as many expressions as formulas, or a text is not arithmetic
                (SymPy reads "x1 or x2" as x1).
        """
        if len(expected) != len(self.expressions):
            raise ValueError(
                f"{len(expected)} expressions for {len(self.expressions)} outputs of the model"
            )
        pairs = zip(self.expressions, map(self._read, expected), strict=True)
        return self.is_discrete and all(equal(found, wanted) for found, wanted in pairs)

    def _read(self, expected: Any) -> Any:
        if isinstance(expected, str) and _LOGIC.search(expected):
            raise ValueError(f"{expected!r} is no arithmetic: expected a SymPy expression")
        return read(expected, self.inputs)

    def __str__(self) -> str:
        lines = [f"y{i} = {formula}" for i, formula in enumerate(self.formulas, 1)]
        if len(lines) == 1:
            lines = [f"y = {self.formulas[0]}"]
        if not self.is_discrete:
            lines = [f"not discrete: rounded by up to {self.distance:.3g}", *lines]
        else:
            lines.append(f"rounded by at most {self.distance:.3g}")
        if self.ignored:
            lines.append(f"ignored inputs: {', '.join(self.ignored)}")
        if self.error is not None:
            lines.append(f"largest relative error on the samples: {self.error:.3g}")
        return "\n".join(lines)


def explain(
    model: keras.Model | Explained,
    x: npt.NDArray[Any] | None = None,
    *,
    names: Sequence[str] | None = None,
    tolerance: float = 0.05,
) -> Explanation:
    """Returns the formula that a model of arithmetic layers computes once its weights are rounded.

    Args:
        model: a Sequential model of `inalu.layers`, or one such layer.
        x: samples (n, inputs) on which to compare formula and model.
        names: the names of the inputs; x1, x2, ... by default.
        tolerance: how far a weight may be from its discrete value in a model that is called
            discrete. Weights on a path that a gate closes do not count.

    Raises:
        TypeError: a layer cannot be explained.
        ValueError: the number of names is not that of the inputs.
    """
    layers = _layers(model)
    units = [layer.discrete() for layer in layers]
    count = len(units[0][0].weights)
    inputs = tuple(names or (f"x{i}" for i in range(1, count + 1)))
    if len(inputs) != count:
        raise ValueError(f"{len(inputs)} names for {count} inputs")
    terms = variables = [variable(name) for name in inputs]
    for of_layer in units:
        terms = [applied(unit, terms) for unit in of_layer]
    symbols = [term.expression for term in variables]
    expressions = tuple(term.expression for term in terms)
    distance = max(unit.distance for unit in _counting(units))
    used = set[Any]().union(*(expression.free_symbols for expression in expressions))
    return Explanation(
        tuple(units),
        inputs,
        tuple(term.text for term in terms),
        expressions,
        distance,
        distance <= tolerance,
        tuple(name for name, symbol in zip(inputs, symbols, strict=True) if symbol not in used),
        None if x is None else _error(model, expressions, symbols, x),
    )


def _layers(model: Any) -> list[Explained]:
    if not isinstance(model, keras.Model):
        layers = [model]
    else:
        layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    for layer in layers:
        if not hasattr(layer, "discrete"):
            raise TypeError(
                f"{layer.name} is a {type(layer).__name__}: only layers with discrete(), those of "
                "inalu.layers, can be explained"
            )
    if not layers:
        raise TypeError(f"{model.name} has no layers to explain")
    return layers


def _counting(layers: Sequence[tuple[Unit, ...]]) -> list[Unit]:
    """The units that an output of the model depends on."""
    found: list[Unit] = []
    wanted = set(range(len(layers[-1])))
    for units in reversed(layers):
        chosen = [units[i] for i in sorted(wanted)]
        found += chosen
        wanted = {i for unit in chosen for i, weight in enumerate(unit.weights) if weight}
    return found


def _error(
    model: Any, expressions: Sequence[Any], symbols: Sequence[Any], x: npt.NDArray[Any]
) -> float:
    """The largest difference between formula and model, over the largest value of the formula."""
    columns = np.asarray(x, np.float64).T
    with np.errstate(all="ignore"):
        found = evaluate(expressions, symbols, columns)
        values = [np.broadcast_to(value, columns.shape[1:]) for value in found]
    wanted = np.stack(values, axis=-1)
    # Not by `predict`, which unrolls a model's steps_per_execution into one graph.
    answer = np.asarray(keras.ops.convert_to_numpy(model(x, training=False)), np.float64)
    scale = float(np.max(np.abs(wanted))) or 1.0
    return float(np.max(np.abs(answer - wanted)) / scale)

"""What a trained stack of arithmetic layers computes, as a formula.

A layer that has converged is discrete: its effective weights are -1, 0 or 1 and its gates 0 or 1.
It then adds, subtracts, multiplies and divides some of its inputs, and a stack of such layers is a
formula. Source: figure 6.11 of the thesis.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import sympy

from inalu.layers import NALU

_SUM, _PRODUCT, _ATOM = 1, 2, 3  # how tightly a text holds together


@dataclasses.dataclass(frozen=True)
class Term:
    """A formula: its text, how tightly that holds together, and the same for SymPy."""

    text: str
    binding: int
    expression: Any

    def within(self, binding: int) -> str:
        """The text, in parentheses if what is around it binds as tightly."""
        return self.text if self.binding > binding else f"({self.text})"


@dataclasses.dataclass(frozen=True)
class Unit:
    """One output of one layer, made discrete.

    `operation`: "+" or "*"; `weights`: per input -1, 0 or 1 (subtracted or divided by, ignored,
    added or multiplied); `distance`: of the weights that count and of the gate from these.
    """

    operation: str
    weights: tuple[int, ...]
    distance: float


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What `explain` found.

    `layers`: the units of each layer, first to last. `formulas`, `expressions`: one for each output
    of the model, as text and for SymPy. `distance`: the largest rounding of any weight that counts;
    `discrete`: whether it is at most the tolerance asked for. `ignored`: names of inputs that no
    formula uses. `error`: the largest relative difference between formula and model on the samples
    given, None without samples.
    """

    layers: tuple[tuple[Unit, ...], ...]
    inputs: tuple[str, ...]
    formulas: tuple[str, ...]
    expressions: tuple[Any, ...]
    distance: float
    discrete: bool
    ignored: tuple[str, ...]
    error: float | None

    def proves(self, *expected: Any) -> bool:
        """Whether SymPy proves each formula equal to an expression, given as such or as text.

        Raises:
            ValueError: not as many as there are formulas.
        """
        if len(expected) != len(self.expressions):
            raise ValueError(
                f"{len(expected)} expressions for {len(self.expressions)} outputs of the model"
            )
        pairs = zip(self.expressions, map(sympy.sympify, expected), strict=True)
        return self.discrete and all(sympy.simplify(found - wanted) == 0 for found, wanted in pairs)

    def __str__(self) -> str:
        lines = [f"y{i} = {formula}" for i, formula in enumerate(self.formulas, 1)]
        if len(lines) == 1:
            lines = [f"y = {self.formulas[0]}"]
        if not self.discrete:
            lines = [f"not discrete: rounded by up to {self.distance:.3g}", *lines]
        else:
            lines.append(f"rounded by at most {self.distance:.3g}")
        if self.ignored:
            lines.append(f"ignored inputs: {', '.join(self.ignored)}")
        if self.error is not None:
            lines.append(f"largest relative error on the samples: {self.error:.3g}")
        return "\n".join(lines)


def explain(
    model: keras.Model,
    x: npt.NDArray[Any] | None = None,
    *,
    names: Sequence[str] | None = None,
    tolerance: float = 0.05,
) -> Explanation:
    """The formula that a model of `NALU` layers computes once its weights are rounded.

    Args:
        model: a Sequential model of `NALU` layers.
        x: samples (n, inputs) to compare formula and model on.
        names: of the inputs; x1, x2, ... by default.
        tolerance: how far from -1, 0 or 1 (a gate: from 0 or 1) a weight that counts may be in a
            model that is still called discrete. Weights of the path that a gate closes do not.

    Raises:
        TypeError: a layer that is no `NALU`.
        ValueError: not as many names as inputs.
    """
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    for layer in layers:
        if not isinstance(layer, NALU):
            raise TypeError(f"{layer.name} is a {type(layer).__name__}: only NALU can be explained")
    if not layers:
        raise TypeError(f"{model.name} has no layers to explain")
    count = int(layers[0].w_a.shape[0])
    inputs = tuple(names or (f"x{i}" for i in range(1, count + 1)))
    if len(inputs) != count:
        raise ValueError(f"{len(inputs)} names for {count} inputs")
    symbols = sympy.symbols(inputs)
    terms = [Term(name, _ATOM, symbol) for name, symbol in zip(inputs, symbols, strict=True)]
    units: list[tuple[Unit, ...]] = []
    for layer in layers:
        units.append(_units(layer))
        terms = [_term(unit, terms) for unit in units[-1]]
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


def _units(layer: NALU) -> tuple[Unit, ...]:
    """The outputs of a layer, rounded: equations 2.6 to 2.13."""
    w_a, m_a, w_m, m_m, g = (
        np.asarray(keras.ops.convert_to_numpy(v), np.float64)
        for v in (layer.w_a, layer.m_a, layer.w_m, layer.m_m, layer.g)
    )
    added = np.tanh(w_a) * _sigmoid(m_a)
    multiplied = np.tanh(w_m) * _sigmoid(m_m)
    gates = _sigmoid(g)
    units = []
    for output, gate in enumerate(gates):
        adds = gate >= 0.5
        weights = (added if adds else multiplied)[:, output]
        rounded = np.rint(weights)
        distance = max(abs(gate - adds), float(np.max(np.abs(weights - rounded))))
        whole = tuple(int(weight) for weight in rounded)
        units.append(Unit("+" if adds else "*", whole, float(distance)))
    return tuple(units)


def _sigmoid(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return 0.5 * (1.0 + np.tanh(0.5 * values))


def _counting(layers: Sequence[tuple[Unit, ...]]) -> list[Unit]:
    """The units that an output of the model depends on."""
    found: list[Unit] = []
    wanted = set(range(len(layers[-1])))
    for units in reversed(layers):
        chosen = [units[i] for i in sorted(wanted)]
        found += chosen
        wanted = {i for unit in chosen for i, weight in enumerate(unit.weights) if weight}
    return found


def _term(unit: Unit, inputs: Sequence[Term]) -> Term:
    chosen = [(weight, term) for weight, term in zip(unit.weights, inputs, strict=True) if weight]
    return _sum(chosen) if unit.operation == "+" else _product(chosen)


def _sum(terms: Sequence[tuple[int, Term]]) -> Term:
    """Positive terms first, so that no text begins with a minus if it can be helped."""
    ordered = sorted(terms, key=lambda entry: -entry[0])
    expression = sympy.Add(*(weight * term.expression for weight, term in terms))
    if not ordered:
        return Term("0", _ATOM, expression)
    if len(ordered) == 1 and ordered[0][0] > 0:
        return ordered[0][1]
    text = ""
    for weight, term in ordered:
        # After a minus, a sum needs parentheses; after a plus, it does not.
        part = term.text if weight > 0 else term.within(_SUM)
        sign = " + " if weight > 0 else " - "
        text += (sign if text else sign.strip().replace("+", "")) + part
    return Term(text, _SUM, expression)


def _product(factors: Sequence[tuple[int, Term]]) -> Term:
    over = [term for weight, term in factors if weight > 0]
    under = [term for weight, term in factors if weight < 0]
    expression = sympy.Mul(*(term.expression**weight for weight, term in factors))
    if not factors:
        return Term("1", _ATOM, expression)
    if len(over) == 1 and not under:
        return over[0]
    text = " * ".join(term.within(_SUM) for term in over) or "1"
    text += "".join(f" / {term.within(_PRODUCT)}" for term in under)
    return Term(text, _PRODUCT, expression)


def _error(
    model: keras.Model, expressions: Sequence[Any], symbols: Sequence[Any], x: npt.NDArray[Any]
) -> float:
    """The largest difference between formula and model, over the largest value of the formula."""
    columns = np.asarray(x, np.float64).T
    formula = sympy.lambdify(symbols, list(expressions), "numpy")
    with np.errstate(all="ignore"):
        values = [np.broadcast_to(value, columns.shape[1:]) for value in formula(*columns)]
    wanted = np.stack(values, axis=-1)
    # Not by `predict`, which unrolls a model's steps_per_execution into one graph.
    found = np.asarray(keras.ops.convert_to_numpy(model(x, training=False)), np.float64)
    scale = float(np.max(np.abs(wanted))) or 1.0
    return float(np.max(np.abs(found - wanted)) / scale)

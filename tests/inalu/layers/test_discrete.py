"""`discrete` and `explain` of each kind of layer, and of stacks of several kinds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import sympy

from inalu import explain
from inalu.layers import NMU
from tests.inalu.discrete import nac, nau, nlrl, nmu, npu, nsr, original_nalu, real_npu, stack

# Whole numbers are equal where they should be, and far enough apart for NSR.
NUMBERS = np.array(
    [[2, 3, 5], [-2, 3, 4], [2, -5, 1], [-3, -2, 6], [4, 4, 2], [5, 1, 5]], "float32"
)
TRUTHS = np.array(np.meshgrid([0.0, 0.3, 1.0], [0.0, 0.6, 1.0], [0.0, 0.9, 1.0]), "float32")
TRUTHS = TRUTHS.reshape(3, -1).T
A, B, C = sympy.symbols("x1 x2 x3")


def when(condition: Any) -> Any:
    return sympy.Piecewise((1, condition), (0, True))


@pytest.mark.parametrize(
    ("make", "x", "formulas"),
    [
        (lambda: nac([[1, 0], [-1, 0], [0, -1]]), NUMBERS, {"x1 - x2": A - B, "-x3": -C}),
        (
            lambda: nac([[1, 0], [-1, 0], [0, 0]], "*"),
            abs(NUMBERS),
            {"x1 / x2": A / B, "1": sympy.Integer(1)},
        ),
        (lambda: nau([[-1, 0], [-1, 0], [1, 0]]), NUMBERS, {"x3 - x1 - x2": C - A - B, "0": A - A}),
        (lambda: nmu([[1, 0], [1, 1], [0, 0]]), NUMBERS, {"x1 * x2": A * B, "x2": B}),
        (
            lambda: real_npu([[2, -3], [-1, 0], [0.5, 1]]),
            NUMBERS,
            {"x1 ** 2 * x3 ** (1/2) / x2": A**2 * sympy.sqrt(C) / B, "x3 / x1 ** 3": C / A**3},
        ),
        (lambda: npu([[-1], [-1], [0]]), NUMBERS, {"1 / x1 / x2": 1 / (A * B)}),
        (lambda: nlrl([[1], [-1], [1]], "and"), TRUTHS, {"x1 and not x2 and x3": A * (1 - B) * C}),
        (
            lambda: nlrl([[1, 0], [0, -1], [1, 0]], "or", "and"),
            TRUTHS,
            {"x1 or x3": A + C - A * C, "not x2": 1 - B},
        ),
        (
            lambda: nsr(3, (1, "<", 2), (3, "<=", 1)),
            NUMBERS,
            {
                "[x1 < x2]": when(A < B),
                "[x3 <= x1]": when(C <= A),
                "[x1 >= x2]": when(A >= B),
                "[x3 > x1]": when(C > A),
            },
        ),
        (
            lambda: nsr(3, (2, "=", 1)),
            NUMBERS,
            {"[x2 == x1]": when(sympy.Eq(B, A)), "[x2 != x1]": when(sympy.Ne(B, A))},
        ),
        (lambda: nsr(3, (2, "<>", 2), (1, "<=>", 3)), NUMBERS, {"0": 0, "1": 1}),
    ],
    ids=["NAC +", "NAC *", "NAU", "NMU", "RealNPU", "NPU", "NLRL", "NLRL or", *["NSR"] * 3],
)
def test_one_layer(make: Callable[[], Any], x: Any, formulas: dict[str, Any]) -> None:
    """Formula, expression and layer say the same, of negative numbers and fractions too."""
    layer = make()
    found = layer.explain(x)
    texts, expressions = list(formulas), list(formulas.values())
    if texts == ["0", "1"]:  # registers that always and never hold, then their opposites
        texts, expressions = texts + texts[::-1], expressions + expressions[::-1]
    assert found.formulas == tuple(texts)
    assert found.proves(*expressions)
    assert found.distance == pytest.approx(0, abs=1e-9)
    assert found.error == pytest.approx(0, abs=2e-6)


@pytest.mark.parametrize(
    ("make", "distance"),
    [
        (lambda: nac([[1.0], [0.0]], far=1.0), 1 - math.tanh(1) / (1 + math.exp(-1))),
        (lambda: nau([[1.0], [-0.75]]), 0.25),
        (lambda: nau([[1.5], [-2.0]]), 0.0),  # what is outside of the range counts as its end
        (lambda: nmu([[0.625], [0.0]]), 0.375),
        (lambda: real_npu([[1.0], [0.25]]), 0.25),
        (lambda: real_npu([[1.0], [2.0]], gate=[0.75, 1.5]), 0.25),
        (lambda: real_npu([[1.0], [2.0]], gate=[1.0, 0.125]), 0.125),
        (lambda: real_npu([[1.0], [0.0]], gate=[1.0, 0.625]), 0.0),  # to the power of 0, it is 1
        (lambda: real_npu([[1.0], [0.2]], gate=[1.0, 0.0]), 0.0),
        (lambda: npu([[1.0], [2.0]], imaginary=0.125), 0.125),
        (lambda: npu([[1.0], [2.0]], imaginary=0.125, gate=[1.0, 0.0]), 0.125),
    ],
)
def test_distance(make: Callable[[], Any], distance: float) -> None:
    """The largest of any weight that counts."""
    found = make().explain()
    assert found.distance == pytest.approx(distance)
    assert found.is_discrete == (distance <= 0.05)


def undecided(layer: Any, name: str, entry: Any) -> Any:
    """That weight is set to the logit of 1/4, or to its opposite if it is above 0."""
    values = getattr(layer, name).numpy()
    values[entry] = np.copysign(math.log(3), values[entry])
    getattr(layer, name).assign(values)
    return layer


@pytest.mark.parametrize(
    ("name", "entry", "distance"),
    [
        ("r", (0, 0), 0.25),
        ("r", (2, 0), 0.25),  # whether an input is ignored counts
        ("n", (1, 0), 0.25),
        ("n", (2, 0), 0.0),  # whether an ignored one is negated does not
        ("s", (0,), 0.25),
        ("s", (1,), 0.0),  # of a single input, "and" is "or"
    ],
)
def test_distance_of_rules(name: str, entry: Any, distance: float) -> None:
    layer = undecided(nlrl([[1, 0], [-1, 1], [0, 0]], "and", "or"), name, entry)
    found = layer.explain()
    assert found.formulas == ("x1 and not x2", "x2")
    assert found.distance == pytest.approx(distance, rel=1e-6, abs=1e-9)


def test_distance_of_comparisons() -> None:
    layer = nsr(2, (1, "<", 2))
    layer.v_left.assign([[math.log(4)], [0.0]])  # 4 shares of 5 are of x1
    assert layer.explain().distance == pytest.approx(0.2)
    layer = nsr(2, (1, "<", 1))
    assert layer.explain().formulas == ("0", "1")
    layer.w_zero.assign([0.0])
    layer.b.assign([math.log(3)])  # equal to itself it is, which holds by 3 : 1
    found = layer.explain()
    assert found.formulas == ("1", "0")
    assert found.distance == pytest.approx(0.25)


def test_a_gate_that_sees_the_input_is_never_discrete() -> None:
    adds = original_nalu([[1], [1], [0]], gate=1.0)
    found = adds.explain(abs(NUMBERS))
    assert (found.formulas, found.error) == (("x1 + x2",), pytest.approx(0, abs=1e-6))
    assert math.isinf(found.distance)
    assert not found.is_discrete
    assert str(found).startswith("not discrete: rounded by up to inf")
    multiplies = original_nalu([[1], [1], [0]], gate=-1.0)
    assert multiplies.explain().formulas == ("x1 * x2",)


def test_products_of_nac_have_no_sign() -> None:
    """Their formula has: `error` tells of it."""
    found = nac([[1], [1], [0]], "*").explain(NUMBERS)
    assert found.formulas == ("x1 * x2",)
    assert found.error == pytest.approx(2 * 10 / 16)  # 2 * -5 is 10 to it; the largest is 4 * 4


@pytest.mark.parametrize("make", [real_npu, npu])
@pytest.mark.parametrize("power", range(-3, 4))
def test_whole_powers_of_negative_numbers(make: Any, power: int) -> None:
    layer = make([[power]])
    x = np.array([[-3.0], [-1.0], [-0.5], [2.0]], "float32")
    np.testing.assert_allclose(layer(x), np.power(x, float(power)), rtol=1e-5)
    assert layer.explain(x).error == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("make", [real_npu, npu])
def test_roots_of_negative_numbers(make: Any) -> None:
    """The layer's is the real part, which is 0, the formula's is none."""
    layer, x = make([[0.5]]), np.array([[-4.0], [9.0]], "float32")
    np.testing.assert_allclose(layer(x), [[0.0], [3.0]], atol=1e-6)
    assert layer.explain(x[1:]).error == pytest.approx(0, abs=1e-6)
    assert math.isnan(layer.explain(x).error)


A4, B4, C4, D4 = sympy.symbols("x1:5")
FOUR = np.c_[NUMBERS, [7, -1, 2, 2, -2, 1]].astype("float32")


@pytest.mark.parametrize(
    ("layers", "x", "formula", "expression"),
    [
        (
            lambda: [nau([[1, 0], [-1, 0], [0, 1], [0, 1]]), nmu([[1], [1]])],
            FOUR,
            "(x1 - x2) * (x3 + x4)",
            (A4 - B4) * (C4 + D4),
        ),
        (
            lambda: [nau([[1, 0], [1, 0], [0, 1]]), nmu([[1, 0], [1, 1]]), real_npu([[2], [-1]])],
            NUMBERS,
            "((x1 + x2) * x3) ** 2 / x3",
            (A + B) ** 2 * C,
        ),
        (
            lambda: [nau([[-1, 0], [0, 1], [0, 0]]), npu([[2, 1], [1, -1]]), nau([[-1], [1]])],
            NUMBERS,
            "(-x1) / x2 - (-x1) ** 2 * x2",
            -A / B - A**2 * B,
        ),
        (
            lambda: [nau([[-1, 0], [0, -1], [0, 1]]), nau([[1], [1]])],
            NUMBERS,
            "x3 - x2 - x1",
            C - A - B,
        ),
        (
            lambda: [nlrl([[1, 0], [-1, 0], [0, 1]], "and", "and"), nlrl([[1], [1]], "or")],
            TRUTHS,
            "(x1 and not x2) or x3",
            1 - (1 - A * (1 - B)) * (1 - C),
        ),
        (
            lambda: [nlrl([[1, 0], [-1, 0], [0, -1]], "and", "or"), nau([[1], [1]])],
            TRUTHS,
            "(x1 and not x2) + (not x3)",
            A * (1 - B) + 1 - C,
        ),
        (
            lambda: [nau([[1, 0], [1, 0], [0, 1]]), nsr(2, (1, ">", 2)), nmu([[1], [0]])],
            NUMBERS,
            "[x1 + x2 > x3]",
            when(A + B > C),
        ),
        (
            lambda: [nsr(3, (1, "<", 2), (2, "<=", 3)), nlrl([[1], [0], [0], [1]], "and")],
            NUMBERS,
            "[x1 < x2] and [x2 > x3]",
            when(A < B) * when(B > C),
        ),
    ],
)
def test_stacks(layers: Callable[[], Any], x: Any, formula: str, expression: Any) -> None:
    found = explain(stack(*layers()), x)
    assert found.formulas == (formula,)
    assert found.proves(expression)
    assert found.error == pytest.approx(0, abs=1e-5)


def test_comparisons_of_comparisons() -> None:
    found = explain(stack(nsr(3, (1, "<", 2), (3, "<=", 1)), nsr(4, (1, "=", 2))), NUMBERS)
    assert found.formulas == ("[[x1 < x2] == [x3 <= x1]]", "[[x1 < x2] != [x3 <= x1]]")
    assert found.error == pytest.approx(0, abs=1e-9)


def test_names() -> None:
    """Even those that SymPy has for something else."""
    found = nau([[1], [-1], [1]]).explain(names=["E", "beta", "lamda"])
    assert found.formulas == ("E + lamda - beta",)
    assert found.inputs == ("E", "beta", "lamda")
    assert found.proves("lamda - beta + E")
    assert not found.proves("lamda - beta + 2.718281828")


@pytest.mark.parametrize("text", ["x1 or x2", "x1 and x2", "not x1", "[x1 < x2]"])
def test_text_that_is_no_arithmetic_proves_nothing(text: str) -> None:
    """SymPy would take "x1 or x2" for x1."""
    with pytest.raises(ValueError, match="is no arithmetic: expected a SymPy expression"):
        nau([[1], [0]]).explain().proves(text)


@pytest.mark.parametrize(
    ("policy", "error"), [("float64", 1e-14), ("mixed_float16", 1e-3), ("bfloat16", 1e-2)]
)
def test_explained_in_other_dtypes(policy: str, error: float) -> None:
    """Samples are not rounded before the layer is given them."""
    layer = NMU(1, dtype=policy, initializer="ones")
    model = keras.Sequential([keras.Input((2,), dtype="float64"), layer])
    x = np.array([[-3.1, 7.7], [0.1, -0.3]])
    for found in (layer.explain(x), explain(model, x)):
        assert found.formulas == ("x1 * x2",)
        assert found.error == pytest.approx(0, abs=error)

"""A trained stack told as a formula."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from inalu import explain
from inalu.layers import NALU
from inalu.plots import plot_explanation
from inalu.task import FORMULA, arithmetic_dataset
from tests.inalu.discrete import solve, solved


def test_the_solution_of_the_task() -> None:
    data = arithmetic_dataset(500)
    found = explain(solved(), data.extrapolation.x)
    assert found.formulas == (FORMULA,)
    assert found.is_discrete
    assert found.proves(FORMULA)
    assert not found.proves("(x1 - x2)*(x3 - x4) + x5*x7")
    assert found.ignored == ("x7",)
    assert found.error == pytest.approx(0, abs=1e-5)
    assert str(found).splitlines() == [
        "y = (x1 - x2) * (x3 - x4) + x5 * x6",
        f"rounded by at most {found.distance:.3g}",
        "ignored inputs: x7",
        f"largest relative error on the samples: {found.error:.3g}",
    ]


def test_a_stack_that_is_not_discrete_says_so() -> None:
    found = explain(solved(far=1.0))
    assert not found.is_discrete
    assert found.distance > 0.2
    assert not found.proves(FORMULA)
    assert str(found).startswith("not discrete: rounded by up to 0.")


def test_the_path_that_a_gate_closes_does_not_count() -> None:
    model = solved()
    model.layers[2].m_m.assign(np.zeros((2, 1)))  # the last layer adds
    model.layers[2].w_m.assign(np.full((2, 1), 0.3))
    assert explain(model).is_discrete


def single(weights: Any, operation: str, units: int = 1) -> Any:
    weights = np.reshape(weights, (-1, units))
    model = keras.Sequential([keras.Input((len(weights),)), NALU(units)])
    zeros = np.zeros_like(weights)
    paths = (weights, zeros) if operation == "+" else (zeros, weights)
    return solve(model, [(*paths, [operation == "+"] * units)])


@pytest.mark.parametrize(
    ("weights", "operation", "formula"),
    [
        ([1, 1], "+", "x1 + x2"),
        ([-1, 1], "+", "x2 - x1"),
        ([-1, -1], "+", "-x1 - x2"),
        ([0, 1], "+", "x2"),
        ([0, 0], "+", "0"),
        ([1, 1], "*", "x1 * x2"),
        ([1, -1], "*", "x1 / x2"),
        ([-1, -1], "*", "1 / x1 / x2"),
        ([0, 0], "*", "1"),
    ],
)
def test_one_layer(weights: list[int], operation: str, formula: str) -> None:
    found = explain(single(weights, operation))
    assert found.formulas == (formula,)
    assert found.proves(formula)


def test_a_constant(tmp_path: Path) -> None:
    """Nothing of the stack but its last layer counts."""
    model = keras.Sequential([keras.Input((2,)), NALU(2), NALU(1)])
    nothing = np.zeros((2, 2)), np.zeros((2, 2)), [True, True]
    solve(model, [nothing, (np.zeros((2, 1)), np.zeros((2, 1)), [True])])
    found = explain(model)
    assert found.formulas == ("0",)
    assert found.ignored == ("x1", "x2")
    plot_explanation(found).savefig(tmp_path / "formula.png")


def test_names_of_inputs_and_several_outputs() -> None:
    found = explain(single([[1, 1], [1, -1]], "+", units=2), names=["a", "b"])
    assert found.formulas == ("a + b", "a - b")
    assert str(found).startswith("y1 = a + b\ny2 = a - b")
    with pytest.raises(ValueError, match="1 names for 2 inputs"):
        explain(single([1, 1], "+"), names=["a"])
    with pytest.raises(ValueError, match="1 expressions for 2 outputs"):
        found.proves("a + b")


def test_other_layers_are_refused() -> None:
    model = keras.Sequential([keras.Input((2,)), NALU(2), keras.layers.Dense(1, name="head")])
    with pytest.raises(TypeError, match="head is a Dense"):
        explain(model)


ENTRIES = st.lists(st.sampled_from([-1, 0, 1]), min_size=6, max_size=6)
GATES = st.lists(st.booleans(), min_size=2, max_size=2)


@settings(max_examples=25)
@given(ENTRIES, ENTRIES, GATES, ENTRIES, ENTRIES, GATES)
def test_text_expression_and_model_are_the_same(
    a: list[int], m: list[int], g: list[bool], b: list[int], n: list[int], h: list[bool]
) -> None:
    """Parsed again, the text is the expression; evaluated, it is the model."""
    model = keras.Sequential([keras.Input((3,)), NALU(2), NALU(2)])
    first = np.reshape(a, (3, 2)), np.reshape(m, (3, 2)), g
    second = np.reshape(b[:4], (2, 2)), np.reshape(n[:4], (2, 2)), h
    solve(model, [first, second])
    x = np.array([[1.5, 1.25, 1.75], [-1.5, 1.0, 2.0]], "float32")
    found = explain(model, x)
    # Division by zero is the model's epsilon, and no formula.
    assume(all(expression.is_finite is not False for expression in found.expressions))
    assert found.proves(*found.formulas)
    assume(found.error is not None and np.isfinite(found.error))
    assert found.error == pytest.approx(0, abs=1e-4)

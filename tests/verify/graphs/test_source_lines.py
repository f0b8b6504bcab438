"""The line of a step's code that made an op: in every kind of body, and nobody else's."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

from verify.graphs import SourceLine, flatten, graph_of_fit, line_of
from verify.graphs.reading import read

X = tf.TensorSpec((2, 3))


@tf.function
def called(x: Any) -> Any:
    return tf.math.sin(x)  # in a function that is called


def plain(x: Any) -> Any:
    return tf.math.cosh(x)  # in a plain function


@tf.function
def step(x: Any) -> Any:
    y = called(x) + plain(x)
    if tf.reduce_sum(x) > 0.0:  # noqa: SIM108
        y = tf.math.tan(y)  # in a branch
    else:
        y = tf.math.sinh(y)  # in the other branch
    for _ in tf.range(3):
        y = tf.math.atan(y)  # in a loop
    z = tf.switch_case(tf.size(y), [lambda: tf.math.asin(y), lambda: tf.math.acos(y)])  # a case
    return keras.ops.relu(tf.math.tanh(z))  # in the step itself


def lines(function: Any, *args: Any) -> dict[str, SourceLine | None]:
    concrete = function.get_concrete_function(*args)
    return {node.op: line_of(concrete.graph, node) for node in flatten(concrete).nodes}


@pytest.fixture(scope="module")
def made() -> dict[str, SourceLine | None]:
    return lines(step, X)


@pytest.mark.parametrize(
    ("op", "comment"),
    [
        ("Sin", "# in a function that is called"),
        ("Cosh", "# in a plain function"),
        ("Tan", "# in a branch"),
        ("Sinh", "# in the other branch"),
        ("Atan", "# in a loop"),
        ("Asin", "# a case"),
        ("Acos", "# a case"),
        ("Tanh", "# in the step itself"),
        ("Relu", "# in the step itself"),  # Keras made it, for that line
    ],
)
def test_an_op_knows_the_line_that_made_it(
    op: str, comment: str, made: dict[str, SourceLine | None]
) -> None:
    line = made[op]
    assert line is not None
    assert line.path == __file__
    assert line.text.endswith(comment)
    assert Path(__file__).read_text().splitlines()[line.number - 1].strip() == line.text


def test_the_gradient_of_a_function_is_made_where_it_is_asked_for() -> None:
    @tf.function
    def gradient(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = called(x)
        return tape.gradient(y, x)  # here

    found = lines(gradient, X)
    assert found["Sin"] is not None
    assert found["Sin"].text.endswith("# in a function that is called")
    assert found["Cos"] is not None
    assert found["Cos"].text.endswith("# here")


def test_who_asks_for_a_trace_has_made_nothing() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(tf.zeros((4, 3)), tf.zeros((4, 1)), verbose=0)
    found = read(model, [(tf.zeros((4, 3)), tf.zeros((4, 1)))])
    assert [line_of(found.graph, node) for node in found.flat.nodes] == [None] * len(
        found.flat.nodes
    )
    assert graph_of_fit(model) is not None


def test_a_graph_without_python_has_no_lines(tmp_path: Path) -> None:
    module = tf.Module()
    module.step = step
    tf.saved_model.save(module, tmp_path, step.get_concrete_function(X))
    found = read(str(tmp_path), [], signature="step")
    assert found.graph is None or {line_of(found.graph, n) for n in found.flat.nodes} == {None}


def test_a_grappler_graph_knows_what_kept_its_name() -> None:
    found = read(step, [X], optimized=True)
    known = {node.op: line_of(found.graph, node) for node in found.flat.nodes}
    kept = known["Tanh"]
    assert kept is not None
    assert kept.text.endswith("# in the step itself")
    assert None in {*known.values()}  # what Grappler has made


def test_a_line_is_told_from_the_working_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    number = inspect.getsourcelines(plain)[1] + 1
    line = SourceLine(__file__, number, "return x")
    monkeypatch.chdir(Path(__file__).parent)
    assert str(line) == f"test_source_lines.py:{number}: return x"
    monkeypatch.chdir("/")
    assert str(line).startswith(str(Path(__file__).relative_to("/")))

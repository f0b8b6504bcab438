"""Guards, and what a step may not contain."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch, dense

MSE, MAE = keras.losses.MeanSquaredError(), keras.losses.MeanAbsoluteError()


class Gated:
    """A step by hand: a flag chooses the loss, and a mode which layer is trained."""

    def __init__(self, inverted: bool = False) -> None:
        self.model = dense()
        self.flag = tf.Variable(True, trainable=False, name="flag")
        self.mode = tf.Variable(0, trainable=False, name="mode")
        self.unused = tf.Variable(True, trainable=False, name="unused")
        self.inverted = inverted

    def train(self, x: tf.Tensor, y: tf.Tensor) -> None:
        flag = tf.logical_not(self.flag) if self.inverted else tf.identity(self.flag)
        with tf.GradientTape() as tape:
            prediction = self.model(x)
            loss = tf.cond(flag, lambda: MSE(y, prediction), lambda: MAE(y, prediction))
        variables = [variable.value for variable in self.model.trainable_variables]
        gradients = tape.gradient(loss, variables)

        def apply(part: slice) -> Any:
            pairs = zip(variables[part], gradients[part], strict=True)
            return lambda: tf.group(*(v.assign_sub(0.1 * gradient) for v, gradient in pairs))

        tf.switch_case(tf.identity(self.mode), [apply(slice(0, 2)), apply(slice(2, 4))])
        self.unused.assign(tf.logical_not(self.unused))


def expected(gated: Gated) -> list[tuple[Any, Any]]:
    first, second = gated.model.layers
    return [
        ("flag", {True: {"loss": MSE}, False: {"loss": MAE, "regularization": 0}}),
        (
            gated.mode,
            {
                0: {"watched": first.trainable_variables},
                1: {"watched": second.trainable_variables, "clipping": None},
            },
        ),
    ]


def test_each_value_of_a_variable_chooses_a_step() -> None:
    """Though the gradient of a branch is a branch of its own, elsewhere in the graph."""
    gated = Gated()
    verify.assert_graph(gated.train, *batch(), guards=expected(gated))


def test_guards_nest() -> None:
    gated = Gated()
    first = gated.model.layers[0].trainable_variables
    nested = {"mode": {0: {"loss": MSE, "watched": first}}}
    verify.assert_graph(gated.train, *batch(), guards={"flag": {True: {"guards": nested}}})
    with pytest.raises(
        verify.GraphAssertionError, match=r"'flag': False\] guards\['mode': 0\] loss"
    ):
        verify.assert_graph(gated.train, *batch(), guards={"flag": {False: {"guards": nested}}})


def test_an_inverted_condition_is_told_for_each_value() -> None:
    gated = Gated(inverted=True)
    with pytest.raises(verify.GraphAssertionError) as caught:
        verify.assert_graph(gated.train, *batch(), guards=expected(gated))
    assert [violation.keyword for violation in caught.value.violations] == [
        "guards['flag': True] loss",
        "guards['flag': False] loss",
    ]


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("unused", "the step uses it, but not to choose a branch"),
        ("nowhere", "its value was frozen while tracing"),
    ],
)
def test_a_variable_that_chooses_nothing(variable: str, message: str) -> None:
    with pytest.raises(verify.GraphAssertionError, match=message) as caught:
        verify.assert_graph(Gated().train, *batch(), guards={variable: {}})
    assert "is chosen by flag" in str(caught.value)


def test_a_flag_frozen_into_the_graph() -> None:
    """A Python ``if`` on a value leaves one branch, and no trace of the variable."""
    flag = tf.Variable(True, trainable=False, name="flag")
    weight = tf.Variable(1.0)
    frozen = bool(flag.numpy())

    @tf.function
    def train(x: tf.Tensor) -> None:
        if frozen:
            weight.assign_add(x)
        tf.cond(tf.constant(frozen), lambda: weight.assign_sub(x), lambda: weight.assign_add(x))

    with pytest.raises(verify.GraphAssertionError, match="is always True: a frozen Python value"):
        verify.assert_graph(train, tf.TensorSpec(()), guards=[(flag, {})])


def test_no_guards() -> None:
    verify.assert_graph(tf.function(lambda x: x), tf.TensorSpec(()), guards=None)
    with pytest.raises(verify.GraphAssertionError, match="is chosen by mode"):
        verify.assert_graph(Gated().train, *batch(), guards=None)


def test_unknown_expectations_are_refused() -> None:
    with pytest.raises(TypeError, match="there is no keyword 'losses'"):
        verify.assert_graph(Gated().train, *batch(), guards={"flag": {True: {"losses": MSE}}})
    with pytest.raises(TypeError, match="not a mapping"):
        verify.assert_graph(Gated().train, *batch(), guards=["flag"])


def test_what_a_step_may_not_contain() -> None:
    @tf.function
    def step(x: tf.Tensor) -> tf.Tensor:
        return tf.cond(
            x[0] > 0, lambda: tf.py_function(lambda value: value, [x], tf.float32), lambda: x
        )

    spec = tf.TensorSpec((2,))
    verify.assert_graph(step, spec, forbids=["Random*", "Print*"])
    with pytest.raises(verify.GraphAssertionError, match=r"EagerPyFunc at cond\[then_branch\]::"):
        verify.assert_graph(step, spec, forbids="*PyFunc*")
    with pytest.raises(TypeError, match="no glob"):
        verify.assert_graph(step, spec, forbids=[3])


@pytest.mark.parametrize(
    ("glob", "message"),
    [
        ("*PyFnc*", r"'\*PyFnc\*' matches no op type .*; did you mean PyFunc or EagerPyFunc"),
        ("print*", "did you mean Print or Rint or PrintV2"),
        ("*nowhere_near_anything*", "of the step$"),
    ],
)
def test_a_glob_that_can_forbid_nothing_is_an_error(glob: str, message: str) -> None:
    step, spec = tf.function(lambda x: x + 1), tf.TensorSpec((2,))
    with pytest.raises(ValueError, match=message):
        verify.assert_graph(step, spec, forbids=["MatMul", glob])


def test_op_types_without_a_raw_op_can_be_forbidden() -> None:
    step, spec = tf.function(lambda x: x + 1), tf.TensorSpec((2,))
    verify.assert_graph(step, spec, forbids=["_FusedMatMul", "PartitionedCall"])


def test_how_large_a_step_may_be() -> None:
    table = tf.ones((100,))
    step = tf.function(lambda x: x + table)
    spec = tf.TensorSpec((100,))
    verify.assert_graph(step, spec, max_ops=10, max_bytes=400)
    inside = tf.function(lambda x: x + tf.constant(list(range(100)), tf.float32))
    with pytest.raises(verify.GraphAssertionError, match=r"at most 100 bytes.*\n.*400") as caught:
        verify.assert_graph(inside, spec, max_ops=1, max_bytes=100)
    assert len(caught.value.violations) == 2
    with pytest.raises(TypeError, match="no int"):
        verify.assert_graph(step, spec, max_ops=1.5)


def test_writes_by_hand_are_allowed_if_asked() -> None:
    weight = tf.Variable(1.0, name="weight")
    step = tf.function(lambda x: weight.assign(x))
    verify.assert_graph(step, tf.TensorSpec(()), unwatched="weight", allow_writes=True)
    with pytest.raises(verify.GraphAssertionError, match="by hand"):
        verify.assert_graph(step, tf.TensorSpec(()), unwatched="weight")

"""What traces a function again is named."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import verify


def function() -> Any:
    return tf.function(lambda data, rate=1.0: data[0] * rate if isinstance(data, tuple) else data)


def test_alike_calls_share_a_trace() -> None:
    verify.assert_no_retrace(function(), [tf.zeros((2,)), tf.ones((2,)), np.ones((2,), "float32")])


@pytest.mark.parametrize(
    ("calls", "message"),
    [
        ([tf.zeros((2,)), tf.zeros((3,))], r"data: shape \(3,\), \(2,\) before; give it an input_"),
        ([tf.zeros((2,)), tf.zeros((2,), "float64")], "data: dtype float64, float32 before"),
        (
            [(tf.zeros(2), 0.1), (tf.zeros(2), 0.2)],
            r"rate: the Python value 0\.2, 0\.1 before; Python values are frozen",
        ),
        (
            [((tf.zeros(2), tf.zeros(3)),), ((tf.zeros(2), tf.zeros(4)),)],
            r"data\[1\]: shape \(4,\), \(3,\) before",
        ),
        (
            [tf.zeros(2), {"data": tf.zeros(2), "rate": tf.constant(1.0)}],
            "rate is given in only one",
        ),
        ([tf.zeros(2), ((tf.zeros(2),), {"rate": 2})], "rate is given in only one"),
    ],
    ids=["shape", "dtype", "Python value", "nested", "named", "named too"],
)
def test_the_argument_that_differs_is_named(calls: list[Any], message: str) -> None:
    with pytest.raises(verify.GraphAssertionError, match=message):
        verify.assert_no_retrace(function(), calls)


def test_only_the_call_that_is_traced_again_is_told() -> None:
    with pytest.raises(
        verify.GraphAssertionError, match="call 3 to use an earlier trace"
    ) as caught:
        verify.assert_no_retrace(
            function(), [tf.zeros(2), tf.ones(2), tf.zeros((2, 2)), tf.ones(2)]
        )
    assert len(caught.value.violations) == 1


def test_what_can_never_retrace_is_refused() -> None:
    with pytest.raises(TypeError, match=r"neither a tf\.function"):
        verify.assert_no_retrace(len, [1, 2])
    with pytest.raises(ValueError, match="two calls"):
        verify.assert_no_retrace(function(), [tf.zeros(2)])


def test_what_was_traced_before_does_not_matter_and_nothing_is_traced() -> None:
    traced: list[Any] = []

    @tf.function
    def scaled(data: Any, rate: float) -> Any:
        traced.append(rate)
        return data * rate

    scaled(tf.zeros(2), 1.0)
    scaled(tf.zeros(2), 2.0)
    for _ in range(2):
        with pytest.raises(verify.GraphAssertionError, match="rate: the Python value 2"):
            verify.assert_no_retrace(scaled, [(tf.zeros(2), 1.0), (tf.zeros(2), 2.0)])
    assert traced == [1.0, 2.0]


def test_options_are_those_of_the_function() -> None:
    """`reduce_retracing` has no public name: this notices if it is not found any more."""
    lengths = [tf.zeros(n) for n in (2, 3, 4)]
    relaxed = tf.function(lambda data: data, reduce_retracing=True)
    with pytest.raises(verify.GraphAssertionError, match="only after it has changed") as caught:
        verify.assert_no_retrace(relaxed, lengths)
    assert len(caught.value.violations) == 1
    assert "or reduce_retracing" not in str(caught.value)
    signed = tf.function(lambda data: data, input_signature=[tf.TensorSpec((None,))])
    verify.assert_no_retrace(signed, lengths)
    with pytest.raises(TypeError, match="does not take call 2"):
        verify.assert_no_retrace(signed, [tf.zeros(2), tf.zeros((2, 2))])


@pytest.mark.parametrize("target", ["model", "train_function", "test_function", "predict_function"])
@pytest.mark.parametrize("fed", ["arrays", "datasets"])
def test_models_and_their_functions(target: str, fed: str) -> None:
    model = keras.Sequential([keras.Input((None, 2)), keras.layers.GlobalMaxPooling1D()])
    model.compile("sgd", "mse")
    for make in (model.make_train_function, model.make_test_function, model.make_predict_function):
        make()
    subject = model if target == "model" else getattr(model, target)

    def given(length: int) -> Any:
        arrays = np.zeros((4, length, 2), "float32"), np.zeros((4, 2), "float32")
        return arrays if fed == "arrays" else tf.data.Dataset.from_tensors(arrays)

    verify.assert_no_retrace(subject, [given(3), given(3)])
    with pytest.raises(
        verify.GraphAssertionError, match=r"data\[0\]: shape \(4, 5, 2\), \(4, 3, 2\) before; Keras"
    ):
        verify.assert_no_retrace(subject, [given(3), given(5)])
    assert not model.optimizer.iterations.numpy()


@pytest.mark.parametrize(
    ("first", "second", "advice"),
    [
        (None, tf.constant(True), "a tensor, None before; None is part of the trace"),
        (
            keras.optimizers.SGD(),
            keras.optimizers.SGD(),
            "another optimizer; .* a tf.function for each optimizer",
        ),
        (lambda x: x, lambda x: x, "another function; objects are told apart by identity"),
        ({"a": tf.zeros(1)}, {"b": tf.zeros(1)}, "the keys 'b', 'a' before"),
        ([tf.zeros(1)], [tf.zeros(1), tf.zeros(1)], "2 values, 1 before"),
        (tf.zeros(1), tf.Variable([1.0]), "a variable, a tensor before"),
        (
            tf.ragged.constant([[1.0], [2.0]]),
            tf.ragged.constant([[1.0]]),
            "an input_signature of tf.RaggedTensorSpec",
        ),
        (
            tf.sparse.from_dense([[1.0]]),
            tf.sparse.from_dense([[1.0, 2.0]]),
            "an input_signature of tf.SparseTensorSpec",
        ),
        (tf.zeros(1), tf.zeros((1, 1)), "give both the same rank"),
        ("mean", "sum", "'sum', 'mean' before; .* a tf.function for each"),
    ],
    ids=[
        "None",
        "optimizer",
        "function",
        "keys",
        "list",
        "variable",
        "ragged",
        "sparse",
        "rank",
        "text",
    ],
)
def test_advice_is_for_that_kind_of_argument(first: Any, second: Any, advice: str) -> None:
    with pytest.raises(verify.GraphAssertionError, match=advice) as caught:
        verify.assert_no_retrace(function(), [(first,), (second,)])
    assert "Python values are frozen into the graph: pass a tensor" not in str(caught.value)

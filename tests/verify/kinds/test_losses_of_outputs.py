"""Which loss belongs to which output, and which variables a loss trains."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.updates import rejected

MSE, MAE = keras.losses.MeanSquaredError(), keras.losses.MeanAbsoluteError()
EXPECTED = {"a": (MSE, 0.3), "b": (MAE, 0.7)}


def two_heads(keyed: bool = True) -> keras.Model:
    x = keras.Input((4,))
    trunk = keras.layers.Dense(5, "tanh", name="trunk")(x)
    a, b = (keras.layers.Dense(1, name=name)(trunk) for name in "ab")
    return keras.Model(x, {"a": a, "b": b} if keyed else [a, b])


def batch(keyed: bool = True) -> tuple[Any, Any]:
    y = tf.TensorSpec((8, 1))
    return tf.TensorSpec((8, 4)), {"a": y, "b": y} if keyed else [y, y]


def trained(model: keras.Model, terms: list[tuple[Any, float, Any, Any]]) -> Any:
    """A step of weighted terms: (loss, weight, key of the output, key of the target)."""
    variables = model.trainable_variables
    optimizer = keras.optimizers.SGD()
    optimizer.build(variables)

    @tf.function
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            p = model(x, training=True)
            total = tf.add_n([w * loss(y[t], p[o]) for loss, w, o, t in terms])
        used = [
            (g, v)
            for g, v in zip(tape.gradient(total, variables), variables, strict=True)
            if g is not None
        ]
        optimizer.apply([g for g, _ in used], [v for _, v in used])

    return step


def violations(step: Any, model: keras.Model, keyed: bool = True, **expected: Any) -> list[str]:
    try:
        verify.assert_graph(step, *batch(keyed), model=model, **expected)
    except verify.GraphAssertionError as error:
        return [str(violation) for violation in error.violations]
    return []


RIGHT = [(MSE, 0.3, "a", "a"), (MAE, 0.7, "b", "b")]
WRONG = {
    "losses exchanged": [(MSE, 0.3, "b", "b"), (MAE, 0.7, "a", "a")],
    "targets exchanged": [(MSE, 0.3, "a", "b"), (MAE, 0.7, "b", "a")],
    "one output twice": [(MSE, 0.3, "a", "a"), (MAE, 0.7, "a", "a")],
    "weights exchanged": [(MSE, 0.7, "a", "a"), (MAE, 0.3, "b", "b")],
    "one left out": [(MSE, 0.3, "a", "a")],
    "one too many": [*RIGHT, (MSE, 0.1, "b", "b")],
}


def test_a_loss_for_each_output() -> None:
    model = two_heads()
    step = trained(model, RIGHT)
    assert violations(step, model, loss=EXPECTED) == []
    assert violations(step, model, loss=list(EXPECTED.values())) == []


@pytest.mark.parametrize("fault", WRONG)
def test_what_is_of_another_output_or_target(fault: str) -> None:
    model = two_heads()
    assert violations(trained(model, WRONG[fault]), model, loss=EXPECTED)


def test_the_message_says_where_the_loss_is_instead() -> None:
    model = two_heads()
    first, _ = violations(trained(model, WRONG["targets exchanged"]), model, loss=EXPECTED)
    assert "expected MeanSquaredError of output 'a'" in first
    assert "found    that of output 'a' against target 'b', which trains a/bias, a/kernel" in first


def test_outputs_in_a_list_go_by_their_names() -> None:
    model = two_heads(keyed=False)
    right = trained(model, [(MSE, 0.3, 0, 0), (MAE, 0.7, 1, 1)])
    wrong = trained(model, [(MSE, 0.3, 1, 1), (MAE, 0.7, 0, 0)])
    assert model.output_names == ["a", "b"]
    assert violations(right, model, keyed=False, loss=EXPECTED) == []
    assert len(violations(wrong, model, keyed=False, loss=EXPECTED)) == 2


def test_the_losses_of_a_compiled_model() -> None:
    model = two_heads()
    model.compile("sgd", loss={"a": MSE, "b": MAE}, loss_weights={"a": 0.3, "b": 0.7})
    verify.assert_graph(model, batch(), loss=EXPECTED)
    with pytest.raises(verify.GraphAssertionError, match=r"weight 0\.3"):
        verify.assert_graph(model, batch(), loss={"a": MSE, "b": (MAE, 0.7)})


def test_a_loss_that_is_written_by_hand_is_of_its_output() -> None:
    model = two_heads()

    def square(y: Any, p: Any) -> Any:
        return tf.reduce_mean((y - p) ** 2)

    right = trained(model, [(square, 0.3, "a", "a"), (MAE, 0.7, "b", "b")])
    wrong = trained(model, [(square, 0.3, "b", "a"), (MAE, 0.7, "a", "b")])
    assert violations(right, model, loss=EXPECTED) == []
    assert violations(wrong, model, loss=EXPECTED)


def test_several_losses_of_one_output() -> None:
    model = two_heads()
    step = trained(model, [*RIGHT, (MAE, 0.1, "a", "a")])
    both = {"a": [(MSE, 0.3), (MAE, 0.1)], "b": (MAE, 0.7)}
    assert violations(step, model, loss=both) == []
    assert violations(step, model, loss=EXPECTED)


@pytest.mark.parametrize("beside", [MSE, MAE, keras.losses.LogCosh()])
def test_a_loss_whose_gradient_is_a_sum_of_parts(beside: Any) -> None:
    """One part of that of a logarithm of cosh is the share of each example, as in any mean."""
    model, cosh = two_heads(), keras.losses.LogCosh()
    step = trained(model, [(cosh, 1.0, "a", "a"), (beside, 1.0, "b", "b")])
    assert violations(step, model, loss=[cosh, beside]) == []
    assert violations(step, model, loss={"a": cosh, "b": beside}) == []
    assert violations(step, model, loss=cosh)
    assert violations(step, model, loss={"a": cosh, "b": keras.losses.Huber()})


def test_an_output_that_the_model_does_not_have() -> None:
    model = two_heads()
    with pytest.raises(
        ValueError, match="'c' is not an output of the model; its outputs are 'a', 'b'"
    ):
        verify.assert_graph(trained(model, RIGHT), *batch(), model=model, loss={"a": MSE, "c": MAE})


def alternating(model: keras.Model, exchanged: bool = False) -> Any:
    """Trains each head by a loss of its own, with the trunk left alone."""
    heads = [model.get_layer(name).trainable_variables for name in "ab"]
    optimizer = keras.optimizers.SGD()
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(x: Any, y: Any) -> None:
        for (loss, _), name, variables in zip(EXPECTED.values(), "ab", heads, strict=True):
            with tf.GradientTape() as tape:
                value = loss(y[name], model(x, training=True)[name])
            if exchanged:
                variables = model.trainable_variables[:2] + variables
            optimizer.apply(tape.gradient(value, variables), variables)

    return step


def test_a_loss_for_each_selection_of_variables() -> None:
    model = two_heads()
    each = {"a/*": MSE, "b/*": MAE}
    assert violations(alternating(model), model, loss=each) == []
    found = violations(alternating(model, exchanged=True), model, loss=each)
    assert "expected MeanSquaredError for a/*" in found[0]
    assert "which trains a/bias, a/kernel, trunk/bias, trunk/kernel" in found[0]
    assert violations(alternating(model), model, loss={"a/*": MAE, "b/*": MSE})
    with pytest.raises(ValueError, match=r"matches no trainable .*outputs of the model: 'a', 'b'"):
        verify.assert_graph(alternating(model), *batch(), model=model, loss={"c/*": MSE})


def test_another_weight_of_a_compiled_output() -> None:
    """A number is differentiated there as well, of which a loss is sought by its values."""
    model = two_heads()
    model.compile("sgd", {"a": "mse", "b": "mae"}, loss_weights={"a": 0.5, "b": 0.7})
    verify.assert_graph(model, batch(), loss={"a": ("mse", 0.5), "b": ("mae", 0.7)})
    told = rejected(model, batch(), loss={"a": ("mse", 0.1), "b": ("mae", 0.7)})
    assert "expected mse with weight 0.1" in told
    assert "found    weight 0.5" in told

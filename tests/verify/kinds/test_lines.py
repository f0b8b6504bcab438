"""Violations and findings name the line of the step that they come from."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

import verify

BATCH = (tf.TensorSpec((4, 3)), tf.TensorSpec((4, 1)))


def objective(x: Any, y: Any) -> Any:
    return tf.reduce_mean(tf.abs(y - x[:, :1]))


def distance(y: Any, prediction: Any) -> Any:
    difference = tf.square(tf.square(y - prediction))
    return tf.reduce_mean(difference)  # loss


@pytest.fixture(scope="module")
def step() -> Any:
    layers = [keras.layers.Dense(2, name="hidden"), keras.layers.Dense(1, name="head")]
    model = keras.Sequential([keras.Input((3,)), *layers], name="net")
    optimizer = keras.optimizers.SGD()
    optimizer.build(model.trainable_variables)

    @tf.function
    def hand_written(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            prediction = model(x + tf.random.normal((3,), seed=1))  # draw
            value = distance(y, prediction)
        weights = model.trainable_variables
        gradients = tape.gradient(value, weights)
        gradients = [tf.clip_by_value(one, -1.0, 1.0) for one in gradients]  # clip
        optimizer.apply(gradients, weights)  # write
        for weight in weights:
            weight.assign(weight * 0.99)  # decay

    return verify.trace(hand_written, *BATCH, model=model)


@pytest.mark.parametrize(
    ("asked", "comments"),
    [
        ({"loss": "mae"}, ["# loss"]),
        ({"regularization": True}, ["# loss"]),
        ({"clipping": None}, ["# clip"]),
        ({"clipping": (-2.0, 2.0)}, ["# clip"]),
        ({"watched": "*head*"}, ["# write", "# decay"]),
        ({"unwatched": "*head*"}, ["# write", "# decay"]),
        ({"optimizer": "adam"}, ["# write", "# decay"]),
        ({"forbids": "Random*"}, ["# draw"]),
        ({"draws": None}, ["# draw"]),
        ({"sample_weight": True}, ["# loss"]),
    ],
    ids=lambda case: "-".join(case),
)
def test_a_violation_names_the_line(step: Any, asked: dict[str, Any], comments: list[str]) -> None:
    with pytest.raises(verify.GraphAssertionError) as raised:
        verify.assert_graph(step, **asked)
    (violation,) = raised.value.violations
    assert [line.text[line.text.index("#") :] for line in violation.lines] == comments
    for line in violation.lines:
        assert f"   see {line}\n" in str(raised.value) + "\n"
        assert f"see {line}" in violation._repr_html_().replace("&#x27;", "'").replace("<wbr/>", "")


def test_a_compiled_loss_of_ones_own_is_found_in_the_steps_of_keras() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", distance)
    with pytest.raises(verify.GraphAssertionError) as raised:
        verify.assert_graph(model, BATCH, loss="mae", optimizer="adam")
    loss, optimizer = raised.value.violations
    assert [line.text for line in loss.lines] == ["return tf.reduce_mean(difference)  # loss"]
    assert optimizer.lines == ()  # Keras writes the variables, nothing of the user's does


def test_a_finding_names_the_line() -> None:
    weight = tf.Variable(tf.ones((3, 1)), name="weight")

    @tf.function
    def uphill(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(y - x @ weight))
        weight.assign_add(0.1 * tape.gradient(loss, weight))  # the wrong way

    found = verify.lint(uphill, *BATCH)
    assert found
    texts = [line.text for one in found for line in one.lines]
    assert set(texts) == {"weight.assign_add(0.1 * tape.gradient(loss, weight))  # the wrong way"}
    assert f"\n  see {found[0].lines[0]}\n" in str(found[0])

"""What `verify` does not see of losses, terms and predictions: each line of docs/verify.md.

The docstring of a test begins as its line does. If a test fails since more is seen, its line goes.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

import verify
from tests.replicas import mirrored
from tests.verify.not_seen.asked import X, Y, asked, descent, judged, mse, net
from tests.verify.steps import Asked, dense


@tf.custom_gradient
def custom(y: Any, p: Any) -> Any:
    off = p - y
    size = tf.cast(tf.size(off), tf.float32)
    return tf.reduce_mean(off * off), lambda up: (None, up * 2.0 * off / size)


def test_a_custom_gradient() -> None:
    """A loss that a `tf.custom_gradient` returns"""
    step = judged(custom)
    assert "no gradient of it reaches an update" in step(loss="mse")
    assert "written from data and weights, but by no known backward pass" in step(loss=None)
    assert not judged(lambda y, p: 1.0 * custom(y, p))(loss="mse")  # what follows is known


def in_python(y: Any, p: Any) -> Any:
    return 1.0 * tf.py_function(lambda a, b: tf.reduce_mean(tf.square(a - b)), [y, p], tf.float32)


def test_what_python_computes() -> None:
    """A loss that cannot be computed here"""
    step = judged(in_python)
    for loss in ("mse", in_python):
        assert "another data loss, eager_py_func(" in step(loss=loss)


def test_parts_of_a_batch() -> None:
    """A loss of parts of a batch"""
    model = net(keras.layers.Dropout(0.5))

    def part(x: Any, y: Any) -> Any:
        return mse(y[:4], model(x, training=True)[:4])

    def halves(x: Any, y: Any) -> Any:
        first, second = (mse(y[h], model(x[h], training=True)) for h in (slice(4), slice(4, 8)))
        return 0.5 * (first + second)

    for loss in (part, halves):
        step = asked(loss, model)
        assert "another data loss" in step(loss="mse")
        assert not step(objective=loss)


def test_a_loop_over_the_whole_batch() -> None:
    """A loss of the whole batch that a loop adds up"""

    def loss(y: Any, p: Any) -> Any:
        added = tf.while_loop(lambda i, _: i < 2, lambda i, a: (i + 1, a + mse(y, p)), [0, 0.0])
        return added[1] / 2.0

    model = dense()
    step = asked(lambda x, y: loss(y, model(x)), model)
    assert "another data loss" in step(loss="mse")
    assert not step(objective=lambda x, y: mse(y, model(x)))


def test_more_than_a_prediction() -> None:
    """A loss whose gradient by the prediction depends on more than"""
    model = dense()
    weight = model.trainable_variables[0].value

    def loss(y: Any, p: Any) -> Any:
        return tf.exp(-tf.stop_gradient(tf.reduce_mean(weight))) * mse(y, p)

    def in_other_words(y: Any, p: Any) -> Any:
        return mse(y, p) / tf.exp(tf.reduce_mean(tf.stop_gradient(weight)))

    step = asked(lambda x, y: loss(y, model(x)), model)
    assert not step(loss=loss)
    assert "another data loss" in step(loss=in_other_words)
    assert not step(objective=lambda x, y: in_other_words(y, model(x)))


def test_far_away() -> None:
    """Formulas that only differ beyond a hundred million"""

    def within(bound: float) -> Any:
        return lambda y, p: tf.reduce_mean(
            tf.where(tf.abs(y - p) < bound, tf.square(y - p), tf.abs(y - p))
        )

    assert not judged(within(1e12))(loss="mse")
    near, model = judged(within(1e4)), dense()
    assert near(loss="mse")
    step = asked(lambda x, y: within(1e4)(y, model(x)), model)
    assert not step(objective=lambda x, y: mse(y, model(x)))


def test_whole_numbers() -> None:
    """Formulas that only differ for whole numbers"""
    model, whole = dense(), tf.TensorSpec((8, 1), tf.int32)

    def counted(y: Any, p: Any) -> Any:
        y = tf.cast(y, tf.float32)
        return tf.reduce_mean(tf.square(p - y) * tf.where(y > 1.5, 10.0, 1.0))

    def own(y: Any, p: Any) -> Any:
        return tf.reduce_mean(tf.square(p - tf.cast(y, tf.float32)))

    step = asked(lambda x, y: counted(y, model(x)), model, X, whole)
    assert not step(loss=own)
    assert not step(objective=lambda x, y: own(y, model(x)))
    assert step(loss="mse")


class Masked(keras.layers.Embedding):  # type: ignore[misc]
    """Leaves out other numbers than an embedding does."""

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return keras.ops.equal(inputs, 0)


def test_which_examples() -> None:
    """Which examples a mask leaves out"""
    model = keras.Sequential(
        [keras.Input((6,), dtype="int32"), Masked(9, 3), keras.layers.Dense(1)]
    )
    model.compile("sgd", "mse")
    assert not Asked(model, (tf.TensorSpec((8, 6), tf.int32), tf.TensorSpec((8, 6, 1))))(loss="mse")


def test_where_it_is_differentiated() -> None:
    """For `loss`: the weights or examples at which it is differentiated"""
    model = dense()

    def adversarial(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = mse(y, model(x))
        return mse(y, model(tf.stop_gradient(x - 100.0 * tape.gradient(loss, x))))

    step = asked(adversarial, model)
    assert not step(loss="mse")
    assert step(objective=lambda x, y: mse(y, model(x)))


def test_the_divisor_of_weighted_losses() -> None:
    """For `sample_weight`: the number by which"""
    model = dense()

    def loss(x: Any, y: Any, weight: Any) -> Any:
        return tf.reduce_sum(weight * tf.reduce_mean(tf.square(y - model(x)), -1)) / 100.0

    step = asked(loss, model, X, Y, tf.TensorSpec((8,)))
    assert not step(sample_weight=True)
    assert "weight 0.08" in step(loss="mse")


def test_examples_of_one_argument() -> None:
    """The order of examples, if target and prediction are"""
    model = net()
    step = asked(lambda x: mse(x[::-1, :1], model(x)), model, X)
    assert not step(loss="mse")


def test_an_unknown_model() -> None:
    """What was done to the prediction, if the model"""
    model = dense()
    train = descent(lambda x, y: mse(y, tf.tanh(model(x))), model.trainable_variables)
    assert not Asked(train, X, Y)(loss="mse")
    assert Asked(train, X, Y, model=model)(loss="mse")


def test_what_a_loss_does_to_a_prediction() -> None:
    """For `forward`: what a loss of your own does"""
    model = dense()
    step = asked(lambda x, y: tf.reduce_mean(tf.tanh(3.0 * (y - model(x)))), model)
    assert not step(forward=model)


def test_losses_of_other_predictions() -> None:
    """For `forward`: losses of other predictions"""
    model = dense()
    step = asked(lambda x, y: mse(y, model(x)) + mse(1.0, model(2.0 * x)), model)
    assert not step(forward=model)
    assert step(objective=lambda x, y: mse(y, model(x)))


def test_several_replicas() -> None:
    """For `forward`, `objective` and `accumulated`: several replicas"""
    strategy = mirrored()
    with strategy.scope():
        model = net()
        optimizer = keras.optimizers.SGD(0.1)
        optimizer.build(model.trainable_variables)

    def replica(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = mse(y, model(x))
        for variable, slope in zip(
            model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True
        ):
            variable.value.assign_sub(0.1 * slope)

    step = Asked(tf.function(lambda x, y: strategy.run(replica, (x, y))), X, Y, model=model)
    asks: list[dict[str, Any]] = [{"forward": model}, {"accumulated": 3}]
    asks.append({"objective": lambda x, y: mse(y, model(x))})
    for keyword in asks:
        assert "can't be told" in step(**keyword)


def test_strings() -> None:
    """For `objective`: values that cannot be computed here"""
    model = net(features=1)

    def loss(words: Any, y: Any) -> Any:
        return mse(y, model(tf.strings.to_number(words)))

    def in_other_words(words: Any, y: Any) -> Any:
        return tf.reduce_mean((y - model(tf.strings.to_number(words))) ** 2)

    step = asked(loss, model, tf.TensorSpec((8, 1), tf.string), Y)
    assert not step(objective=loss)
    assert "can't be told" in step(objective=in_other_words)


def test_when_a_variable_is_read() -> None:
    """For `objective`: whether a variable is read before or after"""
    model, kept = net(), tf.Variable(tf.ones((8, 1)), trainable=False)

    def function(x: Any, y: Any) -> Any:
        return mse(y, kept * model(x))

    def filled_before(x: Any, y: Any) -> Any:
        kept.assign(x[:, :1])
        return function(x, y)

    def filled_after(x: Any, y: Any) -> Any:
        value = function(x, y)
        kept.assign(x[:, :1])
        return value

    for loss in (filled_before, filled_after):
        assert not asked(loss, model)(objective=function)


def objective(loss: Any, model: Any) -> str:
    shown = verify.facts(descent(loss, model.trainable_variables), X, Y)
    return str(shown)


def test_terms_without_a_gradient() -> None:
    """In formulas: terms that are added by ops"""
    model = dense()
    (weight, *_) = model.trainable_variables
    told = objective(lambda x, y: mse(y, model(x)) + tf.reduce_sum(tf.round(weight)), model)
    assert "round" not in told


def test_the_tensor_of_an_inner_gradient() -> None:
    """In formulas: by which of several tensors"""
    model = dense()

    def penalised(by: int) -> str:
        def loss(x: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(x)
                moved = 2.0 * x
                made = model(moved)
            return mse(y, made) + tf.reduce_mean(tape.gradient(made, (x, moved)[by]) ** 2)

        told = objective(loss, model)
        return next(line for line in told.splitlines() if "objective" in line)

    assert penalised(0) == penalised(1)
    assert "(d a/d (2 * args_0))^2" in penalised(0)


def test_ragged_batches() -> None:
    """For `objective` and `forward`: batches of ragged or sparse tensors"""
    model = net(features=3)
    table = keras.Variable(tf.ones((9, 3)), name="table")

    def loss(words: Any, y: Any) -> Any:
        means = tf.reduce_mean(tf.gather(table.value, words), axis=1)
        return mse(y, model(means))

    def in_other_words(words: Any, y: Any) -> Any:
        means = tf.reduce_mean(tf.gather(table.value, words), axis=1)
        return tf.reduce_mean((y - model(means)) ** 2)

    words = tf.RaggedTensorSpec((8, None), tf.int32)
    step = Asked(descent(loss, [table, *model.trainable_variables]), words, Y, model=model)
    assert not step(objective=loss)
    assert "can't be told" in step(objective=in_other_words)
    assert not step(loss="mse")

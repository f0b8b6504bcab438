"""Updates and treatments of gradients that are not told as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch, dense, step
from tests.verify.updates import BATCH, Seen, rejected, state, step_of, treated_step

optim = keras.optimizers
MSE = keras.losses.MeanSquaredError()


# -- what passes and should not ------------------------------------------------------------------


# fails today: the first place with a rate that differs by draw is taken, before the one after the
# clip, where the rate is one number (`Optimizers._descent`).
@pytest.mark.parametrize(
    "treat", [lambda g: g * tf.minimum(1.0, 0.5 / tf.norm(g)), lambda g: g / tf.norm(g)]
)
def test_a_norm_in_a_descent_by_hand_limits_gradients(treat: Callable[[Any], Any]) -> None:
    train = step_of({"weight": lambda g, v: v.value.assign_sub(0.1 * treat(g))})
    rejected(train, BATCH, clipping=None)


# fails today: as above.
def test_a_clip_by_norm_in_a_descent_by_hand_is_one() -> None:
    train = step_of(
        {"weight": lambda g, v: v.value.assign_sub(0.1 * g * tf.minimum(1.0, 0.5 / tf.norm(g)))}
    )
    verify.assert_graph(train, BATCH, clipping={"norm": 0.5})


# fails today: what enters the optimizer that is asked for may come after what the step keeps.
def test_a_momentum_by_hand_is_no_plain_descent() -> None:
    kept = state()
    apply = lambda g, v: v.value.assign_sub(0.1 * kept.assign(0.9 * kept + g))  # noqa: E731
    seen = Seen(step_of({"weight": apply}))
    assert not seen.is_as("weight", optim.SGD(0.1))


# fails today: a gradient is taken to begin where its rows are put together.
@pytest.mark.parametrize(
    "treat",
    [
        lambda g: tf.stack([tf.clip_by_value(row, -0.5, 0.5) for row in tf.unstack(g)]),
        lambda g: tf.concat([tf.clip_by_value(g[:1], -0.5, 0.5), g[1:]], 0),
    ],
)
def test_rows_that_are_clipped_by_themselves_are_limited(treat: Callable[[Any], Any]) -> None:
    rejected(treated_step({"weight": treat}), BATCH, clipping=None)


# fails today: as above.
def test_rows_that_are_exchanged_and_negated_are_no_gradient() -> None:
    train = treated_step({"weight": lambda g: tf.stack([g[1], -g[0]])})
    assert Seen(train).treatment("weight").kind == "other"


# fails today: which variables are spared is no setting, and settings alone are compared.
def test_weight_decay_of_which_variables_are_spared_is_another() -> None:
    model, spares = dense(), optim.AdamW(0.01, weight_decay=0.1)
    spares.exclude_from_weight_decay(var_names=["bias"])
    model.compile(spares, MSE)
    verify.assert_graph(model, batch(), optimizer=spares)
    rejected(model, batch(), optimizer=optim.AdamW(0.01, weight_decay=0.1))


# fails today: an ascent is seen only where its rule is known.
def test_an_adam_by_hand_that_ascends_trains_by_no_loss() -> None:
    model = dense()
    kept = [(state(v.shape), state(v.shape)) for v in model.trainable_variables]

    @tf.function(autograph=False)
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = MSE(y, model(x))
        variables = model.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        for g, v, (mean, square) in zip(gradients, variables, kept, strict=True):
            root = tf.sqrt(square.assign(0.999 * square + 0.001 * g * g))
            v.value.assign_add(0.01 * mean.assign(0.9 * mean + 0.1 * g) / (root + 1e-7))

    rejected(train, *batch(), loss=MSE)


# -- what fails and should not -------------------------------------------------------------------


# fails today: of a sparse gradient nothing is known.
@pytest.mark.parametrize("make", [lambda: optim.SGD(0.1), lambda: optim.Adam(0.1)])
def test_an_embedding_is_updated_by_the_optimizer(make: Callable[[], Any]) -> None:
    layers = [keras.layers.Embedding(7, 2), keras.layers.Flatten(), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,), dtype="int32"), *layers])
    model.compile(make(), MSE)
    pair = tf.TensorSpec((8, 3), tf.int32), tf.TensorSpec((8, 1))
    verify.assert_graph(model, pair, optimizer=make(), learning_rate=0.1)


class Scaled(keras.layers.Layer):
    """Multiplies by a number that is trained."""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, x: Any) -> Any:
        return self.scale * x


# fails today: `_Own` feeds a trained number with what it holds now, the step with what is drawn.
@pytest.mark.parametrize("make", [lambda: optim.Adam(0.1), lambda: optim.SGD(0.1, momentum=0.9)])
def test_a_number_is_updated_by_the_optimizer(make: Callable[[], Any]) -> None:
    model = keras.Sequential([keras.Input((4,)), Scaled(), keras.layers.Dense(1)])
    model.compile(make(), MSE)
    verify.assert_graph(model, batch(), optimizer=make(), learning_rate=0.1)


# fails today: the way of a variable of one element begins after the clip.
def test_a_global_norm_by_hand_where_a_variable_has_one_element() -> None:
    def treat(gradients: list[Any]) -> list[Any]:
        norm = tf.sqrt(tf.add_n([tf.reduce_sum(g * g) for g in gradients]))
        return [g * tf.minimum(1.0, 0.5 / norm) for g in gradients]

    train = step(dense(), MSE, treat=treat)
    verify.assert_graph(train, *batch(), clipping={"global_norm": 0.5})


# fails today: any variable that holds 1, a weight of a loss say, is taken for the learning rate.
def test_a_weight_of_a_loss_is_no_learning_rate() -> None:
    model, weight = dense(), tf.Variable(1.0, trainable=False)

    @tf.function(autograph=False)
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = weight * MSE(y, model(x))
        variables = model.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        for gradient, variable in zip(gradients, variables, strict=True):
            variable.value.assign_sub(0.1 * gradient)

    verify.assert_graph(train, *batch(), learning_rate=0.1)


# fails today: of the counts that are fed, fewer than two are those of a step that updates.
@pytest.mark.parametrize("steps", [3, 7])
def test_gradients_of_several_steps_are_added_up(steps: int) -> None:
    optimizer = optim.SGD(0.1, gradient_accumulation_steps=steps)
    seen = Seen(step_of({"weight": optimizer}))
    assert seen.rule("weight").optimizer is optimizer


# fails today: it is looked for without its clip, which is between what it keeps and the update.
def test_gradients_of_several_steps_are_added_up_and_clipped() -> None:
    optimizer = optim.SGD(0.1, gradient_accumulation_steps=2, clipnorm=0.5)
    seen = Seen(step_of({"weight": optimizer}))
    assert seen.rule("weight").optimizer is optimizer


# fails today: a variable that is updated twice has no rule.
def test_several_steps_per_execution() -> None:
    model = dense()
    model.compile(optim.SGD(0.1), MSE, steps_per_execution=2)
    model.make_train_function()
    verify.assert_graph(model.train_function, batch(), optimizer=optim.SGD(0.1), model=model)


# fails today: a dict is always taken for one by selection.
def test_an_optimizer_by_its_config() -> None:
    model = dense()
    model.compile(optim.SGD(0.1), MSE)
    verify.assert_graph(model, batch(), optimizer=optim.serialize(optim.SGD(0.1)))


# fails today: where the model is not known, a number that Nadam keeps is a weight.
def test_what_nadam_keeps_is_no_weight() -> None:
    train = step(dense(), MSE, optimizer=optim.Nadam(0.1))
    verify.assert_graph(train, *batch(), decayed=None, watched="*")


# fails today: states are looked for as Keras keeps them, which has the rate in them.
def test_momentum_is_as_that_of_keras_where_the_rate_is_outside_of_it() -> None:
    kept = state()
    apply = lambda g, v: v.value.assign_sub(0.1 * kept.assign(0.9 * kept + g))  # noqa: E731
    seen = Seen(step_of({"weight": apply}))
    assert seen.is_as("weight", optim.SGD(0.1, momentum=0.9))


# fails today: what an object that is called holds is not looked at.
def test_optimizers_of_an_object_that_is_called() -> None:
    class Trainer:
        def __init__(self) -> None:
            self.model, self.optimizer = dense(), optim.Adam(0.1)
            self.optimizer.build(self.model.trainable_variables)

        def __call__(self, x: Any, y: Any) -> None:
            with tf.GradientTape() as tape:
                loss = MSE(y, self.model(x))
            variables = self.model.trainable_variables
            gradients = tape.gradient(loss, [v.value for v in variables])
            self.optimizer.apply(gradients, variables)

    verify.assert_graph(Trainer(), *batch(), learning_rate=0.1)

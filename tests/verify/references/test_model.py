"""Models that can't be called on x as it is fed: there is no reference then, and a verdict."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch, dense
from verify.references import ModelReference
from verify.step import capture


class Distiller(keras.Model):
    """Trains a student by what a teacher says; there is no `call`."""

    def __init__(self, student: keras.Model) -> None:
        super().__init__()
        self.student = student

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape() as tape:
            loss = keras.losses.MeanSquaredError()(y, self.student(x, training=True))
            if self.student.losses:
                loss += tf.add_n(self.student.losses)
        variables = self.student.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return {"loss": loss}


def distiller(**settings: Any) -> Distiller:
    model = Distiller(dense(**settings))
    model.compile("sgd")
    model.optimizer.build(model.student.trainable_variables)
    return model


def test_a_model_without_call_has_facts_and_verdicts() -> None:
    model = distiller(kernel=keras.regularizers.L2(0.01))
    facts = verify.facts(model, batch())
    assert [loss.name for loss in facts.losses] == ["MeanSquaredError"]
    assert [term.kind for term in facts.regularization] == ["L2(l2=0.01)"]
    verify.assert_graph(model, batch(), loss="mse", regularization=1, watched="*")


class AddsALoss(keras.layers.Layer):
    """Something that no reference without a trace of the model can know of."""

    def call(self, x: Any) -> Any:
        self.add_loss(tf.reduce_sum(tf.math.log1p(x * x)))
        return x


def test_a_verdict_says_that_there_was_no_reference() -> None:
    student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1), AddsALoss()])
    model = Distiller(student)
    model.compile("sgd")
    model.optimizer.build(student.trainable_variables)
    with pytest.raises(verify.GraphAssertionError) as error:
        verify.assert_graph(model, batch(), loss="mse")
    told = str(error.value)
    assert "can't be called on x as it is fed" in told
    assert "NotImplementedError" in told
    assert "\x1b" not in told
    assert "Arguments received" not in told


def test_a_right_step_of_a_model_that_is_called_otherwise_passes() -> None:
    """Tokens are fed, and all but the last are what the model gets."""
    tokens = keras.Input((6,), dtype="int32")
    hidden = keras.layers.Embedding(20, 4)(tokens)
    model = keras.Model(tokens, keras.layers.Dense(20)(keras.layers.Flatten()(hidden)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)
    def step(text: Any, following: Any) -> None:
        with tf.GradientTape() as tape:
            value = loss(following, model(text[:, :-1], training=True))
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(value, [v.value for v in variables]), variables)

    specs = tf.TensorSpec((8, 7), tf.int32), tf.TensorSpec((8,), tf.int32)
    verify.assert_graph(step, *specs, model=model, loss=loss, regularization=0, watched="*")
    with pytest.raises(verify.GraphAssertionError, match="can't be called on x as it is fed"):
        verify.assert_graph(step, *specs, model=model, loss="mse")
    assert verify.facts(step, *specs, model=model).losses


@pytest.mark.parametrize("error", [KeyError("x"), AssertionError(), RuntimeError("no"), OSError()])
def test_whatever_a_model_raises_is_no_reference(error: Exception) -> None:
    class Raises(keras.Model):
        def call(self, x: Any, training: bool | None = None) -> Any:
            raise error

    model = Raises()
    model.kernel = model.add_weight(shape=(4, 1), name="kernel")
    reference = ModelReference(model, batch()[0])
    assert reference.doubts == ()
    assert reference.added_losses == ()
    assert reference.terms == ()
    assert reference.reached_by("mse") == reference.trainable != frozenset()
    assert type(error).__name__ in reference.doubts[0]


def test_an_interrupt_goes_through() -> None:
    class Interrupted(keras.Model):
        def call(self, x: Any, training: bool | None = None) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _ = ModelReference(Interrupted(), batch()[0]).added_losses


def test_a_capture_traces_the_model_only_if_it_has_to() -> None:
    reference = capture(distiller(), batch()).reference
    assert reference is not None
    assert reference.doubts == ()


def of_layers(*layers: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((4, 3)), *layers])


class Halved(keras.layers.Layer):
    """While it trains, its outputs are of another rank than a model is built with."""

    def call(self, x: Any, training: bool | None = None) -> Any:
        return x[..., 0] if training else x


@pytest.mark.parametrize(
    ("layers", "ranks"),
    [
        ([keras.layers.Dense(2)], {3}),
        ([keras.layers.Flatten(), keras.layers.Dense(2)], {2}),
        ([Halved()], None),
        ([keras.layers.Lambda(lambda x: x[..., 0])], None),
        ([keras.Sequential([Halved()])], None),
    ],
    ids=["dense", "flat", "own layer", "lambda", "own layer within"],
)
def test_ranks_of_outputs_are_told_of_keras_own_layers(
    layers: list[keras.layers.Layer], ranks: set[int] | None
) -> None:
    reference = ModelReference(of_layers(*layers), tf.TensorSpec((None, 4, 3)))
    assert reference.output_ranks == ranks


def test_ranks_of_outputs_are_not_told_of_somebody_s_call() -> None:
    class Called(keras.Sequential):
        def call(self, x: Any, training: bool | None = None) -> Any:
            return super().call(x, training=training)[..., 0]

    model = Called([keras.Input((4, 3)), keras.layers.Dense(2)])
    assert ModelReference(model, tf.TensorSpec((None, 4, 3))).output_ranks is None

"""What is known of a model's step, whatever it is fed."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from loopctl import LoopControllerCallback, when
from tests.replicas import mirrored
from tests.verify.steps import batch, dense

MSE = keras.losses.MeanSquaredError()


def compiled(**settings: Any) -> keras.Model:
    model = dense(kernel=keras.regularizers.L2(0.01))
    model.compile("sgd", "mse", **settings)
    return model


@pytest.mark.parametrize("steps", [1, 2])
def test_a_train_function_that_has_run_needs_no_batch(steps: int) -> None:
    """Private to TensorFlow is which graphs a function has run: this notices when it moves."""
    model = compiled(steps_per_execution=steps)
    model.make_train_function()
    with pytest.raises(TypeError, match="has to be traced: give a batch"):
        verify.facts(model.train_function)
    model.fit(tf.zeros((16, 4)), tf.zeros((16, 1)), batch_size=8, verbose=0)
    verify.assert_graph(model.train_function, loss="mse", regularization="all", watched="*")
    with pytest.raises(verify.GraphAssertionError, match="MeanSquaredError of"):
        verify.assert_graph(model.train_function, loss="mae")


def test_a_batch_of_x_alone() -> None:
    """Of an autoencoder, say: the model is known, so that what it adds is."""
    inputs = keras.Input((4,))
    code = keras.layers.ActivityRegularization(l2=0.1, name="code")(keras.layers.Dense(2)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(4)(code))
    model.compile("sgd")
    x = batch()[0]
    for args in ((x,), ((x,),), (tf.data.Dataset.from_tensors(tf.zeros((8, 4))),)):
        facts = verify.facts(model, *args)
        assert not facts.losses
        assert len(facts.regularization) == 2
        assert all(term.kind.endswith(" of code") for term in facts.regularization)


class OfFeatures(keras.Model):
    """Trains on a dict of features."""

    def __init__(self) -> None:
        super().__init__()
        self.of_x, self.of_z = keras.layers.Dense(1, name="of_x"), keras.layers.Dense(1)

    def call(self, features: Any) -> Any:
        return self.of_x(features["x"]) + self.of_z(features["z"])

    def train_step(self, features: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = MSE(features["y"], self(features, training=True))
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return {"loss": loss}


@pytest.mark.parametrize("frozen", [False, True])
def test_a_batch_in_a_dict(frozen: bool) -> None:
    data = {name: tf.zeros((8, size)) for name, size in {"x": 4, "z": 3, "y": 1}.items()}
    model = OfFeatures()
    model(data)
    model.of_z.trainable = not frozen
    model.compile("sgd")
    model.make_train_function()
    watched = "*/of_x/*" if frozen else "*"
    dataset = tf.data.Dataset.from_tensors(data)
    for target, batches in [(model, data), (model.train_function, dataset)]:
        verify.assert_graph(target, batches, loss="mse", watched=watched)


def test_a_compiled_method_of_a_model_knows_its_model() -> None:
    model = compiled()
    train = tf.function(model.train_step)
    assert verify.facts(train, batch()).losses[0].name == "MeanSquaredError"
    verify.assert_graph(train, batch(), regularization="all")


def test_uneven_last_batches_among_replicas() -> None:
    """A replica for which nothing is left is fed an empty batch, chosen within the step."""
    strategy = mirrored()
    with strategy.scope():
        model = dense()
        model.compile("sgd", "mse")
    data = tf.data.Dataset.from_tensor_slices((tf.zeros((20, 4)), tf.zeros((20, 1)))).batch(8)
    model.fit(data, verbose=0)
    verify.assert_graph(model.train_function, loss="mse", watched="*")
    with pytest.raises(verify.GraphAssertionError, match="MeanSquaredError of"):
        verify.assert_graph(model.train_function, loss="mae")


def test_a_sparse_batch() -> None:
    inputs = keras.Input((4,), sparse=True)
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    config = {"a": {"cond": when.always, True: {"clipping": (-0.1, 0.1)}}}
    callback = LoopControllerCallback(config).attach(model)
    data = (tf.SparseTensorSpec((None, 4)), tf.TensorSpec((None, 1)))
    verify.assert_graph(model, data, loss="mse", watched="*", regularization="all")
    verify.assert_config(model, callback, data)
    with pytest.raises(verify.GraphAssertionError, match="MeanSquaredError of"):
        verify.assert_graph(model, data, loss="mae")

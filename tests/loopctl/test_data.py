"""Several inputs and outputs, weights, data types: what a batch may be."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from loopctl import ConfigError, LoopControllerCallback, when
from tests.oracle import eager

Data = tuple[Any, Any]


def two_by_two() -> keras.Model:
    """Two inputs, two named outputs."""
    keras.utils.set_random_seed(4)
    inputs = {name: keras.Input((3,), name=name) for name in ("left", "right")}
    both = keras.layers.Concatenate()(list(inputs.values()))
    hidden = keras.layers.Dense(4, "tanh", kernel_regularizer="l2")(both)
    outputs = {name: keras.layers.Dense(1, name=name)(hidden) for name in ("a", "b")}
    model = keras.Model(inputs, outputs)
    model.compile(
        keras.optimizers.SGD(0.05), {"a": "mse", "b": "mae"}, loss_weights={"a": 1.0, "b": 0.5}
    )
    return model


@pytest.fixture
def batch() -> Any:
    generator = np.random.default_rng(0)
    x = {name: generator.normal(size=(8, 3)).astype("float32") for name in ("left", "right")}
    y = {name: generator.normal(size=(8, 1)).astype("float32") for name in ("a", "b")}
    weights = {name: generator.uniform(size=8).astype("float32") for name in ("a", "b")}
    return x, y, weights


@pytest.mark.parametrize("weighted", [False, True])
def test_losses_by_output(weighted: bool, batch: Any) -> None:
    """Own losses by hand: the mean of each output's, weighted by sample and by output, summed."""
    x, y, weights = batch
    model = two_by_two()
    predicted = {name: np.asarray(p) for name, p in model(x).items()}
    config = {"gate": {"cond": when.always, True: {"loss": {"a": "mae", "b": "mse"}}}}
    callback = LoopControllerCallback(config)
    extra = {"sample_weight": weights} if weighted else {}
    model.fit(x, y, verbose=0, callbacks=[callback], **extra)
    share = {name: w if weighted else np.ones(8) for name, w in weights.items()}
    expected = (np.abs(predicted["a"] - y["a"])[:, 0] * share["a"]).mean()
    expected += 0.5 * (((predicted["b"] - y["b"]) ** 2)[:, 0] * share["b"]).mean()
    assert callback.history[0]["loss"] == pytest.approx(expected, rel=1e-5)


def test_the_compiled_losses_keep_their_weights(batch: Any) -> None:
    x, y, _ = batch
    plain, model = two_by_two(), two_by_two()
    plain.fit(x, y, verbose=0, shuffle=False)
    config = {"gate": {"cond": when.always, True: {"regularize": True}}}
    shown = model.fit(
        x, y, verbose=0, shuffle=False, callbacks=[LoopControllerCallback(config)]
    ).history
    for a, b in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert shown["loss"] == pytest.approx(plain.history.history["loss"], rel=1e-5)


def test_float64(data: Data) -> None:
    keras.backend.set_floatx("float64")
    try:
        model = keras.Sequential(
            [
                keras.Input((3,)),
                keras.layers.Dense(2, kernel_regularizer="l2"),
                keras.layers.Dense(1),
            ]
        )
        model.compile("adam", "mse")
        config = {
            "gate": {
                "cond": when.loss.mean(3) > 0.5,
                True: {"loss": None, "regularize": True},
                False: {"clipping": {"global_norm": 1.0}},
            }
        }
        callback = LoopControllerCallback(config)
        model.fit(*data, batch_size=4, verbose=0, callbacks=[callback])
    finally:
        keras.backend.set_floatx("float32")
    assert len(callback.history) == 8


def test_random_layers_equal_an_eager_loop(data: Data) -> None:
    """Dropout draws the same numbers in the same order."""

    def build() -> keras.Model:
        keras.utils.set_random_seed(9)
        layers = [keras.layers.Dense(16), keras.layers.Dropout(0.5, seed=1), keras.layers.Dense(1)]
        model = keras.Sequential([keras.Input((3,)), *layers])
        model.compile(keras.optimizers.SGD(0.05), "mse")
        return model

    config = {
        "gate": {"cond": lambda self: self.batches % 2 == 0, True: {}, False: {"loss": "mae"}},
        "more": {"cond": lambda self: True, True: {"clipping": (-0.1, 0.1)}},
    }
    x, y = data
    reference, model = build(), build()
    eager.train(reference, config, [(x[i : i + 4], y[i : i + 4]) for i in range(0, 32, 4)])
    callback = LoopControllerCallback(config)
    model.fit(x, y, batch_size=4, shuffle=False, verbose=0, callbacks=[callback])
    for a, b in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_accumulated_gradients(data: Data) -> None:
    """The optimizer's own accumulation counts applications, of whichever substep."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2), "mse")
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    twin.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2), "mse")
    config = {"all": {"cond": when.every(3), True: {}, False: {}}}
    callback = LoopControllerCallback(config)
    model.fit(*data, batch_size=4, shuffle=False, verbose=0, callbacks=[callback])
    twin.fit(*data, batch_size=4, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


# -- one batch at a time --------------------------------------------------------------------------


def test_train_on_batch_under_control(model: keras.Model, data: Data) -> None:
    x, y = data
    config = {"gate": {"cond": lambda self: self.batches % 3 < 2, True: {}, False: {"loss": "mae"}}}
    weights, reference = model.get_weights(), LoopControllerCallback(config)
    model.fit(x, y, batch_size=4, shuffle=False, verbose=0, callbacks=[reference])
    expected = model.get_weights()

    model.set_weights(weights)
    callback = LoopControllerCallback(config).attach(model)
    model.reset_metrics()
    for i in range(0, 32, 4):
        logs = callback.train_on_batch(x[i : i + 4], y[i : i + 4])
    for a, b in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert set(logs) == {"loss", "mae", "loss_gate", "gate"}
    assert callback.batches == len(callback.history) == 8
    callback.on_epoch_end(0)
    assert callback.epochs == 1


def test_train_on_batch_with_weights_and_without_attachment(model: keras.Model, data: Data) -> None:
    callback = LoopControllerCallback({"all": {"cond": lambda self: True, True: {}}})
    with pytest.raises(ConfigError, match="attach the callback"):
        callback.train_on_batch(*data)
    callback.attach(model)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    before = model.get_weights()
    callback.train_on_batch(*data)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new, "the model was compiled anew")
    callback.train_on_batch(*data, sample_weight=np.zeros(32))
    assert callback.history[-1]["loss"] == 0


@pytest.mark.parametrize("one_hot", [False, True])
def test_train_on_batch_weighs_classes_as_keras_does(one_hot: bool, data: Data) -> None:
    def build() -> keras.Model:
        keras.utils.set_random_seed(1)
        made = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, "softmax")])
        loss = "categorical_crossentropy" if one_hot else "sparse_categorical_crossentropy"
        made.compile("sgd", loss)
        return made

    x, classes = data[0], np.arange(32)[:, None] % 3
    y = np.eye(3)[classes[:, 0]] if one_hot else classes
    plain, model = build(), build()
    plain.train_on_batch(x, y, class_weight={0: 3.0, 2: 0.5})
    callback = LoopControllerCallback({"all": {"cond": when.always, True: {}}}).attach(model)
    callback.train_on_batch(x, y, class_weight={0: 3.0, 2: 0.5})
    for a, b in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match="can't be given together"):
        callback.train_on_batch(x, y, np.ones(32), class_weight={0: 3.0})
    with pytest.raises(ValueError, match="a single target"):
        callback.train_on_batch(x, [y, y], class_weight={0: 3.0})
    with pytest.raises(ValueError, match="one class per sample"):
        callback.train_on_batch(x, y[:, :, None, None], class_weight={0: 3.0})


def sparse_model() -> keras.Model:
    inputs = keras.Input((3,), sparse=True)
    return keras.Model(inputs, keras.layers.Dense(1)(inputs))


@pytest.mark.parametrize("eagerly", [False, True])
def test_sparse_batches_train_as_in_keras(eagerly: bool, data: Data) -> None:
    x = tf.sparse.from_dense(np.where(data[0] > 0, data[0], 0))
    batches = tf.data.Dataset.from_tensor_slices((x, data[1])).batch(8)
    config = {"all": {"cond": when.always, True: {}}}
    weights, callback = [], LoopControllerCallback(config)
    for callbacks in ([], [callback]):
        keras.utils.set_random_seed(1)
        model = sparse_model()
        model.compile("sgd", "mse", run_eagerly=eagerly)
        model.fit(batches, verbose=0, callbacks=callbacks)
        weights.append(model.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    callback.train_on_batch(*next(iter(batches)))
    callback.summary(print_fn=str)


if "ragged" in inspect.signature(keras.Input).parameters:  # not in Keras 3.8

    class Mean(keras.layers.Layer):
        def call(self, z: Any) -> Any:
            return tf.reduce_mean(z, 1)

        def compute_output_shape(self, shape: Any) -> Any:
            return shape[0], shape[2]

    def test_ragged_batches_train_as_in_keras() -> None:
        rows = tf.ragged.constant([[1, 2, 3], [4], [5, 6], [7, 8, 9, 1]] * 4)
        batches = tf.data.Dataset.from_tensor_slices((rows, np.arange(16.0)[:, None])).batch(4)
        weights = []
        for callbacks in ([], [LoopControllerCallback({"all": {"cond": when.always, True: {}}})]):
            keras.utils.set_random_seed(1)
            inputs = keras.Input((None,), dtype="int32", ragged=True)
            means = Mean()(keras.layers.Embedding(10, 4)(inputs))
            model = keras.Model(inputs, keras.layers.Dense(1)(means))
            model.compile("sgd", "mse")
            model.fit(batches, verbose=0, callbacks=callbacks)
            weights.append(model.get_weights())
        for a, b in zip(*weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


# -- between the steps ----------------------------------------------------------------------------


def test_async_actions_at_other_moments(model: keras.Model, data: Data) -> None:
    seen: list[tuple[str, int]] = []
    names = ("train_begin", "batch_end", "epoch_end")
    callback = LoopControllerCallback(
        {"all": {"cond": when.always, True: {}}},
        {
            name: {
                "cond": lambda self: True,
                "callback": lambda self, name=name: seen.append((name, self.batches)),
                "when": name,
            }
            for name in names
        },
    )
    model.fit(*data, batch_size=16, verbose=0, callbacks=[callback])
    assert seen == [("train_begin", 0), ("batch_end", 1), ("batch_end", 2), ("epoch_end", 2)]


def test_a_batch_end_action_may_stop_training(model: keras.Model, data: Data) -> None:
    stop = {
        "cond": when.batches == 3,
        "model": lambda m: setattr(m, "stop_training", True),
        "when": "batch_end",
    }
    callback = LoopControllerCallback({"all": {"cond": when.always, True: {}}}, {"stop": stop})
    model.fit(*data, batch_size=4, verbose=0, callbacks=[callback])
    assert callback.batches == 3


@pytest.mark.parametrize("reset", [{}, {"reset_optimizer": False}, {"reset_optimizer": True}])
def test_slots_of_what_was_reinitialised(
    reset: dict[str, bool], model: keras.Model, data: Data
) -> None:
    model.compile(keras.optimizers.Adam(), "mse")
    head = model.layers[1].kernel

    def restart(m: keras.Model) -> None:
        head.assign(tf.ones_like(head))

    again = {"cond": lambda self: True, "model": restart, **reset}
    callback = LoopControllerCallback(
        {"all": {"cond": when.always, True: {"optimizer": "adam", "regularize": True}}},
        {"again": again},
    )
    model.fit(*data, batch_size=4, verbose=0, callbacks=[callback])
    (own,) = callback.steps.optimizers.own
    slots = {v.path.split("/")[-1]: np.abs(v.numpy()).max() for v in own.variables}
    assert bool(slots["sequential_dense_1_kernel_momentum"] == 0) is any(reset.values())
    assert slots["sequential_dense_kernel_momentum"] > 0
    assert slots["iteration"] == 8

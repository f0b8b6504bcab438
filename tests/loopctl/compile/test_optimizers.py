"""Optimizers of branches: what they were built for, and the averages they keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from loopctl import ConfigError, LoopControllerCallback, distributed, when

X = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")


def build(optimizer: Any = "sgd") -> keras.Model:
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(2, name="below"), keras.layers.Dense(1, name="head")]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile(optimizer, "mse")
    return model


def averaging() -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.5)


def test_an_optimizer_that_was_built_for_another_model_is_refused() -> None:
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(build().trainable_variables)
    callback = LoopControllerCallback({"a": {"cond": when.always, True: {"optimizer": optimizer}}})
    with pytest.raises(ConfigError, match="has been built for variables other than sequential"):
        callback.attach(build())


def test_averages_of_a_branch_s_own_optimizer_replace_what_it_trains_when_fit_ends() -> None:
    head: dict[str, Any] = {"variables": "*/head/*", "optimizer": averaging()}
    callback = LoopControllerCallback({"a": {"cond": when.always, True: head}})
    model = build()
    below = model.layers[0].get_weights()
    seen: list[Any] = [[w.numpy() for w in model.layers[1].weights]]
    watch = keras.callbacks.Callback()
    watch.on_train_batch_end = lambda batch, logs: seen.append(
        [w.numpy() for w in model.layers[1].weights]
    )
    model.fit(X, X[:, :1], batch_size=8, verbose=0, callbacks=[callback, watch])
    for i, weight in enumerate(model.layers[1].weights):
        average = seen[1][i]  # Keras' average begins with what the first step left
        for step in seen[2:]:
            average = 0.5 * average + 0.5 * step[i]
        np.testing.assert_allclose(weight.numpy(), average, rtol=1e-5)
        assert not np.allclose(weight.numpy(), seen[-1][i], rtol=1e-4)
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], below[0])


def test_an_optimizer_that_never_ran_replaces_nothing() -> None:
    config = {"a": {"cond": when.batches < 0, True: {"optimizer": averaging()}}}
    model = build()
    before = model.get_weights()
    model.fit(X, X[:, :1], verbose=0, callbacks=[LoopControllerCallback(config)])
    for weight, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_averages_of_the_compiled_optimizer_come_out_of_both_kinds_of_fit() -> None:
    config = {"a": {"cond": when.always, True: {}}}
    data = tf.data.Dataset.from_tensor_slices((X, X[:, :1])).batch(8)
    one, other = build(averaging()), build(averaging())
    one.fit(data, epochs=2, verbose=0, shuffle=False, callbacks=[LoopControllerCallback(config)])
    distributed.fit(other, data, callbacks=[LoopControllerCallback(config)], epochs=2, verbose=0)
    for weight, expected in zip(other.get_weights(), one.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-5)


def two_layers(optimizer: Any) -> keras.Model:
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(2, name="hidden", kernel_regularizer="l2")]
    net = keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(1, name="head")])
    net.compile(optimizer, "mse", jit_compile=False)
    return net


def accumulating() -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)


@pytest.mark.parametrize("own", [False, True])
def test_an_accumulating_optimizer_for_different_variables_is_refused(own: bool) -> None:
    """Half of them were never trained: an update forgets what it does not mention."""
    net, more = two_layers(accumulating()), {"optimizer": accumulating()} if own else {}
    turns = {
        "turn": {
            "cond": when.every(2),
            True: {"variables": "*/hidden/*", **more},
            False: {"variables": "*/head/*", **more},
        }
    }
    told = (
        r'config\["turn"\]\[True\] and config\["turn"\]\[False\] train different variables with '
        r"one optimizer \(.*\) that accumulates the gradients of 2 substeps"
    )
    with pytest.raises(ConfigError, match=told):
        LoopControllerCallback(turns).attach(net)


def test_accumulating_optimizers_of_their_own_train_both_branches() -> None:
    net = two_layers("sgd")
    before = net.get_weights()
    branch: Any = {
        name: {"variables": f"*/{name}/*", "optimizer": accumulating()} for name in NAMES
    }
    turns = {"turn": {"cond": when.every(2), True: branch["hidden"], False: branch["head"]}}
    fit_two(net, turns)
    assert all(np.any(a != b) for a, b in zip(net.get_weights(), before, strict=True))


NAMES = ("hidden", "head")


def fit_two(net: keras.Model, config: Any) -> None:
    callback = LoopControllerCallback(config)
    settings = {"batch_size": 4, "shuffle": False, "verbose": 0}
    net.fit(X, X[:, :1], callbacks=[callback], **settings)


def test_what_a_loss_does_not_depend_on_keeps_its_accumulated_gradients() -> None:
    """The mean of two substeps' gradients, of which one is by the regularised kernel alone."""
    config: Any = {
        "data": {"cond": lambda self: True, True: {}},
        "terms": {"cond": lambda self: True, True: {"loss": None, "regularize": True}},
    }
    net, twin = two_layers(accumulating()), two_layers(keras.optimizers.SGD(0.1))
    fit_two(net, config)
    for i in range(0, 32, 4):
        with tf.GradientTape() as tape:
            error = tf.reduce_mean((twin(X[i : i + 4]) - X[i : i + 4, :1]) ** 2)
            loss = (error + sum(twin.losses)) / 2
        twin.optimizer.apply(tape.gradient(loss, twin.trainable_weights), twin.trainable_weights)
    for a, b in zip(net.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


if hasattr(keras.optimizers, "MultiOptimizer"):  # Keras 3.8 has none

    def multiple() -> Any:
        rates = {"(.*/)?head/.*": keras.optimizers.SGD(0.2)}
        chosen = keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.05), rates)
        return keras.optimizers.MultiOptimizer(chosen)

    def test_an_optimizer_of_several_trains_all_as_in_keras() -> None:
        net, plain = two_layers(multiple()), two_layers(multiple())
        fit_two(net, {"all": {"cond": when.always, True: {"regularize": True}}})
        plain.fit(X, X[:, :1], batch_size=4, shuffle=False, verbose=0)
        for a, b in zip(net.get_weights(), plain.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)

    def test_an_optimizer_of_several_trains_a_part_of_its_variables(tmp_path: Path) -> None:
        net = two_layers(multiple())
        turns = {
            "turn": {
                "cond": when.every(2),
                True: {"variables": "*/hidden/*"},
                False: {"variables": "*/head/*"},
            }
        }
        before = net.get_weights()
        callback = LoopControllerCallback(turns)
        net.fit(X, X[:, :1], batch_size=4, verbose=0, callbacks=[callback])
        assert all(np.any(a != b) for a, b in zip(net.get_weights(), before, strict=True))
        assert int(net.optimizer.iterations) == 8
        callback.steps.optimizers.reset_slots(list(net.trainable_variables))
        with pytest.raises(ConfigError, match="an optimizer of several optimizers"):
            callback.export(tmp_path / "exported.py")

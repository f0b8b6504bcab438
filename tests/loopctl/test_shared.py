"""One forward pass for two branches trains as two do; none is run that nobody needs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings

from loopctl import LoopControllerCallback, when
from loopctl.look import nodes
from verify import strategies

STEPS, SIZE = 5, 8


# What branches that share don't have, or one of them only.
UNSHARED = (
    *("repeat", "objective", "loss_weights", "accumulate", "inference", "average"),
    *("skip_nonfinite", "ascend", "per_example"),
)


def share_what_can_be(config: strategies.Config) -> strategies.Config:
    """The config, with the loss of each True branch in its False branch as well."""
    alike = {}
    for name, action in config.items():
        on, off = (
            {k: v for k, v in action.get(branch, {}).items() if k not in UNSHARED}
            for branch in (True, False)
        )
        off.pop("loss", None)
        loss = {"loss": on["loss"]} if "loss" in on else {}
        alike[name] = {"cond": action["cond"], True: on, False: {**off, **loss}}
    return alike


@settings(max_examples=settings.default.max_examples // 3)
@given(strategies.setups(strategies.predicate_pairs()))
def test_shared_and_separate_forward_passes_train_alike(setup: strategies.Setup) -> None:
    x, y = setup.data(STEPS, SIZE)
    config = share_what_can_be(setup.config)
    results = []
    for optimize in (True, False):
        model, callback = setup.model(), LoopControllerCallback(config, optimize=optimize)
        model.fit(x, y, batch_size=SIZE, shuffle=False, verbose=0, callbacks=[callback])
        assert all(("_shared(" in callback.source()) is optimize for _ in config)
        results.append((callback, model, nodes(callback.main_step, setup.batch())))
    (shared, first, fewer), (separate, second, more) = results
    assert fewer < more
    for name, column in separate.history.to_dict().items():
        np.testing.assert_allclose(shared.history.column(name), column, rtol=1e-4, atol=1e-6)
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


OWN = keras.losses.Huber(0.5)


def cubic(y_true: Any, y_pred: Any) -> Any:
    return keras.ops.abs(y_true - y_pred) ** 3


def squared(model: Any, data: Any) -> Any:
    x, y = data
    return keras.ops.mean((model(x, training=True) - y) ** 2)


@pytest.mark.parametrize(
    ("on", "off", "shared"),
    [
        ({}, {}, True),
        ({"loss": OWN}, {"loss": OWN}, True),
        ({"loss": OWN}, {"loss": keras.losses.Huber(0.6)}, False),
        ({"loss": cubic}, {"loss": cubic}, True),
        ({"loss": "mse"}, {"loss": "mean_squared_error"}, True),
        ({"loss": "mse"}, {}, False),
        ({"loss": None}, {"loss": False}, True),
        ({}, {"repeat": 2}, False),
        ({}, {"accumulate": 2}, False),
        ({}, {"skip_nonfinite": True}, False),
        ({}, {"loss_weights": 0.5}, False),
        ({}, {"learning_rate": 0.5}, True),
        ({"accumulate": 1}, {"average": {"decay": 0.9}}, True),
        ({"inference": True}, {"inference": True}, False),
        ({"objective": squared}, {"objective": squared}, False),
        ({}, {"update_statistics": False}, False),
    ],
)
def test_which_branches_share(on: Any, off: Any, shared: bool, model: keras.Model) -> None:
    config = {"gate": {"cond": when.every(2), True: on, False: off}}
    source = LoopControllerCallback(config).attach(model).source()
    assert ("gate_shared" in source) is shared


class Counted(keras.layers.Layer):
    """Passes its input on and counts how often that was really done."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def call(self, x: Any) -> Any:
        def count(value: Any) -> Any:
            self.calls += 1
            return value

        passed = tf.numpy_function(count, [x], x.dtype, stateful=False)
        passed.set_shape(x.shape)
        return passed


@pytest.mark.parametrize("normalised", [False, True])
def test_a_substep_of_no_data_loss_runs_no_forward_pass(
    normalised: bool, data: tuple[Any, Any]
) -> None:
    """Its regularisation needs the weights alone: TensorFlow prunes what nothing depends on."""
    counted = Counted()
    normal = [keras.layers.BatchNormalization()] if normalised else []
    dense = keras.layers.Dense(1, kernel_regularizer="l2")
    model = keras.Sequential([keras.Input((3,)), counted, *normal, dense])
    model.compile("sgd", "mse", metrics=["mae"])
    config = {
        "main": {"cond": when.always, True: {}, False: {}},
        "decay": {"cond": when.always, True: {"loss": None, "regularize": True}},
    }
    before = model.get_layer(index=-1).kernel.numpy()
    counted.calls = 0
    model.fit(*data, batch_size=4, verbose=0, callbacks=[LoopControllerCallback(config)])
    assert counted.calls == 8
    assert not np.allclose(before, model.get_layer(index=-1).kernel.numpy())

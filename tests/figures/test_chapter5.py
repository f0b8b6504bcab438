"""The thesis' tests of chapter 5 on the deep iNALU model, and the two it could not automate.

Typed in as printed, misprints mended: ``True`` and ``False`` are no strings, variables are told
apart by `path` (Keras 3 gives every gate the name ``g``), snapshots are taken by the test instead
of the callback, and what figure 5.3 counts by op names is asserted from the graph.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import verify
from inalu import NALU
from loopctl import LoopControllerCallback

BATCH = 64


@pytest.fixture
def data_dp() -> tf.data.Dataset:
    x = np.random.default_rng(0).uniform(-3, 3, (256, 7)).astype("float32")
    y = (x[:, 0] - x[:, 1]) * (x[:, 2] - x[:, 3]) + x[:, 4] * x[:, 5]
    return tf.data.Dataset.from_tensor_slices((x, y[:, None])).batch(BATCH)


@pytest.fixture
def model() -> keras.Model:
    stack = keras.Sequential([keras.layers.InputLayer((7,)), NALU(3), NALU(2), NALU(1)])
    stack.compile(
        optimizer=keras.optimizers.RMSprop(learning_rate=0.01), loss="mse", metrics=["mae"]
    )
    return stack


def cond(self: LoopControllerCallback) -> bool:
    return True


def get_gates_variables(self: keras.Model) -> list[Any]:
    return [layer.g for layer in self.layers if isinstance(layer, NALU)]


def values(model: keras.Model) -> dict[str, Any]:
    return {x.path: x.numpy() for x in model.trainable_variables}


@pytest.mark.parametrize(
    ("key", "gates_train"), [("excluded_variables", False), ("variables", True)]
)
def test_figures_5_1_and_5_2_variables(
    key: str, gates_train: bool, model: keras.Model, data_dp: tf.data.Dataset
) -> None:
    config = {"gate": {"cond": cond, True: {key: get_gates_variables}}}
    callback = LoopControllerCallback(config, {}, verbose=0)
    prior = values(model)
    _ = model.fit(data_dp, epochs=2, verbose=0, callbacks=[callback], shuffle=False)
    post = values(model)
    gates = {g.path for g in get_gates_variables(model)}
    for path in prior:
        assert np.array_equal(prior[path], post[path]) == ((path in gates) != gates_train), path
    # What the thesis could only see from values, the graph states.
    trained = [v for v in model.trainable_variables if (v.path in gates) == gates_train]
    verify.assert_graph(model.gate_on, next(iter(data_dp)), watched=trained)


def test_figure_5_3_losses(model: keras.Model, data_dp: tf.data.Dataset) -> None:
    model.compile(
        optimizer=keras.optimizers.RMSprop(learning_rate=0.01),
        loss=keras.metrics.mean_absolute_error,
        metrics=["mae"],
    )

    def cond(self: LoopControllerCallback) -> bool:
        return self.epochs % 2 == 0

    config = {
        "gate": {
            "cond": cond,
            True: {"loss": keras.metrics.mean_squared_error},
            False: {},
        },
    }
    callback = LoopControllerCallback(config, {}, verbose=0)
    _ = model.fit(data_dp, epochs=4, verbose=0, callbacks=[callback], shuffle=False)

    batch = next(iter(data_dp))
    assert model.gate_on.get_concrete_function(batch).graph is not None
    verify.assert_graph(model.gate_on, batch, loss=keras.metrics.mean_squared_error)
    verify.assert_graph(model.gate_off, batch, loss=keras.metrics.mean_absolute_error)
    # The MAE metric is in both graphs; op names would not tell it from the loss.
    with pytest.raises(verify.GraphAssertionError):
        verify.assert_graph(model.gate_on, batch, loss=keras.metrics.mean_absolute_error)
    with pytest.raises(verify.GraphAssertionError):
        verify.assert_graph(model.gate_off, batch, loss=keras.metrics.mean_squared_error)


def test_figure_5_4_control_variables(model: keras.Model, data_dp: tf.data.Dataset) -> None:
    def cond(self: LoopControllerCallback) -> bool:
        return self.epochs % 2 == 0

    config = {"gate": {"cond": cond, True: {}, False: {}}}
    callback = LoopControllerCallback(config, {}, verbose=0)
    history = model.fit(data_dp, epochs=2, verbose=0, callbacks=[callback], shuffle=False)
    assert history.history["gate"][0]
    assert not history.history["gate"][1]


@pytest.mark.parametrize("is_known", [True, False], ids=["model known", "graph alone"])
def test_figure_5_5_regularisation(
    model: keras.Model, data_dp: tf.data.Dataset, is_known: bool
) -> None:
    """One term for each of the five weights of each of the three layers, or none."""
    config = {"reg": {"cond": cond, True: {"regularize": True}, False: {}}}
    LoopControllerCallback(config).attach(model)
    batch = next(iter(data_dp))
    known = {"model": model} if is_known else {}
    verify.assert_graph(model.reg_on, batch, regularization=15, loss="mse", **known)
    verify.assert_graph(model.reg_off, batch, regularization=0, loss="mse", **known)
    with pytest.raises(verify.GraphAssertionError, match="regularization: expected 15"):
        verify.assert_graph(model.reg_off, batch, regularization=15, **known)
    with pytest.raises(verify.GraphAssertionError, match="regularization: expected 0"):
        verify.assert_graph(model.reg_on, batch, regularization=False, **known)


def test_figure_5_6_clipping(model: keras.Model, data_dp: tf.data.Dataset) -> None:
    config = {"clip": {"cond": cond, True: {"clipping": (-0.1, 0.1)}, False: {}}}
    LoopControllerCallback(config).attach(model)
    batch = next(iter(data_dp))
    verify.assert_graph(model.clip_on, batch, clipping=(-0.1, 0.1), watched="*")
    verify.assert_graph(model.clip_off, batch, clipping=None, watched="*")
    with pytest.raises(verify.GraphAssertionError, match="0 of 15 gradients clipped so"):
        verify.assert_graph(model.clip_off, batch, clipping=(-0.1, 0.1))
    with pytest.raises(verify.GraphAssertionError, match=r"clipped to \[-0.1, 0.1\]"):
        verify.assert_graph(model.clip_on, batch, clipping=(-0.1, 0.2))

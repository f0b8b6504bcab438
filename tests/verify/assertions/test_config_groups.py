"""Optimizers of groups of variables, however they are held."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from loopctl import LoopControllerCallback, when

optim = keras.optimizers
BATCH = (tf.TensorSpec((8, 4)), tf.TensorSpec((8, 1)))


@pytest.mark.parametrize("scaled", [False, True])
def test_each_of_several_optimizers_is_known(scaled: bool) -> None:
    layers = [keras.layers.Dense(5, "tanh", name="hidden"), keras.layers.Dense(1, name="head")]
    model: Any = keras.Sequential([keras.Input((4,)), *layers], name="net")
    optimizer = optim.Adam(0.01)
    model.compile(optim.LossScaleOptimizer(optimizer) if scaled else optimizer, "mse")
    parts = {"*hidden*": optim.AdamW(0.001), "*head*": "sgd"}
    branch = {"optimizer": parts}
    callback = LoopControllerCallback({"all": {"cond": when.always, True: branch}})
    callback.attach(model)
    verify.assert_config(model, callback, BATCH)
    with pytest.raises(verify.GraphAssertionError, match=r"learning_rate is 0\.001"):
        verify.assert_graph(model.all_on, BATCH, optimizer={"*hidden*": optim.AdamW(0.002)})

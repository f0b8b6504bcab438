"""`assert_config` of learning rates that are functions of the user's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import verify
from loopctl import LoopControllerCallback, when

ROWS = np.zeros((8, 4), "float32"), np.zeros((8, 1), "float32")
optimizers = keras.optimizers
Schedule = optimizers.schedules.LearningRateSchedule


class Falling(Schedule):
    """Without a config, as in tutorials."""

    def __call__(self, step: Any) -> Any:
        return 0.1 / (1.0 + tf.cast(step, "float32"))


class InGraphs(Falling):
    """Of a step that counts in a graph; there is none of one that does not."""

    def __call__(self, step: Any) -> Any:
        if tf.executing_eagerly():
            raise RuntimeError("no graph")
        return super().__call__(step)


def controlled(optimizer: Any, settings: dict[str, Any]) -> tuple[Any, Any]:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="head")], name="net")
    model.compile(optimizer, "mse")
    callback = LoopControllerCallback({"a": {"cond": when.always, True: settings}})
    return model, callback.attach(model)


@pytest.mark.parametrize("schedule", [Falling(), InGraphs()])
def test_a_schedule_of_ones_own(schedule: Schedule) -> None:
    model, callback = controlled(optimizers.Adam(schedule), {})
    assert verify.assert_config(model, callback, ROWS) == ()


@pytest.mark.parametrize("rate", [0.02, {"*kernel": 0.5}, {"*": when.linear(0.5, 1.5, over=4)}])
def test_a_branch_has_another_rate_than_that_schedule(rate: Any) -> None:
    model, callback = controlled(optimizers.SGD(Falling()), {"learning_rate": rate})
    assert verify.assert_config(model, callback, ROWS) == ()
    other = {"a": {"cond": when.always, True: {"learning_rate": 0.03}}}
    with pytest.raises(verify.GraphAssertionError, match=r"learning_rate=0\.03"):
        verify.assert_config(model, SimpleNamespace(config=other), ROWS)


def test_of_a_schedule_that_raises_nothing_is_known() -> None:
    model, _ = controlled(optimizers.SGD(InGraphs()), {})
    why = "InGraphs raised RuntimeError: no graph"
    batch = tuple(map(tf.convert_to_tensor, ROWS))
    for asked in ({"optimizer": optimizers.SGD(InGraphs())}, {"learning_rate": InGraphs()}):
        with pytest.raises(verify.GraphAssertionError, match=f"found    can't be told: {why}"):
            verify.assert_graph(model.a_on, batch, model=model, **asked)
    other = {"a": {"cond": when.always, True: {"learning_rate": InGraphs()}}}
    left = verify.assert_config(model, SimpleNamespace(config=other), ROWS)
    assert left == (
        f"config['a'][True]: what enters the optimizer: {why}: net/head/bias, net/head/kernel",
    )

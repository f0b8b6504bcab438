"""`assert_config`, key by key: what a branch does otherwise than its config says."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

import verify
from loopctl import LoopControllerCallback, when
from verify.assertions.config_keys import _could_train

BATCH = (np.zeros((8, 4), "float32"), np.zeros((8, 1), "float32"))


class Pair(keras.Model):
    """A student with dropout and normalisation, and a teacher of the same weights."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("student", "teacher"):
            layers = [
                keras.Input((4,)),
                keras.layers.Dense(3, "tanh"),
                keras.layers.Dropout(0.5, name=f"{name}_drop"),
                keras.layers.BatchNormalization(name=f"{name}_norm"),
                keras.layers.Dense(1),
            ]
            setattr(self, name, keras.Sequential(layers, name=name))
        self.teacher.trainable = False

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.student(x, training=training)


def alike(model: Any, data: Any) -> Any:
    """Named parts, drawn at random, with a prediction."""
    x, y = data
    found = model.student(x + keras.random.normal(keras.ops.shape(x)), training=True)
    loss = keras.ops.mean((found - model.teacher(x, training=False)) ** 2)
    return {"alike": loss, "right": 0.5 * keras.ops.mean((found - y) ** 2)}, found


def less_alike(model: Any, data: Any) -> Any:
    parts, found = alike(model, data)
    return {**parts, "right": 0.5 * parts["right"]}, found


OBJECTIVE: dict[str, Any] = {"objective": alike, "variables": "student/*"}
FOLLOWS = {"decay": 0.99, "into": "teacher", "of": "student"}
INTENDED: dict[str, dict[str, Any]] = {
    "objective": OBJECTIVE,
    "accumulate": {"accumulate": 3, "clipping": {"global_norm": 1.0}},
    "accumulated objective": {**OBJECTIVE, "accumulate": 2, "average": {"decay": 0.9}},
    "inference": {"inference": ["student_norm"]},
    "all in inference": {"inference": True},
    "average": {"average": {"decay": 0.9}},
    "late average": {"average": {"decay": 0.9, "start": when.batches >= 3}},
    "follower": {"average": FOLLOWS},
    "follower of what is trained": {
        "variables": "student/*",
        "average": {"decay": 0.9, "into": lambda model: model.teacher},
    },
}


@functools.cache
def controlled(name: str, key: str = "", value: Any = None) -> Any:
    """A model under the intended config, or one with another value of one key (... for none)."""
    settings = dict(INTENDED[name])
    if key:
        settings[key] = dict(value) if isinstance(value, tuple) else value
    settings = {key: value for key, value in settings.items() if value is not ...}
    model = Pair()
    model.compile("rmsprop", "mse")
    model(BATCH[0])
    callback = LoopControllerCallback({"a": {"cond": when.always, True: settings}})
    return model, callback.attach(model)


@pytest.mark.parametrize("name", INTENDED)
def test_what_is_as_the_config_says_is_no_fault(name: str) -> None:
    verify.assert_config(*controlled(name), BATCH)


@pytest.mark.parametrize(
    ("name", "key", "value", "keyword"),
    [
        ("objective", "objective", less_alike, "objective"),
        ("accumulate", "accumulate", 4, "accumulated"),
        ("accumulate", "accumulate", ..., "accumulated"),
        ("inference", "inference", ..., "training"),
        ("inference", "inference", "student_drop", "training"),
        ("all in inference", "inference", "student_norm", "training"),
        ("average", "average", (("decay", 0.99),), "follows"),
        ("average", "average", ..., "follows"),
        ("follower", "average", (*FOLLOWS.items(), ("decay", 0.9)), "follows"),
        ("follower", "average", (("decay", 0.99),), "follows"),
    ],
)
def test_another_value_behind_the_config_is_found(
    name: str, key: str, value: Any, keyword: str
) -> None:
    model, _ = controlled(name, key, value)
    # Without a main step, which is not asked for this.
    intended = SimpleNamespace(config={"a": {"cond": when.always, True: INTENDED[name]}})
    with pytest.raises(verify.GraphAssertionError) as error:
        verify.assert_config(model, intended, BATCH)
    assert any(v.keyword.endswith(f") {keyword}") for v in error.value.violations), error.value


def test_what_a_frozen_layer_could_train() -> None:
    """Private to Keras: this fails if it moves."""
    model = Pair()
    model(BATCH[0])
    model.teacher(BATCH[0])
    kinds = [variable.path.rpartition("/")[2] for variable in _could_train(model.teacher)]
    assert kinds == ["kernel", "bias", "gamma", "beta", "kernel", "bias"]
    assert not model.teacher.trainable_variables

"""What configs may say, key by key, and faults of steps that do something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from loopctl import when
from tests.verify.assertions.test_config_keys import OBJECTIVE, Pair, less_alike

ROWS = np.zeros((8, 4), "float32"), np.zeros((8, 1), "float32")
layers = keras.layers
Settings = dict[str, Any]
ExponentialDecay = keras.optimizers.schedules.ExponentialDecay


def regular() -> keras.Model:
    hidden = layers.Dense(3, "tanh", kernel_regularizer="l2", name="hid")
    return keras.Sequential([keras.Input((4,)), hidden, layers.Dense(1, name="head")], name="net")


def with_state() -> keras.Model:
    parts = [layers.Dense(3), layers.BatchNormalization(), layers.Dropout(0.3), layers.Dense(1)]
    return keras.Sequential([keras.Input((4,)), *parts], name="net")


def two() -> keras.Model:
    x = keras.Input((4,))
    hidden = layers.Dense(3, "tanh")(x)
    outputs = {name: layers.Dense(1, name=name)(hidden) for name in ("a", "b")}
    return keras.Model(x, outputs, name="two")


def half(gradients: list[Any], variables: list[Any]) -> list[Any]:
    return [0.5 * gradient for gradient in gradients]


def third(gradients: list[Any], variables: list[Any]) -> list[Any]:
    return [gradient / 3.0 for gradient in gradients]


def noisy(gradients: list[Any], variables: list[Any]) -> list[Any]:
    return [g + 0.1 * tf.random.normal(tf.shape(g)) for g in gradients]


ONE, OTHER = (keras.Variable(1.0, trainable=False, name=name) for name in ("one", "other"))
KERNELS: Settings = {**OBJECTIVE, "variables": "student/*kernel"}
BOTH: Settings = {"loss": {"a": "mse", "b": "mae"}}
GROUPS = {"*hid*": "adamw", "*head*": "sgd"}
ACCUMULATED: Settings = {"accumulate": 3, "clipping": {"global_norm": 1.0}, "regularize": True}
SLOW = keras.optimizers.serialize(keras.optimizers.AdamW(0.01))  # where a computed rate ends
ONE_PART = {**OBJECTIVE, "objective": less_alike}
# What is intended, and faults of it by the keyword that tells them: each may differ by one key.
KEYS: dict[str, tuple[Callable[[], keras.Model], Settings, dict[str, Settings]]] = {
    "loss": (regular, {"loss": "mae"}, {"loss": {"loss": "mse"}}),
    "loss_weights": (
        two,
        {**BOTH, "loss_weights": {"a": 1.0, "b": 0.5}},
        {"loss": {**BOTH, "loss_weights": {"a": 1.0, "b": 0.25}}},
    ),
    "objective": (Pair, OBJECTIVE, {"objective": ONE_PART, "watched": KERNELS}),
    "regularize": (regular, {"regularize": True}, {"regularization": {}}),
    "variables": (regular, {"variables": "*kernel"}, {"watched": {"variables": "*hid/*"}}),
    "excluded_variables": (
        regular,
        {"excluded_variables": "*bias"},
        {"watched": {"excluded_variables": "*hid/bias"}},
    ),
    "inference": (with_state, {"inference": True}, {"training": {}}),
    "clipping": (
        regular,
        {"clipping": (-0.1, 0.1)},
        {"clipping": {"clipping": (-0.1, 0.2)}},
    ),
    "optimizer": (regular, {"optimizer": "adam"}, {"optimizer": {"optimizer": "adamax"}}),
    "average": (
        regular,
        {"average": {"decay": 0.9}},
        {"follows": {"average": {"decay": 0.8}}},
    ),
    "ascend": (regular, {"ascend": 0.05}, {"objective": {"ascend": 0.1}}),
    "ascend by a function": (regular, {"ascend": half}, {"objective": {"ascend": 0.05}}),
    "ascend with more": (
        with_state,
        {"ascend": 0.05, "gradients": half, "clipping": {"norm": 1.0}},
        {
            "objective": {"gradients": half, "clipping": {"norm": 1.0}},
            "gradients": {"ascend": 0.05, "gradients": third, "clipping": {"norm": 1.0}},
            "clipping": {"ascend": 0.05, "gradients": half, "clipping": {"norm": 2.0}},
        },
    ),
    "computed radius": (
        regular,
        {"ascend": when.linear(0.01, 0.1, over=50)},
        {"objective": {"ascend": when.linear(0.01, 0.2, over=50)}},
    ),
    "regularised ascent": (
        regular,
        {"ascend": 0.05, "regularize": True},
        {"objective": {"ascend": 0.05}},
    ),
    "per_example": (
        regular,
        {"per_example": {"clip": 1.0}},
        {"objective": {"per_example": {"clip": 2.0}}},
    ),
    "noise": (
        regular,
        {"per_example": {"clip": 1.0, "noise": 0.5}},
        {
            "objective": {"per_example": {"clip": 2.0, "noise": 0.25}},
            "per_example": {"per_example": {"clip": 1.0, "noise": 0.2}},
        },
    ),
    "gradients": (regular, {"gradients": half}, {"gradients": {"gradients": third}}),
    "noisy gradients": (
        regular,
        {"gradients": noisy, "regularize": True},
        {"gradients": {"regularize": True}},
    ),
    "weights of zero": (
        two,
        {**BOTH, "loss_weights": {"a": 1.0, "b": 0.0}},
        {"objective": {**BOTH, "loss_weights": {"a": 0.5, "b": 0.0}}},
    ),
    "variable weights": (
        two,
        {**BOTH, "loss_weights": {"a": 1.0, "b": ONE}},
        {"objective": {**BOTH, "loss_weights": {"a": 1.0, "b": OTHER}}},
    ),
    "computed weights": (
        two,
        {**BOTH, "loss_weights": {"a": 1.0, "b": when.linear(0, 1, over=10)}},
        {"objective": {**BOTH, "loss_weights": {"a": 1.0, "b": when.linear(0, 1, over=20)}}},
    ),
    "a computed weight of all": (
        two,
        {"loss": ["mse", "mae"], "loss_weights": when.linear(0.5, 1.5, over=10)},
        {
            "objective": {
                "loss": ["mse", "mae"],
                "loss_weights": when.linear(0.5, 1.5, over=20),
            }
        },
    ),
    "a computed weight of named losses": (
        two,
        {**BOTH, "loss_weights": when.linear(0.5, 1.5, over=10)},
        {"objective": {**BOTH, "loss_weights": {"a": when.linear(0.5, 1.5, over=10)}}},
    ),
    "weights of parts": (
        Pair,
        {**OBJECTIVE, "loss_weights": {"right": 0.5}},
        {"objective": {**OBJECTIVE, "loss_weights": {"right": 0.6}}},
    ),
    "ascent of an objective": (
        Pair,
        {**OBJECTIVE, "ascend": 0.05},
        {"objective": OBJECTIVE},
    ),
    "schedule": (
        regular,
        {"learning_rate": ExponentialDecay(0.1, 10, 0.9)},
        {"optimizer": {"learning_rate": ExponentialDecay(0.1, 10, 0.8)}},
    ),
    "computed rate": (
        regular,
        {"learning_rate": when.linear(0.1, 0.01, over=100)},
        {
            "optimizer": {"learning_rate": when.linear(0.1, 0.02, over=100)},
            "learning_rate": {"learning_rate": when.linear(0.1, 0.01, over=100, of=when.epochs)},
        },
    ),
    "factors": (
        regular,
        {"learning_rate": {"*hid*": 0.1}},
        {"optimizer": {"learning_rate": {"*head*": 0.1}}},
    ),
    "computed factors": (
        regular,
        {"optimizer": GROUPS, "learning_rate": {"*": when.cosine(0, 1, over=10)}},
        {"optimizer": {"optimizer": GROUPS, "learning_rate": {"*hid*": 0.1}}},
    ),
    "repeat": (regular, {"repeat": 3}, {"repeat": {"repeat": 2}}),
    "skip_nonfinite": (regular, {"skip_nonfinite": True}, {"skip_nonfinite": {}}),
    "no statistics": (
        with_state,
        {"update_statistics": False},
        {"update_statistics": {"update_statistics": True}},
    ),
    "statistics": (
        with_state,
        {"update_statistics": True},
        {"update_statistics": {"update_statistics": False}},
    ),
    "accumulate": (
        regular,
        ACCUMULATED,
        {
            "clipping": {**ACCUMULATED, "clipping": {"global_norm": 2.0}},
            "objective": {**ACCUMULATED, "loss": "mae"},
            "optimizer": {**ACCUMULATED, "optimizer": "sgd"},
            "accumulated": {**ACCUMULATED, "accumulate": 4},
        },
    ),
    "accumulated in inference": (
        with_state,
        {"accumulate": 3, "inference": True},
        {"accumulated": {"accumulate": 2, "inference": True}, "objective": {"accumulate": 3}},
    ),
    "a layer that infers in an objective": (
        Pair,
        {**OBJECTIVE, "inference": "student_norm"},
        {"objective": OBJECTIVE},
    ),
    "a layer that infers, accumulated": (
        with_state,
        {"accumulate": 3, "inference": "drop*"},
        {"objective": {"accumulate": 3, "inference": "batch*"}},
    ),
    "accumulated at a computed rate": (
        regular,
        {"accumulate": 4, "optimizer": SLOW, "learning_rate": when.cosine(0.1, 0.01, over=9)},
        {"optimizer": {"accumulate": 4, "optimizer": SLOW}},
    ),
    "no accumulation": (regular, {}, {"accumulated": {"accumulate": 3}}),
    "finite or not": (regular, {}, {"skip_nonfinite": {"skip_nonfinite": True}}),
    "repeat by a name": (
        regular,
        {"optimizer": "adam", "repeat": 2},
        {"repeat": {"optimizer": "adam"}},
    ),
    "skipped means": (
        regular,
        {"accumulate": 2, "skip_nonfinite": True},
        {"skip_nonfinite": {"accumulate": 2}},
    ),
    "accumulated ascent": (
        regular,
        {"accumulate": 2, "ascend": 0.05},
        {"objective": {"accumulate": 2, "ascend": 0.1}},
    ),
}

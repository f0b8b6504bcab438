"""`assert_config` of models in half precision, and of clips one after the other."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import verify
from loopctl import LoopControllerCallback, when

ROWS = np.zeros((8, 4), "float32"), np.zeros((8, 1), "float32")
layers = keras.layers


def halved(gradients: list[Any], variables: list[Any]) -> list[Any]:
    return [0.5 * gradient for gradient in gradients]


def controlled(
    optimizer: Any, policy: str = "float32", units: int = 3, **settings: Any
) -> tuple[Any, Any]:
    """A regularised model with one branch, and its callback."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        hidden = layers.Dense(units, "tanh", kernel_regularizer=keras.regularizers.L1L2(0.1, 0.1))
        model = keras.Sequential([keras.Input((4,)), hidden, layers.Dense(1)])
        model.compile(optimizer, "mse")
        callback = LoopControllerCallback({"a": {"cond": when.always, True: settings}})
        return model, callback.attach(model)
    finally:
        keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("policy", ["bfloat16", "float16"])
def test_models_in_pure_half_precision(policy: str) -> None:
    """Bounds and factors are rounded, and a regulariser's gradient is of that precision."""
    optimizer = keras.optimizers.SGD(0.1, global_clipnorm=0.2)
    verify.assert_config(*controlled(optimizer, policy, regularize=True, variables="*kernel"), ROWS)
    verify.assert_config(*controlled("sgd", policy, clipping=(-0.1, 0.1)), ROWS)


@pytest.mark.parametrize(
    "settings",
    [
        {"accumulate": 3, "clipping": {"norm": 0.3}},
        {"per_example": {"clip": 0.5}, "clipping": {"global_norm": 0.2}},
        {"ascend": 0.05, "gradients": halved},
        {"ascend": when.linear(0.01, 0.1, over=50), "regularize": True},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_keys_in_pure_half_precision(settings: dict[str, Any]) -> None:
    """A radius, a share and a norm are as exact as the precision that they are in."""
    assert verify.assert_config(*controlled("sgd", "bfloat16", **settings), ROWS) == ()


@pytest.mark.parametrize(
    ("own", "clipping"),
    [
        ({"clipnorm": 0.2}, {"norm": 0.3}),
        ({"clipnorm": 0.3}, {"norm": 0.2}),
        ({"clipvalue": 0.05}, (-0.1, 0.02)),
        ({"global_clipnorm": 0.2}, {"global_norm": 0.5}),
    ],
)
def test_a_branch_and_its_optimizer_clip(own: dict[str, float], clipping: Any) -> None:
    optimizer = keras.optimizers.SGD(0.1, **own)
    assert verify.assert_config(*controlled(optimizer, clipping=clipping), ROWS) == ()


def test_clips_of_two_kinds_may_be_the_same_to_a_number() -> None:
    optimizer = keras.optimizers.SGD(0.1, global_clipnorm=0.2)
    (left,) = verify.assert_config(*controlled(optimizer, clipping=(0.0, 0.5)), ROWS)
    assert left.startswith("config['a'][True]: clipping: the optimizer clips numbers otherwise")
    kernels = controlled(
        optimizer.from_config(optimizer.get_config()), clipping=(0.0, 0.5), variables="*kernel"
    )
    assert verify.assert_config(*kernels, ROWS) == ()


def test_a_common_norm_may_be_hidden_by_the_norm_of_each() -> None:
    """That of each is smaller than the share that it has in the common one."""
    optimizer = keras.optimizers.SGD(0.1, clipnorm=0.2)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(2)(layers.Dense(1, "tanh")(inputs)))
    model.compile(optimizer, "mse")
    settings = {"clipping": {"global_norm": 1.0}, "variables": "*kernel"}
    callback = LoopControllerCallback({"a": {"cond": when.always, True: settings}}).attach(model)
    rows = np.zeros((8, 3), "float32"), np.zeros((8, 2), "float32")
    (left,) = verify.assert_config(model, callback, rows)
    assert left.endswith("the optimizer clips as well, in another way, which may hide it")


@pytest.mark.parametrize("units", [1, 3])
@pytest.mark.parametrize("clipping", [None, {"global_norm": 1.0}])
def test_a_scale_that_is_taken_away_before_gradients_are_added_up(
    units: int, clipping: Any
) -> None:
    """A flag that says whether all is finite is as large as the bias."""
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05))
    settings = {} if clipping is None else {"clipping": clipping}
    model, callback = controlled(optimizer, units=units, accumulate=2, **settings)
    assert verify.assert_config(model, callback, ROWS) == ()


def test_single_numbers_that_are_clipped_twice_behind_a_loss_scale() -> None:
    """Bounds that all numbers are at make a common norm look like narrower bounds."""
    optimizer = keras.optimizers.SGD(0.1, global_clipnorm=0.2)
    model, callback = controlled(optimizer, "mixed_float16", units=1, clipping=(0.0, 0.5))
    found = verify.facts(model.a_on, *map(tf.convert_to_tensor, ROWS), model=model).clipping
    assert {(one.kind, round(one.upper, 4)) for one in found} == {
        ("value", 0.5),
        ("global_norm", 0.2),
    }
    verify.assert_config(model, callback, ROWS)

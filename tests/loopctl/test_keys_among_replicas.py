"""Every key of a branch trains on two replicas as on one device, by the same global batches."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from loopctl import LoopControllerCallback, when
from loopctl.config.dicts_to_plan import BRANCH_KEYS
from tests.grids import grid
from tests.loopctl import all_keys
from tests.replicas import mirrored


def _mirrored() -> tf.distribute.Strategy:
    """Without collectives, which TensorFlow numbers anew for each strategy: see tests/replicas."""
    reduction = tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy(["CPU:0"], cross_device_ops=reduction)


# Of one replica: what most people have who prepare for more.
ALONE = {
    "one device": functools.partial(tf.distribute.OneDeviceStrategy, "CPU:0"),
    "one mirrored": _mirrored,
}


@pytest.mark.parametrize("name", all_keys.BRANCHES)
def test_two_replicas_are_one_device(name: str) -> None:
    wanted = all_keys.alone(name)
    with mirrored().scope():
        found = all_keys.alone(name)
    all_keys.assert_same(found, wanted)


@pytest.mark.parametrize(("name", "kind"), grid([*all_keys.BRANCHES], [*ALONE]))
def test_a_strategy_of_one_replica_is_as_good_as_none(name: str, kind: str) -> None:
    wanted = all_keys.alone(name)
    with ALONE[kind]().scope():
        found = all_keys.alone(name)
    all_keys.assert_same(found, wanted)


@pytest.mark.parametrize("kind", ALONE)
@pytest.mark.parametrize("way", [{}, {"steps_per_execution": 3, "jit_compile": True}], ids=str)
def test_branches_that_share_a_forward_pass_elsewhere(kind: str, way: dict[str, Any]) -> None:
    config = {
        "late": {
            "cond": when.batches >= 3,
            False: {"variables": "head/*", "clipping": {"norm": 0.5}},
            True: {"clipping": (-0.1, 0.1), "optimizer": "adam"},
        }
    }

    def trained() -> list[Any]:
        keras.utils.set_random_seed(4)
        dense = [keras.layers.Dense(3, "tanh", name="body"), keras.layers.Dense(1, name="head")]
        model = keras.Model(i := keras.Input((3,)), dense[1](dense[0](i)))
        model.compile(keras.optimizers.SGD(0.1), "mse", **way)
        x, y = all_keys.data()
        control = LoopControllerCallback(config)
        model.fit(x, y, batch_size=all_keys.SIZE, shuffle=False, verbose=0, callbacks=[control])
        assert control.history.column("late").tolist() == [False] * 3 + [True] * 3
        return [*model.get_weights(), control.history.column("loss")]

    wanted = trained()
    with ALONE[kind]().scope():
        found = trained()
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_no_key_is_left_out() -> None:
    """But for those that are tried by the random configs of test_distributed."""
    tried = {key for branch in all_keys.BRANCHES.values() for key in branch}
    older = {"variables", "regularize", "gradients", "repeat", "update_statistics"}
    assert tried | older == set(BRANCH_KEYS)
    assert not tried & older

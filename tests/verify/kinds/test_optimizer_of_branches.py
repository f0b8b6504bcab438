"""Optimizers and rates of a step whose branches are chosen by how far counts have come."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from loopctl import LoopControllerCallback, when
from tests.grids import grid

BATCH = (tf.TensorSpec((4, 4)), tf.TensorSpec((4, 1)))
CONDITIONS = {
    "from the second epoch": when.epochs >= 1,
    "in the first epoch": when.epochs < 1,
    "in one step": when.batches == 23,
    "in two of three": when.batches % 3 < 2,
    "as an epoch begins": when.batches_in_epochs < 2,
    "late, now and then": (when.epochs >= 3) & (when.batches % 10 == 7),
    "a while after another start": (when.reinit_epochs > 10) | (when.epochs < 1),
}
BRANCHES: dict[str, dict[bool, Any]] = {
    "by turns": {True: {"variables": "*/hidden/*"}, False: {"variables": "*/head/*"}},
    "a part and all": {True: {"variables": "*/head/*"}, False: {}},
}


def controlled(condition: Any, branches: str, optimizer: Any) -> Any:
    """A traced step."""
    layers = keras.layers.Dense(3, "tanh", name="hidden"), keras.layers.Dense(1, name="head")
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(optimizer, "mse")
    config = {"chosen": {"cond": condition, **BRANCHES[branches]}}
    LoopControllerCallback(config).attach(model)
    return verify.trace(model, BATCH)


@pytest.mark.parametrize(("condition", "branches"), grid([*CONDITIONS], [*BRANCHES]))
def test_each_branch_is_looked_at(condition: str, branches: str) -> None:
    step = controlled(CONDITIONS[condition], branches, keras.optimizers.Adam(0.01))
    verify.assert_graph(step, loss="mse", optimizer=keras.optimizers.Adam(0.01), learning_rate=0.01)
    for wrong in (keras.optimizers.Adam(0.02), keras.optimizers.SGD(0.01)):
        with pytest.raises(verify.GraphAssertionError) as failure:
            verify.assert_graph(step, optimizer=wrong)
        # In whichever branch.
        assert all(name in str(failure.value) for name in ("hidden/kernel", "head/kernel"))


@pytest.mark.parametrize("never", [when.epochs < 0, when.batches < 0], ids=["epochs", "batches"])
def test_a_branch_that_is_never_taken_is_not_known(never: Any) -> None:
    """Also where another step, whose branch is taken, was told before in the same process."""
    verify.assert_graph(controlled(when.epochs < 1, "by turns", "sgd"), optimizer="sgd")
    with pytest.raises(verify.GraphAssertionError, match=r"hidden/bias"):
        verify.assert_graph(controlled(never, "by turns", "sgd"), optimizer="sgd")


def flagged(value: bool) -> Any:
    """Updates where a flag is set that the step itself sets."""
    optimizer = keras.optimizers.SGD(0.1)
    weight, on = tf.Variable(tf.ones((4, 1))), tf.Variable(False, trainable=False)
    optimizer.build([weight])

    @tf.function(autograph=False)
    def step(x: tf.Tensor) -> None:
        on.assign(value)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((x @ weight) ** 2)
        gradient = tape.gradient(loss, weight)
        tf.cond(on, lambda: optimizer.apply([gradient], [weight]), lambda: None)

    return step


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_of_two_steps_that_differ_in_a_flag_each_has_its_own_verdict(
    order: tuple[bool, bool],
) -> None:
    for value in order:
        told = verify.facts(flagged(value), [tf.TensorSpec((4, 4))])
        assert len(told.optimizers) == value

"""A guard before training: the very step that fit is about to run, or no training at all."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import verify
from loopctl import LoopControllerCallback, when
from tests.replicas import mirrored
from tests.verify.guard.trained import BATCH, X, Y, fit, model
from verify import GraphAssertionError, Guard, GuardWarning

PROMISED: dict[str, Any] = {
    "loss": "mse",
    "optimizer": "adam",
    "watched": ["*/hidden/*", "*/head/*"],
}
WAYS = [
    pytest.param({}, id="as it is"),
    pytest.param({"steps_per_execution": 4}, id="four steps an execution"),
    pytest.param({"jit_compile": True}, id="XLA"),
    pytest.param({"run_eagerly": True}, id="eagerly"),
]


@pytest.mark.parametrize("way", WAYS)
def test_that_a_step_that_keeps_its_promise_is_trained_as_without_a_guard(
    way: dict[str, Any],
) -> None:
    assert fit(model(**way), Guard(**PROMISED)) == fit(model(**way))


@pytest.mark.parametrize("way", WAYS)
def test_that_another_step_is_not_trained_at_all(way: dict[str, Any]) -> None:
    wrong = model(loss="mae", **way)
    before = wrong.get_weights()
    with pytest.raises(GraphAssertionError, match=r"(?s)right.*loss: expected mse") as raised:
        fit(wrong, Guard(**PROMISED))
    assert [violation.keyword for violation in raised.value.violations] == ["loss"]
    for old, new in zip(before, wrong.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert fit(wrong) == fit(model(loss="mae", **way))  # as if it had never been guarded


class Counted(keras.Sequential):
    """Counts how often its train step is traced."""

    traced = 0

    def train_step(self, data: Any) -> Any:
        self.traced += 1
        return super().train_step(data)


@pytest.mark.parametrize("every", [None, 1, 4, 5])
@pytest.mark.parametrize("way", WAYS[:3])
def test_that_what_is_checked_what_is_watched_and_what_runs_is_one_trace(
    way: dict[str, Any], every: int | None
) -> None:
    trained = Counted([keras.Input((3,)), keras.layers.Dense(1)])
    trained.compile("sgd", "mse", **way)
    guard = Guard(every=every, loss="mse", watched="*", ratio=(0.0, 9.0) if every == 5 else None)
    fit(trained, guard)
    assert trained.traced == 1


CONTROLLED: dict[str, Any] = {
    "clip": {"cond": when.batches % 10 < 8, True: {"clipping": (-0.1, 0.1)}, False: {}}
}


@pytest.mark.parametrize("first", [True, False], ids=["guard first", "control first"])
def test_that_what_runs_under_control_is_checked(first: bool) -> None:
    def train(**promised: Any) -> list[float]:
        both = [Guard(**promised), LoopControllerCallback(CONTROLLED)]
        return fit(model(), *(both if first else reversed(both)))

    guards = {"clip": {True: {"clipping": (-0.1, 0.1)}, False: {"clipping": None}}}
    assert train(guards=guards) == fit(model(), LoopControllerCallback(CONTROLLED))
    with pytest.raises(GraphAssertionError, match="clipping: expected none"):
        train(clipping=None)


@pytest.mark.parametrize("every", [None, 1])
def test_that_what_was_controlled_before_is_checked_as_it_runs_now(every: int | None) -> None:
    trained, control = model(), LoopControllerCallback(CONTROLLED)
    fit(trained, control, epochs=1)
    guard = Guard(every=every, clipping=None, guards=None)
    fit(trained, guard, epochs=1)
    with pytest.raises(GraphAssertionError, match="guards: expected no branch"):
        fit(trained, guard, control, epochs=1)


def test_that_a_controlled_model_that_is_built_by_its_first_batch_is_checked_after_it() -> None:
    def train(**promised: Any) -> None:
        unbuilt = keras.Sequential([keras.layers.Dense(4, "relu"), keras.layers.Dense(1)])
        unbuilt.compile("adam", "mse")
        control = LoopControllerCallback({"clip": {"cond": when.batches < 9, True: {}}})
        fit(unbuilt, Guard(every=1, **promised), control)

    train(watched="*")
    with pytest.raises(GraphAssertionError, match="watched: expected none"):
        train(watched=None)


def test_that_a_train_function_that_nobody_knows_is_no_step_that_was_checked() -> None:
    class Replaces(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
        def on_train_begin(self, logs: Any = None) -> None:
            self.model.train_function = lambda iterator: {"loss": len(next(iterator))}

    with pytest.raises(TypeError, match="can't tell what the train function of 'right' runs"):
        fit(model(), Guard(**PROMISED), Replaces())


def test_that_each_fit_is_checked_and_a_model_that_was_compiled_again() -> None:
    guard, trained = Guard(**PROMISED), model()
    fit(trained, guard)
    trained.compile("sgd", "mse")
    with pytest.raises(GraphAssertionError, match="found    SGD"):
        fit(trained, guard)


def test_that_a_train_function_that_is_made_anew_within_a_fit_is_checked() -> None:
    class Recompiles(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.compile("adam", "mae")
            self.model.make_train_function()

    with pytest.raises(GraphAssertionError, match="loss: expected mse"):
        fit(model(), Guard(**PROMISED), Recompiles())


def test_what_becomes_of_a_violation_that_does_not_raise() -> None:
    with pytest.warns(GuardWarning, match="loss: expected mse"):
        losses = fit(model(loss="mae"), Guard(**PROMISED, on_violation="warn"))
    assert losses == fit(model(loss="mae"))
    told: list[Any] = []
    fit(model(loss="mae"), Guard(**PROMISED, on_violation=told.append))
    assert [[violation.keyword for violation in found] for found in told] == [["loss"]]


def test_that_a_fit_that_raised_leaves_no_guard_behind() -> None:
    class Fails(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            raise RuntimeError("somebody's callback")

    for every in (None, 1):
        trained = model()
        with pytest.raises(RuntimeError):
            fit(trained, Guard(every=every, **PROMISED), Fails())
        trained.compile("adam", "mae")
        assert fit(trained) == fit(model(loss="mae"))


def test_that_a_loop_of_ones_own_is_checked() -> None:
    trained = model()
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(trained.trainable_variables)

    @tf.function(autograph=False)
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((trained(x, training=True) - y) ** 2)
        gradients = tape.gradient(loss, trained.trainable_variables)
        optimizer.apply_gradients(zip(gradients, trained.trainable_variables, strict=True))

    Guard(loss="mse", optimizer=keras.optimizers.SGD(0.1)).check(step, *BATCH)
    with pytest.raises(GraphAssertionError, match=r"step: 1 violation\n1. loss: expected mae"):
        Guard(loss="mae").check(step, *BATCH)


def test_that_two_replicas_are_checked() -> None:
    with mirrored().scope():
        trained = model()
    fit(trained, Guard(loss="mse", watched=PROMISED["watched"]))
    with mirrored().scope():
        wrong = model(loss="mae")
    with pytest.raises(GraphAssertionError, match="loss: expected mse"):
        fit(wrong, Guard(loss="mse"))


def test_that_batches_of_any_structure_are_told() -> None:
    trained = model()
    data = tf.data.Dataset.from_tensor_slices((X, Y, np.ones(64, "float32"))).batch(8)
    trained.fit(data, verbose=0, callbacks=[Guard(loss="mse", sample_weight=True)])
    with pytest.raises(GraphAssertionError, match="sample_weight"):
        trained.fit(data, verbose=0, callbacks=[Guard(sample_weight=False)])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"every": 0}, "every is 0: it has to be a number of steps, 1 or more"),
        ({"every": True}, "every is True"),
        ({"within": 0.5}, "within is 0.5"),
        ({"every": 1, "ratio": (0.1, 0.01)}, r"ratio is \(0.1, 0.01\): .*low < high"),
        ({"ratio": (0.0, 0.1)}, "needs every=n"),
        ({"on_violation": "print"}, "on_violation is 'print': it may be 'raise', 'warn'"),
    ],
)
def test_that_settings_that_make_no_sense_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Guard(loss="mse", **settings)


def test_that_the_door_of_verify_has_it() -> None:
    assert verify.Guard is Guard

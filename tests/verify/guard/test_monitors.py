"""A guard while training: the first step that does what the contract excludes, by its number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from loopctl import LoopControllerCallback, when
from tests.replicas import mirrored
from tests.verify.guard.trained import Fault, fit, model
from verify import GraphAssertionError, Guard

WAYS = [
    pytest.param({}, id="as it is"),
    pytest.param({"steps_per_execution": 4}, id="four steps an execution"),
    pytest.param({"jit_compile": True, "steps_per_execution": 4}, id="XLA"),
    pytest.param({"run_eagerly": True}, id="eagerly"),
]


def once(find: Any, change: Any) -> Fault:
    """A fault that changes a variable in one step."""

    def fault(of: keras.Model, is_now: Any) -> None:
        variable = find(of).value
        tf.cond(is_now, lambda: variable.assign(change(variable)), variable.read_value)

    return fault


def frozen(of: keras.Model) -> Any:
    return of.get_layer("frozen").bias


def trained(of: keras.Model) -> Any:
    return of.get_layer("hidden").kernel


def nudged(value: Any) -> Any:
    """Another number in the last place, of one element."""
    return tf.tensor_scatter_nd_add(value, [[0]], [1e-30])


def spoilt(value: Any) -> Any:
    return value + tf.one_hot(0, value.shape[-1]) * np.inf


for_each_way = pytest.mark.parametrize("way", WAYS)


@for_each_way
@pytest.mark.parametrize("every", [1, 3])
def test_that_training_goes_on_as_without_a_guard(way: dict[str, Any], every: int) -> None:
    guard = Guard(every=every, loss="mse", watched=["*/hidden/*", "*/head/*"], ratio=(1e-9, 1e9))
    assert fit(model(**way), guard) == fit(model(**way))


@for_each_way
@pytest.mark.parametrize("every", [1, 3])
def test_that_a_step_that_writes_what_should_not_change_is_named(
    way: dict[str, Any], every: int
) -> None:
    told: list[Any] = []
    guard = Guard(every=every, unwatched="*/frozen/*", allow_writes=False, on_violation=told.append)
    fit(model(once(frozen, nudged), **way), guard)
    # The graph tells it before the first batch; the monitors which step it is that does it.
    *_, ((seen,)) = told
    assert (seen.keyword, seen.found) == ("unwatched", "step 6 writes to it")


@for_each_way
def test_that_the_first_step_after_which_weights_are_not_finite_is_named(
    way: dict[str, Any],
) -> None:
    with pytest.raises(GraphAssertionError) as raised:
        fit(model(once(trained, spoilt), **way), Guard(every=1, watched=["*/hidden/*", "*/head/*"]))
    found = [one for one in raised.value.violations if "hidden/kernel" in one.expected]
    assert [one.in_one_line for one in found] == [
        "finite: expected finite numbers in faulty/hidden/kernel, found others after step 6"
    ]


@pytest.mark.parametrize("way", WAYS[1:3])
def test_that_a_step_between_those_that_are_looked_at_is_told_so(way: dict[str, Any]) -> None:
    with pytest.raises(GraphAssertionError, match="others after one of the steps 5 to 8"):
        fit(model(once(trained, spoilt), **way), Guard(every=4, watched=["*/hidden/*", "*/head/*"]))


@pytest.mark.parametrize("at_once", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("every", [2, 4, 8])
def test_that_steps_are_counted_alike_however_many_an_execution_has(
    at_once: int, every: int
) -> None:
    spoilt_at_6 = model(once(trained, spoilt), steps_per_execution=at_once)
    first = {2: "5 to 6", 4: "5 to 8", 8: "1 to 8"}[every]
    with pytest.raises(GraphAssertionError, match=f"others after one of the steps {first}"):
        fit(spoilt_at_6, Guard(every=every, watched=["*/hidden/*", "*/head/*"]))


@pytest.mark.parametrize("at_once", [1, 4])
def test_that_keras_need_not_wait_for_each_step_because_of_a_guard(at_once: int) -> None:
    guard = Guard(every=4, watched=["*/hidden/*", "*/head/*"])
    callbacks = keras.callbacks.CallbackList([guard], model=model(steps_per_execution=at_once))
    plain = keras.callbacks.CallbackList([], model=callbacks.model)
    assert callbacks._async_train == plain._async_train  # no public name: notices if it moves


class StopsLearning(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """Sets the rate to zero after some batches."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == 4:
            self.model.optimizer.learning_rate = 0.0


@pytest.mark.parametrize("way", WAYS[:2])
def test_that_what_should_move_and_has_stopped_is_told(way: dict[str, Any]) -> None:
    guard = Guard(every=1, within=6, watched=["*/hidden/*", "*/head/*"])
    with pytest.raises(GraphAssertionError) as raised:
        fit(model(**way), guard, StopsLearning())
    (violation,) = raised.value.violations
    assert violation.keyword == "watched"
    assert violation.found.startswith("none since step 4, in 1")
    assert all(name in violation.expected for name in ("hidden/kernel", "head/bias"))


def test_that_what_never_moved_is_told_at_the_end() -> None:
    guard = Guard(every=2, watched=["*/hidden/*", "*/head/*"])
    with pytest.raises(GraphAssertionError, match="found    none, in 16 steps"):
        fit(model(optimizer=keras.optimizers.Adam(0.0)), guard)


@pytest.mark.parametrize(
    ("clipping", "settings", "found"),
    [
        ((-0.1, 0.1), {"clipvalue": 0.1}, None),
        ({"norm": 0.1}, {"clipnorm": 0.1}, None),
        ({"global_norm": 0.1}, {"global_clipnorm": 0.1}, None),
        ((-0.1, 0.1), {}, "-"),
        ({"norm": 0.1}, {"clipvalue": 0.5}, ""),
        ({"global_norm": 0.1}, {"clipnorm": 0.1}, "0.2 at step 1"),
    ],
)
def test_that_gradients_beyond_their_bounds_are_told(
    clipping: Any, settings: dict[str, float], found: str | None
) -> None:
    told: list[Any] = []
    guard = Guard(every=1, clipping=clipping, on_violation=told.append)
    fit(model(optimizer=keras.optimizers.Adam(**settings)), guard)
    seen = [one.found for (one,) in told if "at step" in one.found]
    assert len(seen) == (found is not None)
    assert all(one.startswith(found or "") for one in seen)


def test_that_updates_of_another_size_are_told() -> None:
    guard = Guard(every=1, loss="mse", ratio=(1e-6, 1e-3))
    with pytest.raises(
        GraphAssertionError, match=r"ratio: expected updates of 1e-06 to 0.001 times"
    ):
        fit(model(optimizer=keras.optimizers.SGD(1.0)), guard)
    fit(model(optimizer=keras.optimizers.SGD(1e-4)), guard)


CONTROLLED: dict[str, Any] = {
    "hidden": {"cond": when.batches % 4 < 2, True: {"variables": "*/hidden/*"}},
    "head": {"cond": when.batches % 4 >= 2, True: {"variables": "*/head/*"}},
}


@pytest.mark.parametrize("way", WAYS)
def test_that_steps_under_control_are_watched(way: dict[str, Any]) -> None:
    both = Guard(every=1, within=3, watched=["*/hidden/*", "*/head/*"])
    control = LoopControllerCallback(CONTROLLED)
    assert fit(model(**way), both, control) == fit(model(**way), LoopControllerCallback(CONTROLLED))
    impatient = Guard(every=1, within=2, watched=["*/hidden/*", "*/head/*"])
    with pytest.raises(GraphAssertionError, match=r"none.*, in "):
        fit(model(**way), impatient, LoopControllerCallback(CONTROLLED))


@pytest.mark.parametrize("controlled", [False, True], ids=["Keras", "under control"])
def test_that_replicas_that_drift_apart_are_told(controlled: bool) -> None:
    config: dict[str, Any] = {"all": {"cond": when.batches >= 0, True: {}}}

    def train(every: int = 1, *others: Any) -> None:
        with mirrored().scope():
            made = model()
        control = [LoopControllerCallback(config)] if controlled else []
        guard = Guard(every=every, watched=["*/hidden/*", "*/head/*"])
        fit(made, guard, *control, *others, epochs=1)

    class Drifts(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if batch == 3:
                kernel = self.model.get_layer("head").kernel.value
                second = mirrored().experimental_local_results(kernel)[1]
                second.assign_add(tf.ones_like(second))

    train()
    with pytest.raises(GraphAssertionError, match=r"(?s)replicas: .*head/kernel.*2 of 2 replicas"):
        train(1, Drifts())


def test_that_what_was_looked_at_is_written_for_tensorboard(tmp_path: Path) -> None:
    fit(model(), Guard(every=4, loss="mse", ratio=(0.0, 9.0), log_dir=tmp_path))
    (events,) = tmp_path.iterdir()
    found = [
        (event.step, value.tag)
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
    ]
    assert (16, "guard/ratio/right/hidden/kernel") in found
    assert {step for step, _ in found} == {4, 8, 12, 16}

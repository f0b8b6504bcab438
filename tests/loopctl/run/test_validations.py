"""What `fit` measures on validation data decides the next epoch's steps."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from loopctl import ConfigError, LoopControllerCallback, when

X, Y = np.ones((8, 2), np.float32), np.ones((8, 1), np.float32)


class Validation(keras.metrics.Metric):
    """Measures on validation data, in turn, what a test says; 0 while training."""

    def __init__(self, values: list[float]) -> None:
        super().__init__(name="told")
        self.values = iter(values)
        self.now = self.add_weight(name="now", initializer="zeros")

    def update_state(self, *_: Any, **__: Any) -> None:
        pass

    def reset_state(self) -> None:
        pass

    def result(self) -> Any:
        return self.now + 0.0


class Tells(keras.callbacks.Callback):
    """Sets what is measured in each validation."""

    def __init__(self, metric: Validation) -> None:
        super().__init__()
        self.metric = metric

    def on_test_begin(self, logs: Any = None) -> None:
        self.metric.now.assign(next(self.metric.values))


def fitted(
    predicate: Any, values: list[float], asynchronous: Any = None, **settings: Any
) -> LoopControllerCallback:
    """A training of as many epochs of two steps as there are values."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    metric = Validation(values)
    settings = {"steps_per_execution": 1, **settings}
    model.compile("sgd", "mse", metrics=[metric], **settings)
    callback = LoopControllerCallback({"late": {"cond": predicate, True: {}}}, asynchronous)
    model.fit(
        X,
        Y,
        batch_size=4,
        epochs=len(values),
        verbose=0,
        callbacks=[callback, Tells(metric)],
        validation_data=(X, Y),
    )
    return callback


def ran(callback: LoopControllerCallback) -> list[bool]:
    """Whether the action ran, epoch by epoch."""
    return [bool(state) for state in callback.history.column("late")[::2]]


@pytest.mark.parametrize("steps", [1, 2])
def test_a_value_holds_throughout_the_next_epoch(steps: int) -> None:
    callback = fitted(when.val_told.last() > 2, [1, 3, 1, 5], steps_per_execution=steps)
    assert ran(callback) == [False, False, True, False]  # nothing is known in the first
    assert callback.history.column("late").tolist() == [0, 0, 0, 0, 1, 1, 0, 0]
    assert callback.validation["val_told"] == [1, 3, 1, 5]


def test_a_mean_is_that_of_epochs() -> None:
    assert ran(fitted(when.val_told.mean(2) >= 2, [1, 3, 3, 0, 0])) == [
        False,
        False,
        True,
        True,
        False,
    ]


def test_what_an_epoch_has_measured_is_known_at_its_end() -> None:
    seen = []
    fitted(
        when.always,
        [1, 3, 2],
        {
            "stop": {
                "cond": when.val_told.last() > 2,
                "callback": lambda callback: seen.append(callback.epochs),
            }
        },
    )
    assert seen == [2]


def test_a_reinitialisation_forgets_validations() -> None:
    def forget(callback: Any) -> None:
        callback.history = []

    again = {"again": {"cond": when.val_told.last() == 3, "callback": forget}}
    callback = fitted(when.val_told.mean(9) > 0, [1, 3, 2, 2], again)
    assert callback.validation["val_told"] == [2, 2]
    assert [bool(state) for state in callback.history.column("late")] == [False, False, True, True]


def test_a_saved_training_goes_on_with_what_was_validated() -> None:
    callback = fitted(when.val_told.last() > 2, [1, 3])
    other = LoopControllerCallback({"late": {"cond": when.val_told.last() > 2, True: {}}})
    other.set_state(callback.get_state())
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    plain = LoopControllerCallback({"late": {"cond": when.val_told.last() > 2, True: {}}})
    with pytest.warns(UserWarning, match="no epoch has been validated yet"):
        model.fit(X, Y, verbose=0, callbacks=[plain])
    model.fit(X, Y, batch_size=4, verbose=0, callbacks=[other])
    assert other.history.column("late")[-2:].tolist() == [1, 1]


def test_a_value_that_no_validation_has() -> None:
    with pytest.raises(ConfigError, match=r"when.val_tole.*val_loss, val_told.*val_told"):
        fitted(when.val_tole.last() > 2, [1, 3])

"""When control begins and ends: fits before and after, fits that die, what is attached."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

from loopctl import ConfigError, LoopControllerCallback
from tests.loopctl.controlled import Data, assert_same_weights, controlled, twin


def test_later_fits_are_plain_again(model: keras.Model, data: Data) -> None:
    frozen = {
        "head": {
            "cond": lambda self: True,
            True: {"variables": lambda m: m.layers[1].trainable_variables},
        }
    }
    saved = len(model.weights)
    model.fit(*data, verbose=0, callbacks=[controlled(frozen)])
    assert model.head_on.get_concrete_function(data)
    assert model.control_variables["head"].dtype == tf.bool
    assert not model.control_variables["head"].trainable
    assert len(model.weights) == saved
    plain = twin(model)
    plain.fit(*data, shuffle=False, verbose=0)
    model.fit(*data, shuffle=False, verbose=0)
    assert_same_weights(model, plain)


def die_before_a_step(batch: int, logs: Any) -> None:
    if batch == 3:
        raise RuntimeError("in another callback")


def die_between_steps(batch: int, logs: Any) -> None:
    if batch == 3:
        raise KeyboardInterrupt


def die_in_a_condition(self: LoopControllerCallback) -> bool:
    if self.batches == 3:
        raise RuntimeError("in a condition")
    return True


def die_in_a_step(y_true: Any, y_pred: Any) -> Any:
    with tf.control_dependencies([tf.debugging.assert_less(y_true, 1e3)]):
        return keras.losses.mean_squared_error(y_true, y_pred)


DEATHS = ["before a step", "between steps", "in a condition", "in a step"]


@pytest.mark.parametrize("where", DEATHS)
def test_a_fit_that_dies_leaves_no_control_behind(
    where: str, model: keras.Model, data: Data
) -> None:
    settings: dict[str, Any] = {"variables": lambda m: m.layers[1].trainable_variables}
    cond: Any = die_in_a_condition if where == "in a condition" else lambda self: True
    callbacks: list[Any] = []
    x, y = data[0], data[1].copy()
    if where == "between steps":
        callbacks = [keras.callbacks.LambdaCallback(on_train_batch_end=die_between_steps)]
    elif where == "before a step":
        callbacks = [keras.callbacks.LambdaCallback(on_train_batch_begin=die_before_a_step)]
    elif where == "in a step":
        settings["loss"] = die_in_a_step
        y[14] = 1e4
    callback = controlled({"head": {"cond": cond, True: settings}})
    with pytest.raises((KeyboardInterrupt, RuntimeError, tf.errors.InvalidArgumentError)):
        model.fit(x, y, batch_size=4, shuffle=False, verbose=0, callbacks=[callback, *callbacks])
    assert callback.batches in (3, 4)
    plain = twin(model)
    plain.fit(*data, batch_size=4, shuffle=False, verbose=0)
    model.fit(*data, batch_size=4, shuffle=False, verbose=0)
    assert_same_weights(model, plain)


def test_another_callback_may_follow_a_fit_that_died(model: keras.Model, data: Data) -> None:
    dying = keras.callbacks.LambdaCallback(on_train_batch_end=die_between_steps)
    with pytest.raises(KeyboardInterrupt):
        model.fit(*data, batch_size=4, verbose=0, callbacks=[controlled(), dying])
    follower = controlled({"other": {"cond": lambda self: True, True: {}}})
    model.fit(*data, batch_size=4, verbose=0, callbacks=[follower])
    assert follower.batches == 8
    assert not hasattr(model, "all_on")


def test_a_plan_that_does_not_fit_a_model_built_by_its_first_batch(data: Data) -> None:
    lazy = keras.Sequential([keras.layers.Dense(1)])
    lazy.compile("sgd", "mse")
    before = set(vars(lazy))
    callback = controlled({"all": {"cond": lambda self: True, True: {"variables": lambda m: []}}})
    with pytest.raises(ConfigError, match="leaves no variable"):
        lazy.fit(*data, verbose=0, callbacks=[callback])
    assert {"control_variables", "all_on"}.isdisjoint(set(vars(lazy)) - before)
    lazy.fit(*data, verbose=0)


def test_a_second_fit_starts_anew(model: keras.Model, data: Data) -> None:
    callback = controlled()
    model.fit(*data, batch_size=4, verbose=0, callbacks=[callback])
    first = model.all_on
    model.fit(*data, batch_size=8, verbose=0, callbacks=[callback])
    assert (callback.epochs, callback.batches, len(callback.history)) == (1, 4, 4)
    assert model.all_on is first
    model.compile("adam", "mae")
    model.fit(*data, verbose=0, callbacks=[callback])
    assert model.all_on is not first


def test_a_second_callback_takes_over(model: keras.Model, data: Data) -> None:
    first = controlled().attach(model)
    second = controlled({"other": {"cond": lambda self: True, True: {}}})
    second.attach(model)
    assert not hasattr(model, "all_on")
    with pytest.raises(ConfigError, match="attach the callback"):
        _ = first.main_step
    with pytest.raises(ConfigError, match="put all actions into one config"):
        model.fit(*data, verbose=0, callbacks=[second, first])


def test_attach_and_release(model: keras.Model, data: Data) -> None:
    before = set(vars(model))
    callback = controlled().attach(model)
    assert model.all_on.get_concrete_function(data)
    assert callback.main_step.get_concrete_function(data)
    plain = twin(model)
    plain.fit(*data, shuffle=False, verbose=0)
    model.fit(*data, shuffle=False, verbose=0)  # attached, but the callback is not in this fit
    assert_same_weights(model, plain)
    callback.release()
    assert set(vars(model)) - before <= {"history", "_eval_epoch_iterator"}


def test_train_on_batch_after_fit_is_plain(model: keras.Model, data: Data) -> None:
    model.fit(*data, verbose=0, callbacks=[controlled()])
    plain = twin(model)
    plain.train_on_batch(*data)
    model.train_on_batch(*data)
    assert_same_weights(model, plain)

"""Training under control in an ordinary fit: what stays as in Keras, and what is added.

More than 400 lines, to have all that a reader of the callback's docstring may ask in one place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from loopctl import ConfigError, LoopControllerCallback

Data = tuple[Any, Any]
PLAIN: dict[str, Any] = {"all": {"cond": lambda self: True, True: {}, False: {}}}


def controlled(config: dict[str, Any] = PLAIN, **async_config: Any) -> LoopControllerCallback:
    return LoopControllerCallback(config, async_config)


def twin(model: keras.Model) -> keras.Model:
    """A copy with equal weights, compiled alike and never controlled."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    copy.compile("sgd", "mse", metrics=["mae"])
    return copy


def assert_same_weights(a: keras.Model, b: keras.Model) -> None:
    for left, right in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-7)


# -- fit as it always was -------------------------------------------------------------------------


class Batches(keras.utils.PyDataset):
    """The data in batches of four."""

    def __init__(self, x: Any, y: Any) -> None:
        super().__init__()
        self.x, self.y = x, y

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Data:
        part = slice(4 * index, 4 * index + 4)
        return self.x[part], self.y[part]


def generator(x: Any, y: Any) -> Iterator[Data]:
    while True:
        yield from (Batches(x, y)[i] for i in range(8))


SOURCES: dict[str, Callable[[Any, Any], dict[str, Any]]] = {
    "arrays": lambda x, y: {"x": x, "y": y, "batch_size": 4, "shuffle": False},
    "tf.data": lambda x, y: {"x": tf.data.Dataset.from_tensor_slices((x, y)).batch(4)},
    "generator": lambda x, y: {"x": generator(x, y), "steps_per_epoch": 8},
    "PyDataset": lambda x, y: {"x": Batches(x, y), "shuffle": False},
}


@pytest.mark.parametrize("source", SOURCES)
def test_data_of_every_kind_train_as_without_control(
    source: str, model: keras.Model, data: Data
) -> None:
    """A config of the compiled loss and all regularisation is what Keras does by itself."""
    plain = twin(model)
    arguments = {"epochs": 2, "verbose": 0}
    shown = plain.fit(**SOURCES[source](*data), **arguments).history
    config = {"all": {"cond": lambda self: True, True: {"regularize": True}}}
    callback = controlled(config)
    controlled_history = model.fit(**SOURCES[source](*data), **arguments, callbacks=[callback])
    assert_same_weights(model, plain)
    for name in ("loss", "mae"):
        np.testing.assert_allclose(controlled_history.history[name], shown[name], rtol=1e-5)
    assert callback.batches == len(callback.history) == 16


@pytest.mark.parametrize("mode", ["run_eagerly", "jit_compile"])
def test_eager_and_compiled_execution(mode: str, model: keras.Model, data: Data) -> None:
    config = {
        "gate": {
            "cond": lambda self: self.batches % 3 < 2,
            True: {"clipping": (-0.1, 0.1)},
            False: {"loss": "mae", "variables": lambda m: m.layers[1].trainable_variables},
        },
        "late": {"cond": lambda self: self.batches > 3, True: {"loss": None, "regularize": True}},
    }
    reference = twin(model)
    reference.fit(*data, batch_size=4, shuffle=False, verbose=0, callbacks=[controlled(config)])
    model.compile("sgd", "mse", metrics=["mae"], **{mode: True})
    model.fit(*data, batch_size=4, shuffle=False, verbose=0, callbacks=[controlled(config)])
    assert_same_weights(model, reference)


def test_every_argument_of_fit_keeps_working(model: keras.Model, data: Data) -> None:
    seen: list[int] = []
    other = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    callback = controlled()
    history = model.fit(
        *data,
        batch_size=5,  # the last batch is smaller
        epochs=4,
        initial_epoch=2,
        validation_split=0.25,
        verbose=0,
        callbacks=[callback, other],
    ).history
    assert seen == [2, 3]
    assert {"loss", "mae", "val_loss", "val_mae", "loss_all", "all"} <= set(history)
    assert (callback.epochs, callback.batches, callback.batches_in_epochs) == (2, 10, 5)


def test_sample_and_class_weights_reach_the_loss(model: keras.Model, data: Data) -> None:
    x, _ = data
    y, weight = np.arange(32)[:, None] % 2, np.linspace(0, 1, 32)
    free = {"all": {"cond": lambda self: True, True: {"regularize": True}}}
    for extra in ({"sample_weight": weight}, {"class_weight": {0: 0.2, 1: 3.0}}):
        plain = twin(model)
        plain.fit(x, y, shuffle=False, verbose=0, **extra)
        model.fit(x, y, shuffle=False, verbose=0, callbacks=[controlled(free)], **extra)
        assert_same_weights(model, plain)


def test_a_model_built_by_its_first_batch(data: Data) -> None:
    class Lazy(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.outer = keras.layers.Dense(4), keras.layers.Dense(1)

        def call(self, x: Any, training: bool = False) -> Any:
            return self.outer(self.inner(x))

    lazy = Lazy()
    lazy.compile("adam", "mse")
    callback = controlled(
        {
            "outer": {
                "cond": lambda self: True,
                True: {"variables": lambda m: m.outer.trainable_variables},
            }
        }
    )
    with pytest.raises(ConfigError, match="shadows an attribute of model"):
        lazy.fit(*data, verbose=0, callbacks=[callback])
    callback = controlled(
        {
            "head": {
                "cond": lambda self: True,
                True: {"variables": lambda m: m.outer.trainable_variables},
            }
        }
    )
    lazy.fit(*data, verbose=0, callbacks=[callback])
    inner = lazy.inner.kernel.numpy().copy()
    outer = lazy.outer.kernel.numpy().copy()
    lazy.fit(*data, verbose=0, callbacks=[callback])
    np.testing.assert_array_equal(lazy.inner.kernel.numpy(), inner)
    assert not np.allclose(lazy.outer.kernel.numpy(), outer)


def test_steps_per_execution_records_every_step(model: keras.Model, data: Data) -> None:
    reference, one = twin(model), controlled()
    reference.fit(*data, batch_size=4, epochs=2, shuffle=False, verbose=0, callbacks=[one])
    model.compile("sgd", "mse", metrics=["mae"], steps_per_execution=3)
    several = controlled()
    with pytest.warns(UserWarning, match="'all' can only be evaluated once per execution"):
        model.fit(*data, batch_size=4, epochs=2, shuffle=False, verbose=0, callbacks=[several])
    assert_same_weights(model, reference)
    assert several.batches == len(several.history) == 16
    for a, b in zip(several.history, one.history, strict=True):
        assert a.keys() == b.keys()
        np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-5)


# -- what is tracked ------------------------------------------------------------------------------


def test_states_and_losses_are_logged_by_name(model: keras.Model, data: Data) -> None:
    config = {
        "gate": {"cond": lambda self: self.epochs % 2 == 0, True: {}, False: {"loss": "mae"}},
        "late": {"cond": lambda self: self.batches >= 12, True: {"loss": None, "regularize": True}},
    }
    callback = controlled(config)
    history = model.fit(*data, batch_size=4, epochs=2, verbose=0, callbacks=[callback]).history
    assert history["gate"] == [1.0, 0.0]
    assert history["late"] == [0.0, 1.0]
    assert history["loss"] == history["loss_gate"]
    steps = list(callback.history)
    assert all(math.isnan(step["loss_late"]) for step in steps[:12])
    assert math.isnan(history["loss_late"][0])
    late = np.mean([step["loss_late"] for step in steps[12:]])
    np.testing.assert_allclose(history["loss_late"][1], late, rtol=1e-5)
    np.testing.assert_allclose(
        history["loss"][0], np.mean([step["loss"] for step in steps[:8]]), rtol=1e-5
    )
    assert [step["gate"] for step in steps] == [True] * 8 + [False] * 8


def test_conditions_see_the_state_before_each_step(model: keras.Model, data: Data) -> None:
    seen: list[tuple[int, int, int, int]] = []

    def cond(self: LoopControllerCallback) -> bool:
        seen.append((self.epochs, self.batches, self.batches_in_epochs, len(self.history)))
        return True

    callback = controlled({"all": {"cond": cond, True: {}}})
    model.fit(*data, batch_size=16, epochs=2, verbose=0, callbacks=[callback])
    assert seen == [(0, 0, 0, 0), (0, 1, 1, 1), (1, 2, 0, 2), (1, 3, 1, 3)]


def test_async_actions_reinitialise_as_in_figure_6_5(model: keras.Model, data: Data) -> None:
    resets: list[keras.Model] = []
    counts: list[tuple[int, ...]] = []

    def reinitialise_metrics(self: LoopControllerCallback) -> None:
        self.history = []
        self.epochs = 0
        self.batches = 0

    def note(self: LoopControllerCallback) -> bool:
        counts.append(
            (
                self.epochs,
                self.reinit_epochs,
                self.batches,
                self.reinit_batches,
                len(self.history),
                len(self.reinit_history),
            )
        )
        return False

    callback = controlled(
        reinitialise={
            "cond": lambda self: self.reinit_epochs == 2,
            "model": resets.append,
            "callback": reinitialise_metrics,
        },
        note={"cond": note, "model": resets.append},
    )
    model.fit(*data, batch_size=16, epochs=3, verbose=0, callbacks=[callback])
    assert resets == [model]
    assert counts == [(1, 1, 2, 2, 2, 2), (0, 0, 0, 0, 0, 0), (1, 1, 2, 2, 2, 2)]


def test_reinit_values_can_be_restarted_alone(model: keras.Model, data: Data) -> None:
    def restart(self: LoopControllerCallback) -> None:
        self.reinit_history, self.reinit_epochs, self.reinit_batches = [], 0, 0

    callback = controlled(restart={"cond": lambda self: self.epochs == 1, "callback": restart})
    model.fit(*data, batch_size=16, epochs=3, verbose=0, callbacks=[callback])
    assert (callback.epochs, callback.batches, len(callback.history)) == (3, 6, 6)
    assert (callback.reinit_epochs, callback.reinit_batches) == (2, 4)
    assert list(callback.reinit_history) == list(callback.history[2:])


def test_an_async_action_stops_training(
    model: keras.Model, data: Data, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(self: LoopControllerCallback) -> None:
        self.model.stop_training = True

    callback = LoopControllerCallback(
        PLAIN, {"stop": {"cond": lambda self: self.epochs == 2, "callback": stop}}, verbose=1
    )
    model.fit(*data, epochs=9, verbose=0, callbacks=[callback])
    assert callback.epochs == 2
    assert "loopctl: stop after epoch 2" in capsys.readouterr().out


# -- lifecycle ------------------------------------------------------------------------------------


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

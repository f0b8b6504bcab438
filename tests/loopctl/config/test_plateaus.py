"""Plateaus: when a column has not become better for too long, in the graph and on the host."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from loopctl import ConfigError, LoopControllerCallback, StepHistory, load_config, when
from loopctl.compile.graph_counters import Progress
from tests.loopctl.look.test_export import load
from tests.oracle import eager

NUMBERS: list[Any] = [
    when.since_best(when.loss),
    when.since_best(when.loss, delta=0.5),
    when.since_best(when.loss, window=3),
    when.since_best(when.loss, window=2, delta=0.25, mode="max"),
]


def counted(
    values: list[float], window: int = 1, delta: float = 0.0, better: Any = min
) -> list[int]:
    """After each value, how many came since the best: written as one would by hand."""
    best: float | None = None
    since, found = 0, []
    for i in range(len(values)):
        seen = values[max(i + 1 - window, 0) : i + 1]
        value = sum(seen) / len(seen)
        gain = -math.inf if best is None else (best - value if better is min else value - best)
        if not math.isnan(value) and (best is None or gain > delta):
            best, since = value, 0
        else:
            since += 1
        found.append(since)
    return found


# Quarters: means of two are exact, and a third is no tie of rounding.
VALUES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.75, 4.0, math.nan]), max_size=12)


@given(VALUES)
def test_graph_and_host_count_as_by_hand(values: list[float]) -> None:
    by_hand = [
        counted(values),
        counted(values, delta=0.5),
        counted(values, window=3),
        counted(values, window=2, delta=0.25, better=max),
    ]
    progress = Progress(NUMBERS)
    for i, value in enumerate(values):
        progress.advance({"loss": tf.constant(value, tf.float64)})
        history = StepHistory([{"loss": one} for one in values[: i + 1]])
        on_host = SimpleNamespace(reinit_history=history)
        for number, expected in zip(NUMBERS, by_hand, strict=True):
            if number.best.window != 3:  # whose sums are rounded in another order on the host
                assert int(number.at(on_host)) == expected[i]
            assert int(number.evaluate(progress)) == expected[i], repr(number)


def test_with_nothing_seen_nothing_is_stuck() -> None:
    nothing = SimpleNamespace(reinit_history=StepHistory(), validation={})
    assert NUMBERS[0].at(nothing) == 0
    assert not when.plateau(when.loss, 1)(nothing)
    assert not when.plateau(when.val_loss, 1)(nothing)
    assert int(NUMBERS[0].evaluate(Progress(NUMBERS))) == 0


def test_a_history_that_is_taken_over_goes_on() -> None:
    progress, seen = Progress(NUMBERS), [3.0, 1.0, 2.0]
    progress.load({}, StepHistory([{"loss": loss} for loss in seen]), {})
    progress.advance({"loss": tf.constant(1.5, tf.float64)})
    assert int(NUMBERS[0].evaluate(progress)) == 2


def test_a_constant_is_no_gain_by_rounding() -> None:
    """Where an epoch begins the host's counters are taken over, but not its rounded means."""
    number = when.since_best(when.loss, window=7)
    progress, seen = Progress([number]), StepHistory()
    for _ in range(5):
        for _ in range(10):
            progress.advance({"loss": tf.constant(0.1, tf.float64)})
            seen.append({"loss": 0.1})
        progress.load({}, seen, {}, anew=False)
    assert int(number.evaluate(progress)) > 40


# -- in fit ----------------------------------------------------------------------------------------


def model_of(**settings: Any) -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.6), "mse", **settings)  # far too fast: it swings
    return model


def data_of(steps: int = 20) -> tuple[Any, Any]:
    x = np.random.default_rng(0).normal(size=(4 * steps, 3)).astype("float32")
    return x, x.sum(axis=1, keepdims=True)


def stuck(context: Any) -> bool:
    """No loss of the last three was below the least before."""
    losses = [float(step["loss"]) for step in context.history]
    return bool(losses) and counted(losses)[-1] >= 3


WAYS: list[dict[str, Any]] = [
    {},
    {"steps_per_execution": 7},
    {"jit_compile": True, "steps_per_execution": 7},
    {"run_eagerly": True},
]


@pytest.mark.parametrize("settings", WAYS, ids=str)
def test_a_plateau_chooses_the_branch_of_the_next_step(settings: dict[str, Any]) -> None:
    """Held against a plain eager loop: the same branches, the same weights."""
    branches: dict[Any, Any] = {True: {"learning_rate": 0.01}, False: {}}
    callback = LoopControllerCallback({"fine": {"cond": when.plateau(when.loss, 3), **branches}})
    model, (x, y) = model_of(**settings), data_of()
    model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0, callbacks=[callback])
    twin = model_of()
    batches = [(x[i : i + 4], y[i : i + 4]) for i in range(0, len(x), 4)]
    rows = eager.train(twin, {"fine": {"cond": stuck, **branches}}, batches, epochs=2)
    states = [bool(step["fine"]) for step in callback.history]
    assert states == [row["fine"] for row in rows]
    assert {True, False} == set(states)
    for ours, theirs in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_killed_training_knows_its_best() -> None:
    """Its state goes through bytes, as it does in a file."""
    config = {"fine": {"cond": when.plateau(when.loss, 3), True: {"learning_rate": 0.01}}}
    arguments: dict[str, Any] = {"batch_size": 4, "shuffle": False, "verbose": 0}
    whole, begun = LoopControllerCallback(config), LoopControllerCallback(config)
    model_of().fit(*data_of(), epochs=4, callbacks=[whole], **arguments)
    model = model_of()
    model.fit(*data_of(), epochs=2, callbacks=[begun], **arguments)
    resumed = LoopControllerCallback(config)
    resumed.tracker.deserialize(begun.tracker.serialize())
    model.fit(*data_of(), epochs=4, initial_epoch=2, callbacks=[resumed], **arguments)
    assert resumed.history.column("fine").tolist() == whole.history.column("fine").tolist()


def test_a_reinitialisation_forgets_the_best() -> None:
    def forget(callback: Any) -> None:
        callback.history = []

    again = {"again": {"cond": when.epochs == 1, "callback": forget}}
    since = when.since_best(when.loss)
    callback = LoopControllerCallback({"new": {"cond": since < 1, True: {"loss": None}}}, again)
    model_of().fit(*data_of(), batch_size=4, epochs=2, verbose=0, callbacks=[callback])
    # A loss of 0 is not better than one of 0, and that of an idle action, NaN, never is.
    assert [bool(state) for state in callback.history.column("new")[:2]] == [True, True]


def test_a_plateau_of_validations_stops_a_training() -> None:
    values = iter([3.0, 1.0, 2.0, 1.0, 5.0, 9.0, 9.0])

    class Told(keras.metrics.Metric):
        def update_state(self, *_: Any, **__: Any) -> None:
            pass

        def result(self) -> Any:
            return self.now + 0.0

        def reset_state(self) -> None:
            pass

    metric = Told(name="told")
    metric.now = metric.add_weight(name="now", initializer="zeros")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=[metric])
    plateau = when.plateau(when.val_told, 2, mode="min")
    stop = {"cond": when.plateau(when.val_told, 3, mode="min"), "model": _stop}
    callback = LoopControllerCallback({"late": {"cond": plateau, True: {}}}, {"stop": stop})
    tells = keras.callbacks.LambdaCallback()
    tells.on_test_begin = lambda logs=None: metric.now.assign(next(values))
    x, y = data_of(2)
    fit: dict[str, Any] = {"validation_data": (x, y), "batch_size": 8, "verbose": 0}
    model.fit(x, y, epochs=7, callbacks=[callback, tells], **fit)
    assert callback.epochs == 5  # 1.0 again is no gain
    assert [bool(state) for state in callback.history.column("late")] == [False] * 4 + [True]


def _stop(model: keras.Model) -> None:
    model.stop_training = True


def test_nothing_validates_what_an_async_action_waits_for() -> None:
    stop = {"stop": {"cond": when.plateau(when.val_loss, 2), "model": _stop}}
    callback = LoopControllerCallback({"all": {"cond": when.always, True: {}}}, stop)
    with pytest.warns(UserWarning, match=r"reads when\.val_loss, and no epoch has been validated"):
        model_of().fit(*data_of(2), epochs=2, verbose=0, callbacks=[callback])


# -- spelling --------------------------------------------------------------------------------------

SHOWN: list[Any] = [
    *NUMBERS,
    when.plateau(when.val_loss, 5),
    when.plateau(when.head_loss, 5, window=20, delta=1e-3),
    when.plateau(when.column("top 5"), 1, mode="max"),
    when.since_best(when.loss_gate, mode="max") % 5 == 4,
]


@pytest.mark.parametrize("expression", SHOWN, ids=repr)
def test_the_text_is_the_expression(expression: Any, tmp_path: Path) -> None:
    text = repr(expression)
    read = when.parse if hasattr(expression, "__and__") else when.parse_value
    assert repr(eval(text, {"when": when})) == text
    assert repr(read(text)) == repr(read(text.replace("when.", ""))) == text
    if read is when.parse:
        path = tmp_path / "config.toml"
        path.write_text(f"[gate]\ncond = {text!r}\n[gate.true]\n".replace("\\'", "'"))
        assert repr(load_config(path)["gate"]["cond"]) == text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: when.plateau(when.accuracy, 5), "give mode='min' or mode='max'"),
        (lambda: when.plateau(when.loss, 0), "patience=0: at least 1 is needed"),
        (lambda: when.plateau(when.loss, 2, window=True), "window=True: at least 1 is needed"),
        (lambda: when.plateau(when.loss, 2, delta=-1), "delta=-1 is below zero"),
        (lambda: when.plateau(when.loss, 2, delta=math.nan), "nan is not finite"),
        (lambda: when.plateau(when.loss, 2, mode="least"), "allowed are 'min' and 'max'"),
        (lambda: when.plateau(when.loss.mean(9), 2), "as in when.loss, window=9"),
        (lambda: when.plateau(when.batches, 2), "when.batches is not a column"),  # type: ignore[arg-type]
    ],
)
def test_other_arguments_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        make()
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plateau(loss)", "missing 1 required positional argument"),
        ("plateau(accuracy, 3)", "give mode='min' or mode='max'"),
        ("plateau(loss, batches)", "is not a number"),
        ("platau(loss, 3)", "Did you mean 'plateau'?"),
        ("plateau(loss.last(), 3)", "is not understood"),
    ],
)
def test_other_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        when.parse(text, where="cond")
    assert str(error.value).startswith(f"cond is {text!r}, which is not a graph predicate")
    assert message in str(error.value)


# -- exported --------------------------------------------------------------------------------------


def test_an_exported_module_sees_the_same_plateaus(tmp_path: Path) -> None:
    config = {
        "fine": {
            "cond": when.plateau(when.loss, 3, window=2) | when.plateau(when.loss, 9, mode="max"),
            True: {"learning_rate": 0.01},
            False: {},
        }
    }
    callback, model, (x, y) = LoopControllerCallback(config), model_of(), data_of()
    model.fit(x, y, batch_size=4, shuffle=False, verbose=0, callbacks=[callback])
    callback.export(tmp_path / "exported.py")
    batches = [(x[i : i + 4], y[i : i + 4]) for i in range(0, len(x), 4)]
    rows = load(tmp_path / "exported.py").make_trainer(model_of()).fit(batches)
    states = [bool(row["fine"]) for row in rows]
    assert states == [bool(step["fine"]) for step in callback.history]
    assert True in states


def test_a_module_that_validates_nothing_is_not_exported(tmp_path: Path) -> None:
    config = {"fine": {"cond": when.plateau(when.val_loss, 3), True: {}}}
    with pytest.raises(ConfigError, match=r"reads when\.val_loss, but an exported module"):
        LoopControllerCallback(config).attach(model_of()).export(tmp_path / "exported.py")

"""When async actions run, and what they see: after validations, after steps that a graph tells."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from loopctl import ConfigError, LoopControllerCallback, when
from tests.oracle import eager
from tests.replicas import mirrored

ALWAYS: dict[str, Any] = {"all": {"cond": when.always, True: {}}}
X = np.random.default_rng(0).normal(size=(44, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
BATCHES = [(X[i : i + 4], Y[i : i + 4]) for i in range(0, 44, 4)]  # eleven

WAYS: list[dict[str, Any]] = [
    {},
    {"steps_per_execution": 4},
    {"steps_per_execution": 11, "jit_compile": True},
    {"steps_per_execution": 5, "run_eagerly": True},
]


def build(**settings: Any) -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse", **settings)
    return model


def fit(model: keras.Model, callback: LoopControllerCallback, **arguments: Any) -> None:
    settings = {"batch_size": 4, "shuffle": False, "verbose": 0, **arguments}
    model.fit(X, Y, callbacks=[callback], **settings)


def halve(model: keras.Model) -> None:
    model.optimizer.learning_rate.assign(model.optimizer.learning_rate * 0.5)


# -- after steps -----------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", WAYS, ids=str)
def test_after_just_the_steps_that_a_predicate_tells(settings: dict[str, Any]) -> None:
    """In the middle of an execution as well; what is done there holds for the next step."""
    seen: list[tuple[int, int]] = []
    action = {
        "step": when.batches % 3 == 0,
        "model": halve,
        "callback": lambda self: seen.append((self.batches, len(self.history))),
    }
    model, callback = build(**settings), LoopControllerCallback(ALWAYS, {"slow": action})
    fit(model, callback, epochs=2)
    assert seen == [(i, i) for i in range(3, 22, 3)]

    def slowing(context: Any) -> bool:
        if context.batches and context.batches % 3 == 0:
            halve(context.model)
        return True

    twin = build()
    rows = eager.train(twin, {"all": {"cond": slowing, True: {}}}, BATCHES, epochs=2)
    losses = [row["loss"] for row in rows]
    np.testing.assert_allclose(callback.history.column("loss"), losses, rtol=1e-4)
    for ours, theirs in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("settings", WAYS, ids=str)
def test_a_loss_of_one_step_is_seen_at_once(settings: dict[str, Any]) -> None:
    seen: list[int] = []
    plain = LoopControllerCallback(ALWAYS)
    fit(build(), plain)
    losses = plain.history.column("loss")
    least = float(np.sort(losses)[4])
    action = {"step": when.loss.last() < least, "callback": lambda self: seen.append(self.batches)}
    fit(build(**settings), LoopControllerCallback(ALWAYS, {"low": action}))
    assert seen == [i + 1 for i, loss in enumerate(losses) if loss < least]


def test_a_condition_is_asked_where_the_step_is() -> None:
    """Several actions have their steps; a Python condition may decide further."""
    seen: list[tuple[str, int]] = []

    def noted(name: str) -> Any:
        return lambda self: seen.append((name, self.batches))

    actions = {
        "third": {"step": when.every(3), "callback": noted("third")},
        "second": {
            "step": when.every(2),
            "cond": lambda self: self.batches > 5,
            "callback": noted("second"),
        },
    }
    fit(build(steps_per_execution=11), LoopControllerCallback(ALWAYS, actions))
    told = [("third", 3), ("third", 6), ("second", 6), ("second", 8), ("third", 9), ("second", 10)]
    assert seen == told


@pytest.mark.parametrize("jit_compile", [False, True])
def test_training_is_stopped_in_the_middle_of_an_execution(jit_compile: bool) -> None:
    stop = {"step": when.batches == 6, "callback": _stop}
    callback = LoopControllerCallback(ALWAYS, {"stop": stop})
    fit(build(steps_per_execution=4, jit_compile=jit_compile), callback, epochs=3)
    assert callback.batches == len(callback.history) == 6


def _stop(callback: LoopControllerCallback) -> None:
    callback.model.stop_training = True


def test_a_reinitialisation_between_two_steps_of_an_execution() -> None:
    def forget(callback: LoopControllerCallback) -> None:
        callback.history, callback.batches = [], 0

    counts: list[int] = []
    actions = {
        "note": {"step": when.reinit_batches == 2, "callback": lambda s: counts.append(s.batches)},
        "again": {"step": when.batches == 4, "callback": forget},
    }
    config: dict[str, Any] = {"early": {"cond": when.batches < 2, True: {}}}
    callback = LoopControllerCallback(config, actions)
    fit(build(steps_per_execution=11), callback)
    assert (callback.batches, len(callback.history)) == (3, 3)
    assert counts == [2, 2, 2]
    assert [bool(state) for state in callback.history.column("early")] == [True, True, False]


def test_a_step_that_ends_the_data_ends_the_execution() -> None:
    seen: list[int] = []
    action = {"step": when.batches % 11 == 0, "callback": lambda self: seen.append(self.batches)}
    data = tf.data.Dataset.from_generator(
        lambda: iter(BATCHES),
        output_signature=(tf.TensorSpec((None, 3)), tf.TensorSpec((None, 1))),
    )
    callback = LoopControllerCallback(ALWAYS, {"end": action})
    build_ = build(steps_per_execution=8)
    build_.fit(data, epochs=2, verbose=0, callbacks=[callback])
    assert seen == [11, 22]


def test_of_two_replicas() -> None:
    seen: list[int] = []
    with mirrored().scope():
        model = build(steps_per_execution=5)
    action = {"step": when.every(4), "model": halve, "callback": lambda s: seen.append(s.batches)}
    fit(model, LoopControllerCallback(ALWAYS, {"slow": action}))
    alone = build()
    fit(alone, LoopControllerCallback(ALWAYS, {"slow": action}))
    assert seen == [4, 8, 4, 8]
    for ours, theirs in zip(model.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_of_a_step_outside_of_fit() -> None:
    seen: list[int] = []
    action = {"step": when.every(2), "callback": lambda self: seen.append(self.batches)}
    callback = LoopControllerCallback(ALWAYS, {"note": action}).attach(build())
    for x, y in BATCHES[:5]:
        assert set(callback.train_on_batch(x, y)) == {"loss", "loss_all", "all"}
    assert seen == [2, 4]


# -- after validations -----------------------------------------------------------------------------


def test_a_validation_is_known_where_it_ends_and_where_its_epoch_ends() -> None:
    seen: list[Any] = []

    def noted(name: str) -> Any:
        return lambda self: seen.append((name, self.epochs, self.validation["val_loss"][-1]))

    actions: dict[str, Any] = {
        "told": {
            "when": "validation_end",
            "cond": when.val_loss.last() > 0,
            "callback": noted("validation"),
        },
        "end": {
            "cond": lambda self: len(self.validation["val_loss"]) == self.epochs,
            "callback": noted("epoch"),
        },
    }
    callback, model = LoopControllerCallback(ALWAYS, actions), build()
    fit(model, callback, epochs=2, validation_data=(X, Y))
    losses = callback.validation["val_loss"]
    assert losses == model.history.history["val_loss"]
    assert seen == [
        ("validation", 0, losses[0]),
        ("epoch", 1, losses[0]),
        ("validation", 1, losses[1]),
        ("epoch", 2, losses[1]),
    ]


def test_it_comes_before_other_callbacks_hear_of_the_epoch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """So that what it does to the model is in what they save of it."""
    saved: list[Any] = []
    zero = {
        "when": "validation_end",
        "cond": when.always,
        "model": lambda model: model.set_weights([0 * w for w in model.get_weights()]),
    }
    saves = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: saved.append(np.abs(saves.model.get_weights()[0]).max())
    )
    callback = LoopControllerCallback(ALWAYS, {"zero": zero}, verbose=1)
    build().fit(X, Y, validation_split=0.5, verbose=0, callbacks=[saves, callback])
    assert saved == [0.0]
    assert "loopctl: zero after the validation of epoch 1" in capsys.readouterr().out


def test_epochs_without_a_validation_have_no_such_moment() -> None:
    seen: list[int] = []
    action = {
        "when": "validation_end",
        "cond": when.always,
        "callback": lambda self: seen.append(self.epochs),
    }
    callback = LoopControllerCallback(ALWAYS, {"note": action})
    model = build()
    fit(model, callback, epochs=5, validation_data=(X, Y), validation_freq=2)
    assert seen == [1, 3]
    model.evaluate(X, Y, verbose=0, callbacks=[callback])
    assert seen == [1, 3]
    assert len(callback.validation["val_loss"]) == 2


def test_a_validation_that_was_forgotten_stays_so(recwarn: pytest.WarningsRecorder) -> None:
    def forget(callback: LoopControllerCallback) -> None:
        callback.history = []

    again = {"when": "validation_end", "cond": when.epochs == 1, "callback": forget}
    config: dict[str, Any] = {"late": {"cond": when.val_loss.last() > 0, True: {}}}
    callback = LoopControllerCallback(config, {"again": again})
    fit(build(), callback, epochs=3, validation_data=(X, Y))
    assert len(callback.validation["val_loss"]) == 1
    assert not callback.history.column("late").any()
    assert not [w for w in recwarn if "validated" in str(w.message)]


def test_what_another_callback_measures_counts_as_a_validation() -> None:
    """It is in the logs of the epoch's end only."""

    class Scores(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["val_score"] = 10.0 * epoch

    callback = LoopControllerCallback({"late": {"cond": when.val_score.last() > 5, True: {}}})
    build().fit(
        X,
        Y,
        batch_size=44,
        epochs=3,
        verbose=0,
        validation_data=(X, Y),
        callbacks=[Scores(), callback],
    )
    assert callback.history.column("late").tolist() == [0, 0, 1]
    assert {name: len(values) for name, values in callback.validation.items()} == {
        "val_loss": 3,
        "val_score": 3,
    }


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"when": "batch_end", "step": when.every(2)}, 'has both "when" and "step"'),
        ({"step": lambda self: True}, "a graph predicate such as when.every(100) is needed"),
        ({"step": when.batches}, 'async_config["note"]["step"] is when.batches, a number'),
        ({"when": "validation_ends"}, "Did you mean 'validation_end'?"),
        ({"when": "epoch_end"}, 'has no "cond"'),
        ({"stp": when.every(2)}, "Did you mean 'step'?"),
    ],
)
def test_other_moments_are_refused(entry: dict[str, Any], message: str) -> None:
    entry = {"callback": _stop, **entry}
    if "cond" not in entry and message != 'has no "cond"' and "step" not in entry:
        entry["cond"] = when.always
    with pytest.raises(ConfigError) as error:
        LoopControllerCallback(ALWAYS, {"note": entry})
    assert message in str(error.value)


def test_a_step_that_reads_what_is_not_there() -> None:
    action = {"step": when.losss.last() < 1, "callback": _stop}
    with pytest.raises(ConfigError, match=r"when\.losss, but a train step has no such value"):
        fit(build(), LoopControllerCallback(ALWAYS, {"stop": action}))

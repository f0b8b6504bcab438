"""What is counted and kept of train steps, and what conditions and actions see of it."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest

from loopctl import LoopControllerCallback
from tests.loopctl.controlled import PLAIN, Data, controlled


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

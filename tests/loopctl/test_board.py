"""TensorBoard sees every train step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from loopctl import LoopControllerCallback, when
from loopctl.board import StepBoard


@pytest.mark.parametrize("first", [True, False])
def test_losses_and_control_states_by_step(
    first: bool, model: keras.Model, data: tuple[Any, Any], tmp_path: Path
) -> None:
    control = LoopControllerCallback(
        {"gate": {"cond": when.every(3), True: {}, False: {}}},
        {"forget": {"cond": lambda self: self.epochs == 2, "callback": forget}},
    )
    losses: list[float] = []
    keep = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: losses.append(control.history[-1]["loss"])
    )
    board = StepBoard(control, tmp_path)
    callbacks = [board, control, keep] if first else [control, board, keep]
    model.fit(*data, batch_size=8, epochs=3, verbose=0, callbacks=callbacks)
    events = EventAccumulator(str(tmp_path), {"tensors": 0}).Reload()
    assert set(events.Tags()["tensors"]) == {
        "steps/loss",
        "steps/loss_gate",
        "steps/mae",
        "control/gate",
    }
    written = {
        tag: [float(make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]
        for tag in ("steps/loss", "control/gate")
    }
    np.testing.assert_allclose(written["steps/loss"], losses, rtol=1e-6)
    assert [event.step for event in events.Tensors("steps/loss")] == list(range(12))
    assert written["control/gate"][:4] == [1, 0, 0, 1]


def forget(self: LoopControllerCallback) -> None:
    self.history = []

"""The picture of a training shows its lines and its phases."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from loopctl import StepHistory
from loopctl.plots import plot_history


@pytest.fixture
def history() -> StepHistory:
    steps = np.arange(2000)
    loss = 1 / (steps + 1.0)
    late = np.where(steps > 1000, loss / 2, np.nan)
    columns = {"loss": loss, "mae": 2 * loss, "loss_gate": loss, "loss_late": late}
    return StepHistory.from_dict({**columns, "gate": steps % 10 < 8, "late": steps > 1000})


def test_lines_and_phases(history: StepHistory, tmp_path: Path) -> None:
    figure = plot_history(history)
    lines, phases = figure.axes
    assert [line.get_label() for line in lines.lines] == ["loss", "loss_late"]
    np.testing.assert_array_equal(lines.lines[0].get_ydata(), history.column("loss"))
    assert [tick.get_text() for tick in phases.get_yticklabels()] == ["gate", "late"]
    (image,) = phases.images
    gate, late = image.get_array()
    np.testing.assert_allclose(gate, 0.8, atol=0.21)  # stretches of five steps
    assert gate.mean() == pytest.approx(0.8)
    assert (late[:200] == 0).all()
    assert (late[201:] == 1).all()
    figure.savefig(tmp_path / "training.png")


def test_chosen_and_smoothed_columns(history: StepHistory) -> None:
    lines = plot_history(history, ["mae"], smooth=10).axes[0]
    (line,) = lines.lines
    assert line.get_ydata()[9] == pytest.approx(history.column("mae")[:10].mean())
    smoothed = plot_history(history, ["loss_late"], smooth=10).axes[0].lines[0].get_ydata()
    assert np.isnan(smoothed[:1001]).all()
    assert not np.isnan(smoothed[1001:]).any()


def test_nothing_to_plot(history: StepHistory) -> None:
    with pytest.raises(ValueError, match="the history is empty"):
        plot_history(StepHistory())
    with pytest.raises(TypeError, match=r"^History is not a history of train.*callback\.history"):
        plot_history(keras.callbacks.History())
    with pytest.raises(KeyError, match="there is no column 'maee'"):
        plot_history(history, ["maee"])

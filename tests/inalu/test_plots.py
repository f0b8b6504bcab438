import builtins

import numpy as np
import pytest

from inalu import explain
from inalu.plots import plot_evaluation, plot_explanation, plot_training
from inalu.plots.figures import new_figure, save
from inalu.plots.training import draw_training
from tests.inalu.discrete import solved

PNG = b"\x89PNG\r\n"


def history(steps):
    rng = np.random.default_rng(0)
    return [
        {"loss": float(rng.exponential()), "gate": i % 10 < 8, "delay": i > steps / 2, "mae": 1.0}
        for i in range(steps)
    ]


def written(figure, path):
    figure.savefig(path)
    return path.read_bytes()


@pytest.mark.parametrize("steps", [1, 7, 45_000])
def test_training(tmp_path, steps):
    path = save(plot_training(history(steps)), tmp_path / "new" / "loss.png")
    assert path == tmp_path / "new" / "loss.png"
    assert path.read_bytes().startswith(PNG)


def test_training_without_control_and_with_what_a_log_scale_cannot_show(tmp_path):
    steps = [{"loss": value} for value in (1.0, 0.0, float("nan"), float("inf"), 1e-12)]
    assert written(plot_training(steps), tmp_path / "loss.png").startswith(PNG)


def test_training_with_phases_of_other_names(tmp_path):
    steps = [{"loss": 1.0, "warm": True, "noise": False}] * 3
    figure = plot_training(steps, phases={"warm": "warming up"}, title="Mine")
    text = written(figure, tmp_path / "a.svg").decode()
    assert "warming up" in text
    assert "Mine" in text
    assert "noise" not in text


def test_strips_are_where_the_steps_are():
    """Also with less than two steps to a stretch, of which some have one and some have two."""
    figure = new_figure(4.0)
    columns = {"loss": np.ones(1000), "delay": np.arange(1000) >= 500}
    draw_training(figure, columns, {"delay": "noise"}, "Mine")
    (image,) = figure.axes[1].images
    first, last, *_ = image.get_extent()
    assert (first, last) == (0, 1000)
    shares = image.get_array()[0]
    assert np.flatnonzero(shares)[0] == len(shares) // 2


def test_training_with_marks(tmp_path):
    """Each kind of mark is in the legend once, and what did not happen is not."""

    def text(**marks):
        return written(plot_training(history(40), **marks), tmp_path / "a.svg").decode()

    assert "reinitialisation" not in text()
    assert "early stop" not in text()
    marked = text(reinitialized=(10, 20), stopped=40)
    assert marked.count("reinitialisation") == marked.count("early stop") == 1


def test_evaluation(tmp_path):
    figure = plot_evaluation({0: 1.0, 1: 1e-9}, {0: 30.0, 1: 1e-6})
    assert written(figure, tmp_path / "errors.png").startswith(PNG)


def test_nothing_to_plot():
    with pytest.raises(ValueError, match="history is empty"):
        plot_training([])
    with pytest.raises(ValueError, match="no results"):
        plot_evaluation({}, {})


def test_matplotlib_missing(monkeypatch):
    found = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return found(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"pip install 'keras-loopctl\[plot\]"):
        plot_training(history(3))


def test_an_explanation(tmp_path):
    figure = plot_explanation(explain(solved()))
    assert written(figure, tmp_path / "formula.png").startswith(PNG)

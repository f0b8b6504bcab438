"""`python -m inalu plot`: what is in the pictures of many seeds, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pyarrow
import pytest
from matplotlib import pyplot
from matplotlib.backend_bases import KeyEvent
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from pyarrow import parquet

from inalu.__main__ import main
from inalu.experiment import Result, Settings
from inalu.plots import runs, seeds, window
from inalu.plots.figures import new_figure
from loopctl_shared import how_to_install

STEPS = 10


def leave(directory, seed, losses, reinitialized=(), *, converged=True, variant="chapter-6"):
    """What `train` leaves of a run with this loss in each epoch, of ten steps."""
    result = Result(
        settings=Settings(seed, samples=64 * STEPS, variant=variant),
        epochs=len(losses),
        reinitialized=reinitialized,
        converged=converged,
        log10_loss=-12.0,
        interpolation_mse=losses[-1] / 10,
        extrapolation_mse=losses[-1] * 10,
        success=converged,
        formula="x1 * x2",
        discrete=True,
        proved=True,
        seconds=8.0,
        environment={},
    )
    rows = [{"loss": x, "interpolation": x / 10, "extrapolation": 10 * x} for x in losses]
    history = {
        "loss": np.repeat(losses, STEPS),
        "loss_gate": np.repeat(losses, STEPS),
        "gate": np.arange(STEPS * len(losses)) % 10 < 8,
        "delay": np.repeat(losses, STEPS) < 1,
    }
    place = directory / f"seed-{seed}"
    place.mkdir(parents=True)
    (place / "result.json").write_text(json.dumps(dataclasses.asdict(result)))
    (place / "epochs.json").write_text(json.dumps(rows))
    parquet.write_table(pyarrow.table(history), place / "history.parquet")


@pytest.fixture
def left(tmp_path):
    """Seed 0 went straight, seed 2 on its second try, seed 10 never, within four epochs."""
    leave(tmp_path, 10, [30.0, 20.0, 40.0, 30.0], reinitialized=(2, 3), converged=False)
    leave(tmp_path, 2, [30.0, 20.0, 0.1, 1e-12], reinitialized=(2,))
    leave(tmp_path, 0, [30.0, 0.1, 1e-12])
    return tmp_path


def drawn(directory, name):
    figure = new_figure(seeds.HEIGHT)
    seeds.pictures(runs.read_runs(directory))[name](figure)
    return figure


def lines(axes, marker="None"):
    """Each line with such a marker, as its values by epoch; lines with no values are legends'."""
    found = [line for line in axes.lines if str(line.get_marker()) == marker]
    points = [dict(zip(*line.get_data(), strict=True)) for line in found]
    return [p for p in points if p]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].texts]


def test_command(left, capsys, monkeypatch):
    assert main(["plot", str(left)]) == 0
    files = sorted(str(f.relative_to(left / "plots")) for f in (left / "plots").rglob("*.png"))
    assert files == [
        "extrapolation.png",
        "interpolation.png",
        "loss-per-epoch.png",
        "loss-per-step/seed-0.png",
        "loss-per-step/seed-10.png",
        "loss-per-step/seed-2.png",
    ]
    assert f"{left / 'plots'} has loss-per-epoch.png, " in capsys.readouterr().out
    # The default is what train writes to by default.
    (left / "inalu-output").mkdir()
    (left / "seed-0").rename(left / "inalu-output" / "seed-0")
    monkeypatch.chdir(left)
    assert main(["plot", "--output", "elsewhere"]) == 0
    assert (left / "elsewhere" / "loss-per-step" / "seed-0.png").exists()
    assert not (left / "inalu-output" / "plots").exists()


def test_loss_of_each_epoch(left):
    """The point above 3 is of the third epoch; weights drawn anew "after 2" are marked above 2."""
    figure = drawn(left, "loss-per-epoch.png")
    (axes,) = figure.axes
    assert lines(axes) == [
        {1: 30.0, 2: 0.1, 3: 1e-12},
        {1: 30.0, 2: 20.0, 3: 0.1, 4: 1e-12},
        {1: 30.0, 2: 20.0, 3: 40.0, 4: 30.0},
    ]
    assert lines(axes, "x") == [{2: 20.0}, {2: 20.0, 3: 40.0}]
    assert lines(axes, "o") == [{3: 1e-12}, {4: 1e-12}]
    assert axes.get_yscale() == "log"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "mean loss of the epoch")
    assert axes.get_title().splitlines() == [
        "Training loss, 3 seeds",
        "2 of 3 seeds converged, median 3.5 epochs, extrapolation MSE at most 1.0e-11; 2 succeeded",
    ]
    assert legend(figure) == [
        "reinitialised 0×: 1 seed",
        "reinitialised 1×: 1 seed",
        "reinitialised 2×: 1 seed",
        "reinitialisation",
        "early stop",
    ]


@pytest.mark.parametrize(("name", "factor"), [("interpolation", 0.1), ("extrapolation", 10.0)])
def test_errors_of_each_epoch(left, name, factor):
    figure = drawn(left, f"{name}.png")
    (axes,) = figure.axes
    straight, *_, bound = lines(axes)
    expected = {1: 30.0 * factor, 2: 0.1 * factor, 3: 1e-12 * factor}
    assert straight == pytest.approx(expected, rel=1e-9, abs=0)
    assert [list(marked) for marked in lines(axes, "x")] == [[2], [2, 3]]
    assert [list(marked) for marked in lines(axes, "o")] == [[3], [4]]
    assert set(bound.values()) == {1e-5}
    assert legend(figure)[-1] == "bound of success, 1e-05"
    assert axes.get_yscale() == "log"
    assert axes.get_ylabel() == "mean squared error"
    assert axes.get_title().startswith(f"{name.capitalize()}, 3 seeds\n")


def test_colours_tell_how_often_weights_were_drawn_anew(tmp_path):
    """Of fifty seeds, too: they share colours, and a legend that does not list them."""
    for seed in range(50):
        leave(tmp_path, seed, [30.0, 20.0, 1e-12], reinitialized=(1,) * (seed % 5 == 0))
    figure = drawn(tmp_path, "loss-per-epoch.png")
    assert legend(figure)[:2] == ["reinitialised 0×: 40 seeds", "reinitialised 1×: 10 seeds"]
    assert len(legend(figure)) == 4
    straight, again = (to_rgba(line.get_color()) for line in figure.legends[0].get_lines()[:2])
    assert straight != again
    of_seeds = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 3]
    colours = [to_rgba(line.get_color()) for line in of_seeds]
    assert (colours.count(straight), colours.count(again)) == (40, 10)
    assert all(line.get_alpha() < 1 for line in of_seeds)


@pytest.mark.parametrize(("longest", "scale"), [(8, "linear"), (9, "log")])
def test_a_run_that_goes_on_does_not_squeeze_the_others(tmp_path, longest, scale):
    for seed in (0, 1):
        leave(tmp_path, seed, [30.0, 1e-12])
    leave(tmp_path, 2, [30.0] * longest, converged=False)
    figure = drawn(tmp_path, "loss-per-epoch.png")
    figure.canvas.draw()
    (axes,) = figure.axes
    assert axes.get_xscale() == scale
    first, last = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticklabels() if first <= tick.get_position()[0] <= last]
    expected = ["1", "2", "5", "10"] if scale == "log" else [str(epoch) for epoch in range(1, 9)]
    assert [tick.get_text() for tick in ticks] == expected


def test_loss_of_each_step(left):
    """All weights' steps, abandoned ones' too; phases below, and shaded while regularised."""
    figure = drawn(left, "loss-per-step/seed-2.png")
    axes, *strips = figure.axes
    each, _, *marks = axes.lines
    assert list(each.get_ydata()) == pytest.approx(np.repeat([30.0, 20.0, 0.1, 1e-12], STEPS))
    assert [(line.get_xdata()[0], line.get_label()) for line in marks] == [
        (2 * STEPS, "reinitialisation"),
        (4 * STEPS, "early stop"),
    ]
    (shade,) = axes.patches
    assert (shade.get_x(), shade.get_width()) == (2 * STEPS, 2 * STEPS)
    assert [strip.get_ylabel() for strip in strips] == ["weights, else gates", "regularisation"]
    assert [strip.texts[0].get_text() for strip in strips] == ["80% of steps", "50% of steps"]
    assert axes.get_yscale() == "log"
    assert axes.get_title() == "Training loss, seed-2"
    # No room is lost to the marks: the last one is at the right edge, yet inside.
    assert 4 * STEPS < axes.get_xlim()[1] < 5 * STEPS


def test_a_seed_that_did_not_stop_itself(left):
    figure = drawn(left, "loss-per-step/seed-10.png")
    assert legend(figure) == ["each step", "median", "reinitialisation"]
    places = [line.get_xdata()[0] for line in figure.axes[0].lines[2:]]
    assert places == [2 * STEPS, 3 * STEPS]


def test_of_a_variant(tmp_path):
    """Its name is in the titles; actions that it has not are not drawn."""
    leave(tmp_path, 3, [30.0], converged=False, variant="never-regularized")
    path = tmp_path / "seed-3" / "history.parquet"
    parquet.write_table(parquet.read_table(path).drop_columns(["delay"]), path)
    figure = drawn(tmp_path, "loss-per-epoch.png")
    assert figure.axes[0].get_title().startswith("Training loss, 1 seed, never-regularized\n")
    # Of a single epoch there is no line, but a dot.
    assert lines(figure.axes[0], ".") == [{1: 30.0}]
    axes, *strips = drawn(tmp_path, "loss-per-step/seed-3.png").axes
    assert axes.get_title() == "Training loss, never-regularized/seed-3"
    assert [strip.get_ylabel() for strip in strips] == ["weights, else gates"]


def refused(arguments, capsys):
    """The one line that the command ends with."""
    assert main(["plot", *map(str, arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_nothing_there(tmp_path, capsys):
    # A run without a result yet is no result.
    (tmp_path / "seed-0").mkdir()
    (tmp_path / "seed-0" / "epochs.json").write_text("[]")
    for directory in (tmp_path, tmp_path / "missing", tmp_path / "seed-0" / "epochs.json"):
        assert f"{directory} has no results" in refused([directory], capsys)
    assert not (tmp_path / "plots").exists()


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("result.json", "{", "JSONDecodeError"),
        ("result.json", "[]", "TypeError"),
        ("epochs.json", "[]", "it has no rows"),
        ("epochs.json", '[{"loss": 1.0}]', "'interpolation'"),
        ("epochs.json", None, "FileNotFoundError"),
        ("history.parquet", "loss", "ArrowInvalid"),
        ("history.parquet", None, "FileNotFoundError"),
    ],
)
def test_not_what_train_leaves(left, capsys, file, content, reason):
    """Nothing is written, not even of the seeds that are as they should be."""
    path = left / "seed-2" / file
    path.unlink() if content is None else path.write_text(content)
    line = refused([left], capsys)
    assert line.startswith(f"{path} is not what `python -m inalu train` writes")
    assert reason in line
    assert not (left / "plots").exists()


def test_history_without_loss(left, capsys):
    path = left / "seed-0" / "history.parquet"
    parquet.write_table(parquet.read_table(path).drop_columns(["loss"]), path)
    assert 'Field "loss" does not exist' in refused([left], capsys)


def test_files_of_two_runs(left, capsys):
    (left / "seed-2" / "epochs.json").write_bytes((left / "seed-0" / "epochs.json").read_bytes())
    assert refused([left], capsys) == (
        f"{left / 'seed-2'} has files of two runs: result.json is of 4 epochs, epochs.json of 3"
    )


def test_no_room_for_pictures(left, capsys):
    (left / "plots").write_text("mine")
    assert refused([left], capsys).startswith("--output: ")
    assert str(left / "plots") in refused([left], capsys)


@pytest.fixture
def no_display():
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")


@pytest.mark.usefixtures("no_display")
def test_show_without_a_display(left, capsys):
    """Pictures are written all the same, and the message says where."""
    line = refused([left, "--show"], capsys)
    assert line.startswith("--show: no display was found")
    assert f"{left / 'plots'} has loss-per-epoch.png, interpolation.png, extrapolation.png" in line
    assert (left / "plots" / "extrapolation.png").exists()
    assert not pyplot.get_fignums()


def test_show_with_a_backend_that_is_not_there(left, capsys, monkeypatch):
    def figure(**_):
        raise ImportError("No module named 'matplotlib_inline'")

    monkeypatch.setattr(pyplot, "figure", figure)
    line = refused([left, "--show"], capsys)
    assert line.startswith("--show: matplotlib can't load its backend: No module named")


@pytest.mark.usefixtures("no_display")
def test_show(left, monkeypatch):
    """One window, however many seeds: Page Down and Page Up turn its pages, round and round."""
    seen = []

    def press():
        (number,) = pyplot.get_fignums()
        figure = pyplot.figure(number)
        for key in ("pagedown", "a", "pagedown", "pagedown", "pageup", *["pageup"] * 3):
            seen.append(figure.axes[0].get_title().split("\n")[0])
            event = KeyEvent("key_press_event", figure.canvas, key)
            figure.canvas.callbacks.process(event.name, event)
        seen.append(figure.axes[0].get_title())

    monkeypatch.setattr(FigureCanvasAgg, "required_interactive_framework", "some")
    monkeypatch.setattr(pyplot, "show", press)
    assert main(["plot", str(left), "--show"]) == 0
    assert seen == [
        "Training loss, 3 seeds",
        "Interpolation, 3 seeds",
        "Interpolation, 3 seeds",
        "Extrapolation, 3 seeds",
        "Training loss, seed-0",
        "Extrapolation, 3 seeds",
        "Interpolation, 3 seeds",
        "Training loss, 3 seeds",
        "Training loss, seed-10",
    ]


def test_a_window_says_which_picture_it_shows(left):
    titles = []

    class Manager:
        def set_window_title(self, title):
            titles.append(title)

    figure = new_figure(seeds.HEIGHT)
    figure.canvas.manager = Manager()
    pages = window.Pages(figure, seeds.pictures(runs.read_runs(left)))
    pages.turn(KeyEvent("key_press_event", figure.canvas, "pageup"))
    assert titles == [
        "loss-per-epoch.png, 1 of 6: Page Up, Page Down",
        "loss-per-step/seed-10.png, 6 of 6: Page Up, Page Down",
    ]


def test_without_the_extras(left):
    """Nothing of inalu needs them to be imported; the command says which is missing."""
    code = (
        "import sys\n"
        "sys.modules['matplotlib'] = None\n"
        "from inalu.__main__ import main\n"
        f"assert main(['plot', {str(left)!r}]) == 2\n"
        "sys.modules['pyarrow'] = None\n"
        f"assert main(['plot', {str(left)!r}]) == 2\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-2:] == [
        f"Plots need matplotlib, which is not installed: {how_to_install('plot')}",
        f"Results need pyarrow, which is not installed: {how_to_install('experiment')}",
    ]

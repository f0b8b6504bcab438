"""Many runs: losses and errors of all seeds in one picture each, and each seed's loss by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from inalu.experiment import SUCCESS, summary
from inalu.plots.figures import log_axes, new_figure, save
from inalu.plots.runs import Run
from inalu.plots.training import REINITIALIZED, STOPPED, draw_training, known_phases

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Pictures = Mapping[str, "Callable[[Figure], None]"]
"""Name of a file -> what draws its picture into an empty figure."""

HEIGHT = 5.4

_MARKERS = {REINITIALIZED: "x", STOPPED: "o"}


def pictures(runs: Sequence[Run]) -> Pictures:
    """What there is to see of the runs, by the name of a file; nothing is drawn yet.

    Args:
        runs: at least one, of one variant.

    Source: figures 6.7 (``loss-per-epoch.png``), 6.8 (``loss-per-step/``), 6.9
        (``interpolation.png``) and 6.10 (``extrapolation.png``) of the thesis.
    """
    return {
        "loss-per-epoch.png": partial(_draw_losses, runs),
        "interpolation.png": partial(_draw_errors, runs, "interpolation"),
        "extrapolation.png": partial(_draw_errors, runs, "extrapolation"),
        **{
            f"loss-per-step/seed-{run.result.settings.seed}.png": partial(_draw_steps, run)
            for run in runs
        },
    }


def write(drawn: Pictures, directory: Path) -> list[Path]:
    """The files written.

    Args:
        drawn: of `pictures`.
        directory: for the files, made if missing.

    Raises:
        ImportError: matplotlib is missing.
        OSError: a file can't be written.
    """
    files = []
    for name, draw in drawn.items():
        figure = new_figure(HEIGHT)
        draw(figure)
        files.append(save(figure, directory / name))
    return files


def _draw_losses(runs: Sequence[Run], figure: Figure) -> None:
    axes = figure.subplots()
    _draw_epochs(axes, runs, "loss", "Training loss")
    log_axes(axes, "epoch", "mean loss of the epoch")
    _add_legend(figure)


def _draw_errors(runs: Sequence[Run], name: str, figure: Figure) -> None:
    axes = figure.subplots()
    _draw_epochs(axes, runs, name, name.capitalize())
    log_axes(axes, "epoch", "mean squared error")
    axes.axhline(SUCCESS, color="grey", linestyle="--", label=f"bound of success, {SUCCESS:g}")
    _add_legend(figure)


def _draw_steps(run: Run, figure: Figure) -> None:
    title = f"Training loss, {run.result.settings.name}"
    phases = known_phases(run.history)
    draw_training(figure, run.history, phases, title, run.reinitialized, run.stopped)


def _draw_epochs(axes: Axes, runs: Sequence[Run], name: str, title: str) -> None:
    """Draw a line for each run, coloured by its number of reinitialisations, with its marks.

    The legend says what colours and marks mean, not which seed a line is of: there may be many.
    """
    from matplotlib import colormaps

    groups: dict[int, list[Run]] = {}
    for run in runs:
        groups.setdefault(len(run.result.reinitialized), []).append(run)
    # Without the end of the map: a yellow that is hard to see on white.
    colours = colormaps["viridis"](np.linspace(0.0, 0.8, len(groups)))
    for (times, group), colour in zip(sorted(groups.items()), colours, strict=True):
        alpha = max(0.3, min(1.0, 6 / len(group)))
        axes.plot([], [], color=colour, label=f"reinitialised {times}×: {_seeds(len(group))}")
        for run in group:
            _draw_run(axes, run, run.epochs[name], colour, alpha)
    for label, marker in _MARKERS.items():
        axes.plot([], [], marker, markersize=5, color="grey", label=label)
    variants = dict.fromkeys(run.result.settings.variant for run in runs)
    what = ", ".join([title, _seeds(len(runs)), *(v for v in variants if v != "chapter-6")])
    axes.set_title(f"{what}\n{summary([run.result for run in runs])}", fontsize=10)
    _scale_epochs(axes, [run.result.epochs for run in runs])


def _draw_run(
    axes: Axes, run: Run, values: npt.NDArray[np.float64], colour: Any, alpha: float
) -> None:
    epochs = np.arange(1, len(values) + 1)
    # A single value is no line, hence its dot.
    dot = "." if len(values) == 1 else None
    axes.plot(epochs, values, color=colour, alpha=alpha, linewidth=1.0, marker=dot)
    stopped = [len(values)] if run.result.converged else []
    for label, after in [(REINITIALIZED, list(run.result.reinitialized)), (STOPPED, stopped)]:
        marked = np.array(after, dtype=int)
        # Above all lines, for there may be many.
        axes.plot(marked, values[marked - 1], _MARKERS[label], color=colour, markersize=5, zorder=3)


def _scale_epochs(axes: Axes, lengths: Sequence[int]) -> None:
    """Have an axis of whole epochs; a logarithmic one if a few long runs would squeeze the rest."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    if max(lengths) > 4 * np.median(lengths):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _add_legend(figure: Figure) -> None:
    figure.legend(loc="outside lower center", ncols=3, frameon=False)


def _seeds(count: int) -> str:
    return f"{count} seed" if count == 1 else f"{count} seeds"

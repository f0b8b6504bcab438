"""One run: its loss step by step, its errors epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from inalu.plots.figures import log_axes, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REINITIALIZED, STOPPED = "reinitialisation", "early stop"
"""What the marks are called."""

# More points than pixels only make the file slow to draw.
_MAX_POINTS = 20_000
_BINS = 600


def plot_training(
    history: Sequence[Mapping[str, Any]],
    *,
    phases: Mapping[str, str] | None = None,
    title: str = "Training loss",
    reinitialized: Sequence[int] = (),
    stopped: int | None = None,
) -> Figure:
    """The loss of every train step, on a log scale, over the control states as strips.

    A strip's shade at a step is the share of steps around it in which the action was on.

    Args:
        history: one mapping per step with "loss" and the control states, such as
            `LoopControllerCallback.history`.
        phases: action name -> what to call it. By default chapter 6's, as far as they
            occur in the history.
        title: above the picture.
        reinitialized: after how many of these steps weights were drawn anew, to mark them.
        stopped: after how many training stopped itself, to mark it.

    Returns:
        A figure that belongs to no window: ``figure.savefig("loss.png")``.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: the history is empty.

    Source: figures 6.7 and 6.8 of the thesis.
    """
    if not history:
        raise ValueError("The history is empty: there is nothing to plot.")
    if phases is None:
        phases = known_phases(history[0])
    columns = _columns(history, ["loss", *phases])
    figure = new_figure(height=4.3 + 0.4 * len(phases))
    draw_training(figure, columns, phases, title, reinitialized, stopped)
    return figure


def plot_evaluation(int_results: Mapping[int, float], ext_results: Mapping[int, float]) -> Figure:
    """The interpolation and extrapolation error of every epoch, on a log scale.

    Args:
        int_results, ext_results: epoch -> mean squared error, as
            `InExtrapolationEvaluationCallback` collects them.

    Returns:
        A figure that belongs to no window: ``figure.savefig("loss.png")``.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: there are no results.

    Source: figures 6.9 and 6.10 of the thesis.
    """
    if not int_results and not ext_results:
        raise ValueError("There are no results: there is nothing to plot.")
    figure = new_figure(height=4.0)
    axes = figure.subplots()
    for label, results in [("interpolation", int_results), ("extrapolation", ext_results)]:
        axes.plot(list(results), list(results.values()), marker=".", label=label)
    log_axes(axes, "epoch", "mean squared error")
    axes.legend()
    return figure


def known_phases(names: Iterable[str]) -> dict[str, str]:
    """Which of the names are chapter 6's actions, and what to call these."""
    known = {"gate": "weights, else gates", "delay": "regularisation"}
    return {name: label for name, label in known.items() if name in names}


def draw_training(
    figure: Figure,
    columns: Mapping[str, npt.NDArray[Any]],
    phases: Mapping[str, str],
    title: str,
    reinitialized: Sequence[int] = (),
    stopped: int | None = None,
) -> None:
    """Draw what `plot_training` gives.

    Args:
        figure: an empty one.
        columns: "loss" and each phase -> an array (steps,).
        phases, title, reinitialized, stopped: as of `plot_training`.
    """
    axes, *strips = figure.subplots(
        1 + len(phases),
        sharex=True,
        squeeze=False,
        gridspec_kw={"height_ratios": [10.0] + [1.0] * len(phases)},
    )[:, 0]
    steps = len(columns["loss"])
    _draw_loss(axes, columns["loss"])
    log_axes(axes, "", "loss")
    axes.set_title(title)
    for strip, (name, label) in zip(strips, phases.items(), strict=True):
        _draw_strip(strip, columns[name], label)
    if "delay" in phases:
        _shade(axes, columns["delay"], phases["delay"])
    for i, step in enumerate(reinitialized):
        _mark(axes, step, "" if i else REINITIALIZED, color="tab:red", linestyle="--")
    if stopped is not None:
        _mark(axes, stopped, STOPPED, color="black", linestyle=":")
    # With room for a mark after the last step.
    axes.set_xlim(0, 1.01 * steps)
    (strips or [axes])[-1].set_xlabel("train step")
    legend = figure.legend(loc="outside lower center", ncols=5, frameon=False)
    for line in legend.get_lines():
        # Of the thin line of all steps one stroke can hardly be seen.
        line.set_linewidth(1.2)


def _columns(
    history: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> dict[str, npt.NDArray[np.float64]]:
    rows = [[float(step[name]) for name in names] for step in history]
    return dict(zip(names, np.array(rows).T, strict=True))


def _draw_loss(axes: Axes, loss: npt.NDArray[np.float64]) -> None:
    stride = -(-len(loss) // _MAX_POINTS)
    steps = np.arange(len(loss))
    axes.plot(steps[::stride], loss[::stride], linewidth=0.4, alpha=0.4, label="each step")
    middles, medians = [], []
    for part in np.array_split(steps, min(len(steps), _BINS)):
        values = loss[part][np.isfinite(loss[part])]
        if values.size:
            middles.append(part.mean())
            medians.append(np.median(values))
    axes.plot(middles, medians, linewidth=1.2, label="median")


def _draw_strip(axes: Axes, state: npt.NDArray[Any], label: str) -> None:
    # As wide as they are drawn: `array_split` would have the wider parts first.
    edges = np.linspace(0, len(state), min(len(state), _BINS) + 1).astype(int)
    share = [part.mean() for part in np.split(state, edges[1:-1])]
    extent = (0.0, float(len(state)), 0.0, 1.0)
    axes.imshow([share], aspect="auto", cmap="Blues", vmin=0.0, vmax=1.0, extent=extent)
    axes.set_yticks([])
    axes.set_ylabel(label, rotation=0, ha="right", va="center")
    # What a shade that is the same all along stands for.
    axes.annotate(
        f"{np.mean(state):.0%} of steps",
        (1.0, 0.5),
        xytext=(4, 0),
        xycoords="axes fraction",
        textcoords="offset points",
        va="center",
    )


def _shade(axes: Axes, state: npt.NDArray[Any], label: str) -> None:
    """Shade the loss where the state is on; short gaps, too narrow to see, are closed."""
    on = np.flatnonzero(state)
    if not on.size:
        return
    gap = max(10, len(state) // _BINS)
    runs = np.split(on, np.flatnonzero(np.diff(on) > gap) + 1)
    for i, run in enumerate(runs):
        axes.axvspan(
            run[0], run[-1] + 1, color="tab:green", alpha=0.15, lw=0, label="" if i else label
        )


def _mark(axes: Axes, step: int, label: str, **line: Any) -> None:
    axes.axvline(step, linewidth=1.2, label=label, **line)

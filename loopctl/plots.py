"""Pictures of a training under control. Needs matplotlib, which the extra ``plot`` installs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from loopctl.run import StepHistory
from loopctl_shared import how_to_install

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_history"]

_COLORS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377")  # Paul Tol, bright
_MOST_POINTS = 4000  # more than that no screen shows


def plot_history(
    history: StepHistory, names: Sequence[str] | None = None, *, smooth: int = 1
) -> Figure:
    """Returns a figure of losses and metrics by train step, with the phases of each action shaded.

    If an action changes too often to be seen, the density of its shade shows how often it was on.

    Args:
        history: that of a `LoopControllerCallback`.
        names: the columns to draw, on a logarithmic axis; None for all losses.
        smooth: the number of steps in the running mean of a line.

    Returns:
        A figure that belongs to no window: ``figure.savefig("training.png")``.

    Raises:
        ValueError: the history is empty.
        TypeError: it is a history of another kind, such as Keras'.
        KeyError: it has no such column.
        ImportError: matplotlib is missing.
    """
    if not isinstance(history, StepHistory):
        raise TypeError(
            f"{type(history).__name__} is not a history of train steps: give callback.history of a "
            "LoopControllerCallback"
        )
    if not len(history):
        raise ValueError("the history is empty: there is nothing to plot")
    columns = history.to_dict()
    actions = [name for name, column in columns.items() if column.dtype == bool]
    if names is None:
        names = [name for name in columns if name == "loss" or name.startswith("loss_")]
        names = [n for n in names if n == "loss" or _tells(columns[n], columns["loss"])]
    figure = _figure()(figsize=(9, 4 + 0.3 * len(actions)), layout="constrained")
    ratios = [12, max(len(actions), 1)]
    lines, phases = figure.subplots(2, 1, sharex=True, height_ratios=ratios)
    for i, name in enumerate(names):
        values = _running_mean(history.column(name).astype(float), smooth)
        steps, shown = _thinned(values)
        lines.plot(steps, shown, label=name, color=_COLORS[i % len(_COLORS)], linewidth=1)
    lines.set_yscale("log")
    lines.set_ylabel("value" if len(names) > 1 else names[0])
    if len(names) > 1:
        lines.legend(loc="upper right")
    shades = np.array([_shares(columns[name]) for name in actions]) if actions else np.zeros((1, 1))
    extent = (-0.5, len(history) - 0.5, len(actions) - 0.5, -0.5)
    phases.imshow(
        shades, aspect="auto", cmap="Blues", vmin=0, vmax=1.4, extent=extent, interpolation="none"
    )
    phases.set_yticks(range(len(actions)), actions)
    phases.set_xlabel("train step")
    for boundary in range(1, len(actions)):
        phases.axhline(boundary - 0.5, color="white", linewidth=2)
    return figure


def _figure() -> type[Figure]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            f"Plots need matplotlib, which is not installed: {how_to_install('plot')}"
        ) from error
    return Figure


def _tells(column: Any, loss: Any) -> bool:
    """Whether a column holds anything, and not just the loss once more."""
    return not np.isnan(column).all() and not np.array_equal(column, loss, equal_nan=True)


def _running_mean(values: Any, width: int) -> Any:
    if width <= 1:
        return values
    kernel, seen = np.ones(width), ~np.isnan(values)
    total = np.convolve(np.where(seen, values, 0), kernel)[: len(values)]
    count = np.convolve(seen, kernel)[: len(values)]
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def _thinned(values: Any) -> tuple[Any, Any]:
    every = -(-len(values) // _MOST_POINTS)
    steps = np.arange(0, len(values), every)
    return steps, values[steps]


def _shares(states: Any) -> Any:
    """How often a state was on, in as many equal stretches of the training as can be seen."""
    stretches = min(len(states), 400)
    edges = np.linspace(0, len(states), stretches + 1).astype(int)
    return np.add.reduceat(states.astype(float), edges[:-1]) / np.diff(edges)

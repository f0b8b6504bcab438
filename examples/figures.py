"""What the pictures of the examples share: their size, their colours, how points are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, RED, GREEN, YELLOW, GREY = "#4477AA", "#EE6677", "#228833", "#CCBB44", "#BBBBBB"
COLORS = (BLUE, RED, GREEN, YELLOW)


def panels(*titles: str, height: float = 2.9) -> tuple[Figure, list[Axes]]:
    """A figure of panels side by side. Needs matplotlib, of the extra ``plot``."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.9 * len(titles) + 0.4, height), dpi=90, layout="constrained")
    axes = list(figure.subplots(1, len(titles), squeeze=False)[0])
    for one, title in zip(axes, titles, strict=True):
        one.set_title(title, fontsize=10)
        one.tick_params(labelsize=8)
    return figure, axes


def scatter(axes: Axes, points: Any, **options: Any) -> None:
    """Points (count, 2) in the plane, on a scale that is the same both ways."""
    axes.plot(*np.asarray(points).T, ".", **{"markersize": 2.5, "markeredgewidth": 0, **options})
    axes.set_aspect("equal")


def regions(axes: Axes, side: Any, classes: Any) -> None:
    """The plane, coloured by classes, (len(side), len(side)) integers."""
    from matplotlib.colors import ListedColormap

    axes.pcolormesh(side, side, classes, cmap=ListedColormap(COLORS), vmin=0, vmax=3, alpha=0.35)


def lines(axes: Axes, x: str, y: str, series: dict[str, tuple[Any, Any]]) -> None:
    """Lines by name, each of its x and y."""
    for (name, (xs, ys)), color in zip(series.items(), COLORS, strict=False):
        axes.plot(xs, ys, label=name, color=color, linewidth=1.4)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.grid(alpha=0.3)
    if len(series) > 1:
        axes.legend(fontsize=8)


def smoothed(values: Any, width: int) -> Any:
    """Means of so many values in turn, those that are there."""
    values = np.asarray(values)[: len(values) // width * width]
    return np.nanmean(values.reshape(-1, width), axis=1)

"""What all pictures share: a figure that no window system is asked for, its axes, its file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from loopctl_shared import how_to_install

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 9.0


def new_figure(height: float) -> Figure:
    """An empty figure of so many inches.

    Raises:
        ImportError: matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            f"Plots need matplotlib, which is not installed: {how_to_install('plot')}"
        ) from error
    figure = Figure(figsize=(WIDTH, height), dpi=120, layout="constrained")
    # A canvas of its own: no window system is asked for and no global state is touched.
    FigureCanvasAgg(figure)
    return figure


def log_axes(axes: Axes, x: str, y: str) -> None:
    """Give axes their labels, a grid and a log scale upwards."""
    axes.set_yscale("log")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)


def save(figure: Figure, path: str | Path) -> Path:
    """The path written, in a directory that is made if missing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path

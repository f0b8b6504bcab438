"""Pictures of a training run and of what was learned, figures 6.7 to 6.11.

Needs matplotlib, the `plot` extra.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from inalu.explanation import Explanation

# More points than pixels only make the file slow to draw.
_MAX_POINTS = 20_000
_BINS = 600


def plot_training(
    history: Sequence[Mapping[str, Any]],
    path: str | Path,
    *,
    phases: Mapping[str, str] | None = None,
    title: str = "Training loss",
) -> Path:
    """Write the loss of every train step, on a log scale, over the control states as strips.

    A strip's shade at a step is the share of steps around it in which the action was on.

    Args:
        history: one mapping per step with "loss" and the control states, such as
            `LoopControllerCallback.history`.
        path: file to write; the ending chooses the format.
        phases: action name -> what to call it. By default chapter 6's, as far as they
            occur in the history.
        title: above the picture.

    Returns:
        The path written.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: the history is empty.

    Source: figures 6.7 and 6.8 of the thesis.
    """
    if not history:
        raise ValueError("The history is empty: there is nothing to plot.")
    if phases is None:
        known = {"gate": "weights (dark) or gates", "delay": "regularisation"}
        phases = {name: label for name, label in known.items() if name in history[0]}
    columns = _columns(history, ["loss", *phases])
    figure = _figure(height=4.0 + 0.4 * len(phases))
    axes, *strips = figure.subplots(
        1 + len(phases),
        sharex=True,
        squeeze=False,
        gridspec_kw={"height_ratios": [10.0] + [1.0] * len(phases)},
    )[:, 0]
    _draw_loss(axes, columns["loss"])
    axes.set_title(title)
    for strip, (name, label) in zip(strips, phases.items(), strict=True):
        _draw_strip(strip, columns[name], label)
    if "delay" in phases:
        _shade(axes, columns["delay"], phases["delay"])
    (strips or [axes])[-1].set_xlabel("train step")
    return _save(figure, path)


def plot_evaluation(
    int_results: Mapping[int, float], ext_results: Mapping[int, float], path: str | Path
) -> Path:
    """Write the interpolation and extrapolation error of every epoch, on a log scale.

    Args:
        int_results, ext_results: epoch -> mean squared error, as
            `InExtrapolationEvaluationCallback` collects them.
        path: file to write; the ending chooses the format.

    Returns:
        The path written.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: there are no results.

    Source: figures 6.9 and 6.10 of the thesis.
    """
    if not int_results and not ext_results:
        raise ValueError("There are no results: there is nothing to plot.")
    figure = _figure(height=4.0)
    axes = figure.subplots()
    for label, results in [("interpolation", int_results), ("extrapolation", ext_results)]:
        axes.plot(list(results), list(results.values()), marker=".", label=label)
    axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("mean squared error")
    axes.grid(alpha=0.3)
    axes.legend()
    return _save(figure, path)


def _columns(
    history: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> dict[str, npt.NDArray[np.float64]]:
    rows = [[float(step[name]) for name in names] for step in history]
    return dict(zip(names, np.array(rows).T, strict=True))


def _draw_loss(axes: "Axes", loss: npt.NDArray[np.float64]) -> None:
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
    axes.set_yscale("log")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right")


def _draw_strip(axes: "Axes", state: npt.NDArray[np.float64], label: str) -> None:
    share = [part.mean() for part in np.array_split(state, min(len(state), _BINS))]
    extent = (0.0, float(len(state)), 0.0, 1.0)
    axes.imshow([share], aspect="auto", cmap="Blues", vmin=0.0, vmax=1.0, extent=extent)
    axes.set_yticks([])
    axes.set_ylabel(label, rotation=0, ha="right", va="center")


def _shade(axes: "Axes", state: npt.NDArray[np.float64], label: str) -> None:
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
    axes.legend(loc="upper right")


def _figure(height: float) -> "Figure":
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Plots need matplotlib, which is not installed: pip install 'loopctl[plot]'"
        ) from error
    figure = Figure(figsize=(9.0, height), dpi=120, layout="constrained")
    # A canvas of its own: no window system is asked for and no global state is touched.
    FigureCanvasAgg(figure)
    return figure


def _save(figure: "Figure", path: str | Path) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def plot_explanation(explanation: "Explanation", path: str | Path) -> Path:
    """Write a trained stack as a network of sums and products; what is ignored is grey.

    Args:
        explanation: what `inalu.explain` found.
        path: file to write; the ending chooses the format.

    Returns:
        The path written.

    Raises:
        ImportError: matplotlib is missing.

    Source: figure 6.11 of the thesis.
    """
    columns = [
        [(name, name not in explanation.ignored) for name in explanation.inputs],
        *(
            [("+" if unit.operation == "+" else "×", True) for unit in units]
            for units in explanation.layers
        ),
    ]
    figure = _figure(height=0.8 * max(map(len, columns)) + 1.2)
    axes = figure.subplots()
    axes.axis("off")
    axes.set_aspect("equal")
    axes.set_title("\n".join(explanation.formulas) + ("" if explanation.discrete else " (rounded)"))
    places = [
        [(2.5 * column, (len(nodes) - 1) / 2 - row) for row in range(len(nodes))]
        for column, nodes in enumerate(columns)
    ]
    counting = _used(explanation)
    for column, units in enumerate(explanation.layers):
        for row, unit in enumerate(units):
            for source, weight in enumerate(unit.weights):
                if weight:
                    (x, y), (to_x, to_y) = places[column][source], places[column + 1][row]
                    alive = counting[column + 1][row]
                    colour = ("#1f4e9c" if weight > 0 else "#b3261e") if alive else "#d0d0d0"
                    axes.plot(
                        [x + 0.3, to_x - 0.3],
                        [y, to_y],
                        color=colour,
                        linestyle="-" if weight > 0 else "--",
                        linewidth=1.6,
                    )
    for column, nodes in enumerate(columns):
        for row, (label, _) in enumerate(nodes):
            alive = counting[column][row]
            axes.text(
                *places[column][row],
                label,
                ha="center",
                va="center",
                fontsize=13 if column else 11,
                color="black" if alive else "#b0b0b0",
                bbox={
                    "boxstyle": "circle,pad=0.35" if column else "round,pad=0.35",
                    "facecolor": "white",
                    "edgecolor": "#444444" if alive else "#d0d0d0",
                },
            )
    last = 2.5 * (len(columns) - 1)
    axes.plot([], [], color="#1f4e9c", label="added, multiplied")
    axes.plot([], [], color="#b3261e", linestyle="--", label="subtracted, divided by")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    axes.set_xlim(-0.8, last + 0.8)
    half = (max(map(len, columns)) - 1) / 2
    axes.set_ylim(-half - 0.5, half + 0.5)
    return _save(figure, path)


def _used(explanation: "Explanation") -> list[list[bool]]:
    """Per column of the picture, which nodes an output depends on."""
    used = [[True] * len(explanation.layers[-1])]
    for units in reversed(explanation.layers):
        chosen = [unit for unit, alive in zip(units, used[0], strict=True) if alive]
        count = len(units[0].weights)
        used.insert(0, [any(unit.weights[i] for unit in chosen) for i in range(count)])
    return used

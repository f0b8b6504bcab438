"""A trained stack as a network of what its units do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inalu.plots.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from inalu.explanation import Explanation


_LABELS = {"*": "×", "==": "=", "!=": "≠", "<=": "≤", ">=": "≥", "never": "0", "always": "1"}


def plot_explanation(explanation: Explanation) -> Figure:
    """A trained stack as a network of what its units do; what is ignored is grey.

    Args:
        explanation: what `inalu.explain` found.

    Returns:
        A figure that belongs to no window: ``figure.savefig("formula.png")``.

    Raises:
        ImportError: matplotlib is missing.

    Source: figure 6.11 of the thesis.
    """
    columns = [
        [(name, name not in explanation.ignored) for name in explanation.inputs],
        *(
            [(_LABELS.get(unit.operation, unit.operation), True) for unit in units]
            for units in explanation.layers
        ),
    ]
    figure = new_figure(height=0.8 * max(map(len, columns)) + 1.2)
    axes = figure.subplots()
    axes.axis("off")
    axes.set_aspect("equal")
    axes.set_title(
        "\n".join(explanation.formulas) + ("" if explanation.is_discrete else " (rounded)")
    )
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
    positive, negative = _meanings(explanation)
    axes.plot([], [], color="#1f4e9c", label=positive)
    axes.plot([], [], color="#b3261e", linestyle="--", label=negative)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    axes.set_xlim(-0.8, last + 0.8)
    half = (max(map(len, columns)) - 1) / 2
    axes.set_ylim(-half - 0.5, half + 0.5)
    return figure


def _meanings(explanation: Explanation) -> tuple[str, str]:
    """What lines of positive and of negative weight stand for, as far as the stack has them."""
    operations = {unit.operation for units in explanation.layers for unit in units}
    words = [("added", "subtracted")] if "+" in operations else []
    if "*" in operations:
        words.append(("multiplied", "divided by"))
    if operations & {"and", "or"}:
        words.append(("as it is", "negated"))
    if operations - {"+", "*", "and", "or", "never", "always"}:
        words.append(("left side", "right side"))
    positive, negative = zip(*words, strict=True) if words else (("used",), ("used",))
    return ", ".join(positive), ", ".join(negative)


def _used(explanation: Explanation) -> list[list[bool]]:
    """Per column of the picture, which nodes an output depends on."""
    used = [[True] * len(explanation.layers[-1])]
    for units in reversed(explanation.layers):
        chosen = [unit for unit, alive in zip(units, used[0], strict=True) if alive]
        count = len(units[0].weights)
        used.insert(0, [any(unit.weights[i] for unit in chosen) for i in range(count)])
    return used

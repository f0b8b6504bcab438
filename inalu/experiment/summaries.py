"""Results of many seeds in one line, and as tables by seed and by variant."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from inalu.experiment.one_seed import Result
from inalu.result_tables import Rows


def summary(results: Sequence[Result]) -> str:
    """How many converged and succeeded, and how fast, in one line."""
    done = [result for result in results if result.converged]
    text = f"{len(done)} of {len(results)} seeds converged"
    if done:
        text += f", median {statistics.median(r.epochs for r in done):g} epochs"
        text += f", extrapolation MSE at most {max(r.extrapolation_mse for r in done):.1e}"
    return f"{text}; {sum(r.success for r in results)} succeeded"


def table_of_seeds(results: Sequence[Result]) -> Rows:
    """One row for each run."""
    return Rows(
        ("seed", "epochs", "reinit. after", "log10 loss", "MSE inside", "MSE outside", "formula"),
        [_seed(result) for result in results],
    )


def table_of_variants(results: Sequence[Result]) -> Rows:
    """One row for each variant of the recipe, over its seeds."""
    names = dict.fromkeys(result.settings.variant for result in results)
    groups = {name: [r for r in results if r.settings.variant == name] for name in names}
    headings = ("variant", "converged", "succeeded", "proved", "epochs", "reinit.", "log10 loss")
    return Rows(headings, [_variant(name, group) for name, group in groups.items()])


def _seed(result: Result) -> tuple[str, ...]:
    ending = "proved" if result.proved else result.formula if result.discrete else "not discrete"
    return (
        str(result.settings.seed),
        str(result.epochs) if result.converged else f"> {result.epochs}",
        ", ".join(map(str, result.reinitialized)) or "–",
        f"{result.log10_loss:.1f}",
        f"{result.interpolation_mse:.1e}",
        f"{result.extrapolation_mse:.1e}",
        ending,
    )


def _variant(name: str, results: Sequence[Result]) -> tuple[str, ...]:
    def of(count: int) -> str:
        return f"{count} of {len(results)}"

    epochs = [result.epochs for result in results if result.converged]
    losses = sorted(result.log10_loss for result in results)
    return (
        name,
        of(len(epochs)),
        of(sum(result.success for result in results)),
        of(sum(result.proved for result in results)),
        f"{statistics.median(epochs):g}" if epochs else "–",
        str(sum(len(result.reinitialized) for result in results)),
        f"{losses[0]:.1f} to {losses[-1]:.1f}",
    )

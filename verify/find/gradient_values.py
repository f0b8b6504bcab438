"""The gradients that update variables as values: of numbers that a step is fed as a whole."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from verify.find.observed import Array, Observed
from verify.find.step_feeds import FED, LATER, StepFeed, probabilities
from verify.flow import Update, reached, ways
from verify.graphs import Tensor
from verify.match import Evaluation, NoValueError


class GradientValues:
    """Answers about one step, or one branch of it."""

    def __init__(self, observed: Observed) -> None:
        self.observed, self.step, self.flow = observed, observed.step, observed.flow
        self.flat = observed.flat

    @functools.cached_property
    def ways(self) -> dict[Update, tuple[Tensor, ...]]:
        """What the gradient of each trained update passes; see `verify.flow`."""
        return {} if self.step.replicas > 1 else dict(ways(self.flow, self.flow.trained))

    def unseen(self, update: Update) -> str:
        """Why the gradient of an update is not known as one tensor."""
        if self.step.replicas > 1:
            return "the step runs on several replicas: assert on the function that runs on one"
        return "several gradients are added up in its update"

    def above(self, ends: Iterable[int]) -> set[int]:
        """All that some nodes are computed from, but for what was written before it was read."""
        return reached(ends, self.flow.sources)

    @functools.cached_property
    def fed(self) -> dict[str, Tensor]:
        """The tensors that the step is handed, by their role in a reference."""
        tensors = () if self.step.arguments is None else self.step.arguments.tensors
        return {f"argument {i}": tensor for i, tensor in enumerate(tensors) if tensor is not None}

    draws = tuple(draw for draw in FED if draw not in LATER)
    """Which draws there are, of what a step is handed."""

    @functools.cached_property
    def _evaluations(self) -> dict[tuple[int, bool, frozenset[Tensor]], Evaluation]:
        return {}

    def evaluation(
        self, draw: int, now: bool = True, rows: frozenset[Tensor] = frozenset()
    ) -> Evaluation:
        """The step, in one draw.

        `now`: scalar variables hold what they do now; `rows`: arguments that are probabilities
        besides those that the step takes as such.
        """
        rows |= self._rows
        if (draw, now, rows) not in self._evaluations:
            feed = StepFeed(self.observed, draw, now, rows)
            self._evaluations[draw, now, rows] = Evaluation(self.observed.plan, feed)
        return self._evaluations[draw, now, rows]

    def evaluation_with(self, draw: int, cut: Mapping[Tensor, Any]) -> Evaluation:
        """The step in one draw, but for these tensors."""
        feed = StepFeed(self.observed, draw, now=True, rows=self._rows)
        return Evaluation(self.observed.plan, feed, cut)

    @functools.cached_property
    def _rows(self) -> frozenset[Tensor]:
        return probabilities(self.flat, self.fed.values())

    def value(self, here: Evaluation, update: Update, gradient: Tensor) -> Array:
        """A gradient, flat; one that consists of rows as that of the whole variable."""
        rows = self.observed.rows_of(update, gradient)
        if rows is None:
            return np.asarray(here.value(gradient), np.float64).reshape(-1)
        whole = np.zeros([size or 0 for size in update.variable.shape])
        values = np.asarray(here.value(gradient)).reshape(-1, *whole.shape[1:])
        for tensor in sorted(rows.numbers | rows.placed):
            numbers = np.asarray(here.value(tensor)).reshape(-1)
            if len(numbers) == len(values):
                np.add.at(whole, numbers, values)
                return whole.reshape(-1)
        raise NoValueError(f"the numbers of the rows of {update.variable.path} are not known")

    def handed(self, draw: int) -> dict[str, Array]:
        """What the step is handed in one draw, by name."""
        here = self.evaluation(draw)
        return {
            self.flat.node(tensor).id: np.asarray(here.value(tensor))
            for tensor in self.fed.values()
        }

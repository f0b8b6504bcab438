"""Async actions after train steps that a graph predicate tells, also in the middle of an execution.

After each step the graph knows which of them are due. An execution of many steps stops there, the
host has its turn, and the rest of the steps follow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from loopctl.compile import Steps
from loopctl.config import AsyncAction, ControlPlan


class Pauses:
    """Between the steps of an execution.

    Args:
        plan: whose async actions with a step these are.
        steps: compiled for it.
        act: called with actions that are due.
    """

    def __init__(
        self, plan: ControlPlan, steps: Steps, act: Callable[[Sequence[AsyncAction]], object]
    ) -> None:
        self._actions, self._act = plan.stepping, act
        self._progress = steps.state.progress

    def __len__(self) -> int:
        return len(self._actions)

    def due(self) -> list[Any]:
        """After a step, in the graph: whether each action is due, scalar bool."""
        predicates = (action.step for action in self._actions if action.step is not None)
        return [predicate.evaluate(self._progress) for predicate in predicates]

    def after(self, due: Any) -> None:
        """Has the host act on what was due: (actions,) bool."""
        flags = np.asarray(due, bool)
        if flags.any():
            self._act([a for a, flag in zip(self._actions, flags, strict=True) if flag])

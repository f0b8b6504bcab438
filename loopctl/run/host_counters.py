"""Counters and history of a callback on the host, in all and since the last reinitialisation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from loopctl.run.history import Array, StepHistory

COUNTERS = ("epochs", "batches", "batches_in_epochs", "reinit_epochs", "reinit_batches")


class Progress(Protocol):
    """What the graph counts by."""

    def load(
        self,
        counters: Mapping[str, int],
        history: StepHistory,
        validation: Mapping[str, Sequence[float]],
        anew: bool,
    ) -> None:
        """Takes over all of that; `anew`: whether the history is another one."""


class Tracked:
    """The part of a callback that counts train steps and keeps their history."""

    def __init__(self) -> None:
        super().__init__()
        self._restart()

    def _restart(self) -> None:
        """Begins anew."""
        self._counters = dict.fromkeys(COUNTERS, 0)  # all by name
        self._history, self._reinit_start = StepHistory(), 0
        self._validation: dict[str, list[float]] = {}
        self._stale = True  # whether they were changed otherwise than by counting steps
        self._anew = True  # whether the history was

    def _record(self, names: tuple[str, ...], values: Array, states: frozenset[str]) -> None:
        """Counts train steps: their values, (steps, names), float64; `states` hold booleans."""
        self._history.record(names, values, states)
        for name in ("batches", "batches_in_epochs", "reinit_batches"):
            self._counters[name] += len(values)

    def _tell(self, progress: Progress) -> None:
        """Lets the graph know what was changed otherwise than by counting steps."""
        if self._stale:
            known = self._counters, self.reinit_history, self.validation
            progress.load(*known, anew=self._anew)
            self._stale = self._anew = False

    def _count_epoch(self) -> None:
        self._assign(epochs=self.epochs + 1, reinit_epochs=self.reinit_epochs + 1)

    def _record_validation(self, logs: Mapping[str, Any]) -> None:
        """Keeps what an epoch's validation has measured."""
        for name, value in logs.items():
            self._validation.setdefault(name, []).append(float(value))
            self._stale = True

    def _tracked_state(self) -> dict[str, Any]:
        """Everything tracked, as plain numbers and arrays."""
        return {
            "counters": dict(self._counters),
            "history": self._history.to_dict(),
            "reinit_start": self._reinit_start,
            "validation": {name: list(values) for name, values in self._validation.items()},
        }

    def _track_from(self, state: Mapping[str, Any]) -> None:
        """Takes over what `_tracked_state` gave."""
        self._counters = dict(state["counters"])
        self._history = StepHistory.from_dict(state["history"])
        self._validation = {name: list(values) for name, values in state["validation"].items()}
        self._reinit_start, self._stale, self._anew = state["reinit_start"], True, True

    def _assign(self, **counters: int) -> None:
        self._counters.update({name: int(value) for name, value in counters.items()})
        self._stale = True

    @property
    def epochs(self) -> int:
        return self._counters["epochs"]

    @epochs.setter
    def epochs(self, value: int) -> None:
        self._assign(epochs=value, reinit_epochs=0)

    @property
    def batches(self) -> int:
        return self._counters["batches"]

    @batches.setter
    def batches(self, value: int) -> None:
        self._assign(batches=value, reinit_batches=0)

    @property
    def batches_in_epochs(self) -> int:
        return self._counters["batches_in_epochs"]

    @batches_in_epochs.setter
    def batches_in_epochs(self, value: int) -> None:
        self._assign(batches_in_epochs=value)

    @property
    def reinit_epochs(self) -> int:
        return self._counters["reinit_epochs"]

    @reinit_epochs.setter
    def reinit_epochs(self, value: int) -> None:
        self._assign(reinit_epochs=value)

    @property
    def reinit_batches(self) -> int:
        return self._counters["reinit_batches"]

    @reinit_batches.setter
    def reinit_batches(self, value: int) -> None:
        self._assign(reinit_batches=value)

    @property
    def history(self) -> StepHistory:
        return self._history

    @history.setter
    def history(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._history = StepHistory(rows)
        self._reinit_start, self._stale, self._anew = len(self._history), True, True
        self._validation = {}

    @property
    def validation(self) -> Mapping[str, list[float]]:
        """What ``fit`` measured on validation data since the last reinitialisation.

        By name, as in ``fit``'s logs (``val_loss``), a number for each epoch that was validated.
        """
        return self._validation

    @property
    def reinit_history(self) -> StepHistory:
        return self._history.since(self._reinit_start)

    @reinit_history.setter
    def reinit_history(self, rows: Iterable[Mapping[str, Any]]) -> None:
        kept = list(rows)
        self._reinit_start, self._stale, self._anew = len(self._history), True, True
        self._validation = {}
        for row in kept:
            self._history.append(row)

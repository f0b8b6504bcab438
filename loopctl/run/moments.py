"""When async actions run: the moments of a training at which the host has its turn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from loopctl.config import VALIDATION, AsyncAction, ControlPlan
from loopctl.run.async_actions import run_async
from loopctl.run.history import Array
from loopctl.run.host_counters import Tracked
from loopctl.run.positions import Position
from loopctl.run.validations import Validations


class Moments(Tracked):
    """The part of a callback that runs async actions, in the hooks of Keras that come after steps.

    Attributes:
        plan: with the async actions.
    """

    plan: ControlPlan
    model: Any
    steps: Any
    verbose: int

    def __init__(self) -> None:
        super().__init__()
        self._validations = Validations(self.plan)
        self.position = Position(self)
        self._epoch: int | None = None  # index of the epoch under way
        self._measured = set[str]()  # what its validation has measured
        self._ever = set[str]()  # what one of this training has

    def _forget_validations(self) -> None:
        """As a training begins."""
        self._measured, self._ever = set(), set()

    def _at(self, moment: str, when: str) -> None:
        actions = (action for action in self.plan.async_actions if action.when == moment)
        run_async(self, actions, when)

    def _after_step(self, due: Iterable[AsyncAction]) -> None:
        """What a graph predicate has told, in the middle of an execution as well."""
        run_async(self, due, f"after batch {self.batches}")
        if self.steps is not None:
            self._tell(self.steps.state.progress)

    def _count_steps(self, names: tuple[str, ...], values: Array, states: frozenset[str]) -> None:
        """Takes in steps that were trained."""
        self._record(names, values, states)
        self.position.count(len(values))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if not self.position.passing:
            self._at("batch_end", f"after batch {self.batches}")

    def on_test_end(self, logs: Any = None) -> None:
        """Also called by an ``evaluate`` outside of an epoch, which is none of this training."""
        if self._epoch is None:
            return
        self._learn({f"{VALIDATION}{name}": value for name, value in (logs or {}).items()})
        self._at("validation_end", f"after the validation of epoch {self._epoch + 1}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._learn(logs or {})
        self._validations.check(self._ever | self.validation.keys(), self._history.names)
        self._end_epoch(epoch)

    def _learn(self, logs: Mapping[str, Any]) -> None:
        """Takes from logs what is new of the epoch's validation."""
        names = {name for name in logs if name.startswith(VALIDATION)} - self._measured
        self._record_validation({name: logs[name] for name in logs if name in names})
        self._measured |= names
        self._ever |= names

    def _end_epoch(self, epoch: int) -> None:
        self._epoch, self._measured = None, set()
        self._count_epoch()
        self._at("epoch_end", f"after epoch {epoch + 1}")

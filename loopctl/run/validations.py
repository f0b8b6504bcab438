"""What predicates read of validations, and whether it is measured."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from loopctl.config import ConfigError, ControlPlan, Expression, closest
from loopctl_shared import warn_user


class Validations:
    """Checks of one callback, whose warnings are each given once.

    Args:
        plan: of the callback.
    """

    def __init__(self, plan: ControlPlan) -> None:
        conditions: list[Any] = [action.cond for action in plan.async_actions]
        read = [
            *plan.predicates,
            *(c for c in conditions if isinstance(c, Expression)),
        ]
        self._asked = sorted({s.name for p in read for s in p.statistics if s.validated})
        self._told = False

    def check(self, validation: Collection[str], columns: Collection[str]) -> None:
        """When an epoch has ended: whether what is read was ever measured, or by a train step.

        Raises:
            ConfigError: a validation has no such value.
        """
        missing = [name for name in self._asked if name not in validation and name not in columns]
        if missing and validation:
            raise ConfigError(
                f"a graph predicate reads when.{missing[0]}, but a validation has no such value: "
                f"it has {', '.join(sorted(validation))}.{closest(missing[0], validation)}"
            )
        if missing and not self._told:
            self._told = True
            warn_user(
                f"a graph predicate reads when.{missing[0]}, and no epoch has been validated yet: "
                "until one is, it is NaN and a comparison with it False"
            )

    def restored_early(self, epoch: int) -> None:
        """Warns if something is read of an epoch whose validation was not saved."""
        if self._asked:
            warn_user(
                f"the restored state was saved before epoch {epoch + 1} had ended for this "
                "callback, whose validation is not known: place the callback before the one "
                "that saves"
            )

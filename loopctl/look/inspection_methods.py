"""Methods of a callback that show what it has compiled: steps, sources, a table, an export."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from loopctl.compile import Steps, separated
from loopctl.config import ConfigError, place
from loopctl.look.export import module_text
from loopctl.look.summary import html, table
from loopctl_shared import html_page, write_whole

_WIDTH = 120  # of lines where there is no terminal


class Traced(Protocol):
    """A train function that has been traced, or is to be."""

    @property
    def batch(self) -> Any:
        """Specs of the batches that it was traced with, None before."""


class Inspected:
    """The part of a callback that shows the compiled steps, once there are any."""

    _steps: Steps | None = None
    _function: Traced | None = None

    @property
    def main_step(self) -> Any:
        """The main step as a ``tf.function`` of one argument, `data`.

        Raises:
            ConfigError: the callback is not attached to a model.
        """
        return self.steps.main

    @property
    def steps(self) -> Steps:
        """The compiled steps: their sources, functions, selected variables and optimizers.

        Raises:
            ConfigError: the callback is not attached to a model.
        """
        if self._steps is None:
            raise ConfigError("there are no steps yet: attach the callback to a model, or fit it")
        return self._steps

    def source(self, action: str | None = None, branch: bool = True) -> str:
        """The source of the main step with shared forward passes, or of the substep of one branch.

        Raises:
            ConfigError: the callback is not attached to a model, or there is no such substep.
        """
        texts = self.steps.source
        if action is None:
            extra = [text for name, text in texts.items() if name.endswith(("_shared", "_again"))]
            return "\n\n".join([*extra, texts["main_step"]])
        name = f"{action}_{'on' if branch else 'off'}"
        if name not in self.steps.substeps:
            raise ConfigError(f"{place(action, branch)} is not a substep of this config")
        return texts[name]

    def summary(
        self,
        batch: Any = None,
        *,
        line_length: int | None = None,
        print_fn: Callable[[str], object] | None = None,
    ) -> None:
        """Prints a table of what each substep does and how large its graph is.

        Args:
            batch: ``(x, y)`` or ``(x, y, sample_weight)``, as tensors, arrays or ``tf.TensorSpec``,
                to trace the steps with; by default, like that of the last fit.
            line_length: the length of the longest line, as in Keras' ``Model.summary``; by default,
                the width of the terminal, or 120 if there is none.
            print_fn: a function that is called once with the whole text; by default, ``print``.

        Raises:
            ConfigError: the callback is not attached to a model.
        """
        width = line_length or shutil.get_terminal_size((_WIDTH, 24)).columns
        (print_fn or print)(table(*self._summarised(batch), width))

    def _summarised(self, batch: Any = None) -> tuple[Steps, Any, Steps | None]:
        """What a summary is of: steps, a batch to trace them with, and steps that share nothing."""
        steps = self.steps
        if batch is None and self._function is not None:
            batch = self._function.batch
        shares = any(steps.ground.shares(action) for action in steps.plan.actions)
        return steps, batch, separated(steps) if shares and batch is not None else None

    def _repr_html_(self) -> str:
        """The summary as a notebook shows it; how to get it, if there is none yet."""
        try:
            return html(*self._summarised())
        except ConfigError as error:
            return html_page(str(error))

    def export(self, path: str | Path) -> None:
        """Writes a stand-alone Python module that trains an identical model in the same way.

        It contains the same substeps, does not need loopctl, and is meant to be read and changed.

        Raises:
            ConfigError: the callback is not attached to a model, or the config contains something
                that cannot be imported by name.
        """
        path = Path(path)
        text = module_text(separated(self.steps), path.stem)
        write_whole(path, text)

"""Methods of a callback that show what it has compiled: steps, sources, a table, an export."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from loopctl.compile import Steps, separated
from loopctl.config import ConfigError, place
from loopctl.look.export import module_text
from loopctl.look.summary import table
from loopctl_shared import html_page, write_whole

_WIDTH = 120  # of lines where there is no terminal, as in a notebook


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
        """The main step as a ``tf.function`` of one argument `data`.

        Raises:
            ConfigError: not attached.
        """
        return self.steps.main

    @property
    def steps(self) -> Steps:
        """The compiled steps: their sources, functions, selections and optimizers.

        Raises:
            ConfigError: not attached.
        """
        if self._steps is None:
            raise ConfigError("there are no steps yet: attach the callback to a model, or fit it")
        return self._steps

    def source(self, action: str | None = None, branch: bool = True) -> str:
        """The text of the main step, with that of forward passes shared in it, or of one substep.

        Raises:
            ConfigError: not attached, or no such substep.
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
        """Prints a table of what each substep does, and of the sizes of its graph.

        Args:
            batch: ``(x, y)`` or ``(x, y, sample_weight)``, tensors, arrays or ``tf.TensorSpec``, to
                trace the steps with; without it, that of the last fit.
            line_length: of the longest line, as in Keras' ``Model.summary``; without it, the width
                of the terminal, or 120 where there is none.
            print_fn: called once, with the whole text; without it, the text is printed.

        Raises:
            ConfigError: not attached.
        """
        steps = self.steps
        if batch is None and self._function is not None:
            batch = self._function.batch
        shares = any(steps.ground.shares(action) for action in steps.plan.actions)
        separate = separated(steps) if shares and batch is not None else None
        width = line_length or shutil.get_terminal_size((_WIDTH, 24)).columns
        (print_fn or print)(table(steps, batch, separate, width))

    def _repr_html_(self) -> str:
        """What `summary` prints, as a notebook shows it; how to get it, if there is none yet."""
        try:
            told: list[str] = []
            self.summary(line_length=_WIDTH, print_fn=told.append)
        except ConfigError as error:
            return html_page(str(error))
        return html_page("".join(told))

    def export(self, path: str | Path) -> None:
        """Writes a stand-alone module that trains an equal model in the same way.

        It holds the same substeps, needs no loopctl and is meant to be read and changed.

        Raises:
            ConfigError: not attached; or the config holds what has no dotted name.
        """
        path = Path(path)
        text = module_text(separated(self.steps), path.stem)
        write_whole(path, text)

"""A picture as an object, for notebooks: shown where it is made, and written to a file if asked."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

from loopctl_shared import write_whole
from verify.errors import ContractError
from verify.graphs import no_collection
from verify.picture.files import difference_page, step_page, write
from verify.picture.html import framed
from verify.step import Step, capture


class Picture:
    """A picture of a step, or of two steps side by side. Notebooks display it by themselves."""

    def __init__(self, step: Step, before: Step | None = None) -> None:
        self._step, self._before = step, before

    @functools.cached_property
    def html(self) -> str:
        """The page as a single HTML document that loads nothing else."""
        with no_collection():
            if self._before is None:
                return step_page(self._step)
            return difference_page(self._before, self._step)

    @property
    def _title(self) -> str:
        since = "" if self._before is None else f", before: {self._before.name}"
        return f"{self._step.name}{since}"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the picture to a file: ``.html`` or, for a single step, any format of ``draw -o``.

        Raises:
            ContractError: the format is unknown, or not ``.html`` for a picture of two steps.
        """
        path = Path(path)
        if path.suffix == ".html":
            write_whole(path, self.html)
        elif self._before is None:
            write(self._step, path)
        else:
            raise ContractError(f"{path}: what differs between two steps is drawn as .html")

    def __repr__(self) -> str:
        return f"<picture of {self._title}; save('step.html') to look at it>"

    def _repr_html_(self) -> str:
        return framed(self.html, self._title)


def draw(
    target: Any,
    *args: Any,
    model: Any = None,
    signature: str | None = None,
    before: Any = None,
) -> Picture:
    """Returns a picture of a step to explore in a notebook, or in a browser after ``save``.

    Args:
        target, args, model, signature: as for `verify.assert_graph`.
        before: another target, traced with the same batch. Both are drawn side by side, and what
            is different in `target` is marked.
    """
    with no_collection():
        old = None if before is None else capture(before, *args, model=model)
        return Picture(capture(target, *args, model=model, signature=signature), old)

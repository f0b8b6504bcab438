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
    """A picture of a step, or of what has changed in it. A notebook shows it as it is."""

    def __init__(self, step: Step, before: Step | None = None) -> None:
        self._step, self._before = step, before

    @functools.cached_property
    def html(self) -> str:
        """The page, in one piece: it needs nothing from anywhere else."""
        with no_collection():
            if self._before is None:
                return step_page(self._step)
            return difference_page(self._before, self._step)

    @property
    def _title(self) -> str:
        since = "" if self._before is None else f", before: {self._before.name}"
        return f"{self._step.name}{since}"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes ``.html``; of a step also what ``loopctl-verify draw`` can write.

        Raises:
            ContractError: another name, or a difference as something else than HTML.
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
    """A picture of a step, to explore: what a notebook shows, and ``save`` writes to a file.

    Args:
        target, args, model, signature: as for `verify.assert_graph`.
        before: another target, of which the same batch is asked: both are drawn side by side, and
            what `target` does otherwise is marked.
    """
    with no_collection():
        old = None if before is None else capture(before, *args, model=model)
        return Picture(capture(target, *args, model=model, signature=signature), old)

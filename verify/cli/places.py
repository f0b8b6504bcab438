"""Where a report points: a file as its repository knows it."""

from __future__ import annotations

from pathlib import Path


def in_repository(path: Path) -> Path:
    """A path from the root of its repository, or from the working folder where there is none.

    The whole path of what is in neither.
    """
    whole = path.resolve()
    root = next((one for one in whole.parents if (one / ".git").exists()), Path.cwd().resolve())
    return whole.relative_to(root) if whole.is_relative_to(root) else whole

"""Where a report points: a file as its repository knows it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from verify.errors import ContractError

if TYPE_CHECKING:
    from verify.graphs import SourceLine


def written_at(place: str, target: str) -> tuple[Path, int] | None:
    """File and line of the factory ``package.module:name``; None where it is not found."""
    from verify.kinds import imported

    try:
        factory = inspect.unwrap(imported(place, target))
        file, line = inspect.getsourcefile(factory), inspect.getsourcelines(factory)[1]
    except (ContractError, TypeError, OSError):
        return None  # it is told where it is made
    return None if file is None else (Path(file), line)


def in_repository(path: Path) -> Path:
    """A path from the root of its repository, or from the working folder where there is none.

    The whole path of what is in neither.
    """
    whole = path.resolve()
    root = next((one for one in whole.parents if (one / ".git").exists()), Path.cwd().resolve())
    return whole.relative_to(root) if whole.is_relative_to(root) else whole


def of_the_repository(lines: Iterable[SourceLine]) -> tuple[tuple[Path, int], ...]:
    """Those lines that are in files of the repository, which a report may point to."""
    places = ((Path(line.path), line.number) for line in lines)
    return tuple(
        one for one in places if one[0].is_file() and not in_repository(one[0]).is_absolute()
    )

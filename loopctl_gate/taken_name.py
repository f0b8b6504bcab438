"""Whether `verify` is our package or something of the project's own."""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from pathlib import Path

_OURS = Path(__file__).resolve().parents[1] / "verify"


def in_the_way() -> str | None:
    """What to tell of a module that is, or would be, imported as `verify` in place of ours.

    It is looked for, not run. The working folder counts even where it is not on the path: factories
    of contracts are imported from there, and so is whatever else they import. None: it is ours.
    """
    if "verify" in sys.modules:
        imported = getattr(sys.modules["verify"], "__file__", None)
        if not _is_ours(imported):
            return _told(imported)
    for path in (sys.path, ["", *sys.path]):
        spec = PathFinder.find_spec("verify", path)
        origin = spec.origin if spec is not None else None
        if not _is_ours(origin):
            return _told(origin)
    return None


def _is_ours(origin: str | None) -> bool:
    return origin is not None and Path(origin).resolve().parent == _OURS


def _told(found: str | None) -> str:
    # With escapes: a folder's name may hold what a terminal acts on. What makes names printable
    # elsewhere is part of `verify`.
    return (
        f"nothing is verified: `import verify` finds {found!r}, not loopctl's package "
        f"{str(_OURS)!r}; rename the former, or move it out of the way"
    )

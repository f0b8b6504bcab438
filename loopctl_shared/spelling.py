"""What somebody who misspelt a name may have meant."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Collection, Iterable

# A glob matches a whole path: what somebody left out of it, the least first.
_LEFT_OUT = ("*/{}", "*{}", "{}/*", "{}*", "*/{}/*", "*{}*")


def near_spellings(found: str, allowed: Iterable[str], most: int = 1) -> list[str]:
    """At most so many names that are spelled like `found`, whatever the case; the nearest first."""
    lowered = {name.lower(): name for name in allowed}
    return [lowered[name] for name in difflib.get_close_matches(found.lower(), lowered, n=most)]


def near_globs(found: str, paths: Collection[str], most: int = 1) -> list[str]:
    """What a glob that matches none of some paths may have meant.

    One that matches, if only its ends are lacking; else at most so many paths spelled like it.
    """
    for form in _LEFT_OUT:
        glob = form.format(found).replace("**", "*")
        if fnmatch.filter(paths, glob):
            return [glob]
    return near_spellings(found, paths, most)

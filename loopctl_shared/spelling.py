"""What somebody who misspelt a name may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near_spellings(found: str, allowed: Iterable[str], most: int = 1) -> list[str]:
    """At most so many names that are spelled like `found`, whatever the case; the nearest first."""
    lowered = {name.lower(): name for name in allowed}
    return [lowered[name] for name in difflib.get_close_matches(found.lower(), lowered, n=most)]

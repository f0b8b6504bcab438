"""`ConfigError`, and the parts that its messages are made of: where, and what was meant."""

from __future__ import annotations

from collections.abc import Iterable

from loopctl_shared import near_spellings


class ConfigError(ValueError):
    """A config that can't be compiled; names the place, what was found and what is allowed."""


def place(*keys: object, root: str = "config") -> str:
    """How a person would address an entry: ``config["gate"][True]["clipping"]``."""
    shown = (f'["{key}"]' if isinstance(key, str) else f"[{key!r}]" for key in keys)
    return root + "".join(shown)


def closest(found: object, allowed: Iterable[object]) -> str:
    """`` Did you mean ...?`` if something allowed is spelled like `found`, else an empty string."""
    names = {str(name): name for name in allowed}
    near = near_spellings(str(found), names)
    return f" Did you mean {names[near[0]]!r}?" if near else ""

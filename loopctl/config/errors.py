"""`ConfigError`, and the parts that its messages are made of: where, and what was meant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from loopctl_shared import near_globs, near_spellings


class ConfigError(ValueError):
    """A config that can't be compiled; names the place, what was found and what is allowed."""


def place(*keys: object, root: str = "config") -> str:
    """How a person would address an entry: ``config["gate"][True]["clipping"]``."""
    shown = (f'["{key}"]' if isinstance(key, str) else f"[{key!r}]" for key in keys)
    return root + "".join(shown)


def check_keys(given: Iterable[Any], allowed: tuple[Any, ...], where: str) -> None:
    """Raises a ConfigError if a key is none of those allowed."""
    for key in given:
        # True == 1: the type decides as well, so that 1 is no spelling of True.
        if not any(key == other and type(key) is type(other) for other in allowed):
            choices = ", ".join(map(repr, allowed))
            hint = closest(key, allowed)
            raise ConfigError(f"{where} has the unknown key {key!r}: allowed are {choices}.{hint}")


def closest(found: object, allowed: Iterable[object]) -> str:
    """`` Did you mean ...?`` if something allowed is spelled like `found`, else an empty string."""
    names = {str(name): name for name in allowed}
    near = near_spellings(str(found), names)
    return f" Did you mean {names[near[0]]!r}?" if near else ""


def closest_glob(found: str, paths: list[str]) -> str:
    """The same for a glob: one that matches some of these paths, or a path spelled like it."""
    near = near_globs(found, paths)
    return f" Did you mean {near[0]!r}?" if near else ""

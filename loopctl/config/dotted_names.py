"""Dotted names of callables, as config files and exported modules have them."""

from __future__ import annotations

import importlib
import re
from typing import Any

from loopctl.config.errors import ConfigError, closest

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def is_dotted(text: Any) -> bool:
    """Whether `text` reads as ``package.module.name``."""
    return isinstance(text, str) and _DOTTED.fullmatch(text) is not None


def resolve(dotted: str, where: str) -> Any:
    """What ``package.module.name`` stands for.

    Raises:
        ConfigError: there is no such module, or nothing of that name in it.
    """
    parts = dotted.split(".")
    for split in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:split])
        try:
            found: Any = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # the module is there, but not what it needs
            continue
        for part in parts[split:]:
            if not hasattr(found, part):
                shown, hint = getattr(found, "__name__", repr(found)), closest(part, dir(found))
                raise ConfigError(f"{where} is {dotted!r}, but {shown} has no {part!r}.{hint}")
            found = getattr(found, part)
        return found
    raise ConfigError(f"{where} is {dotted!r}, but there is no module {parts[0]!r}")


def name_of(thing: Any, where: str) -> str:
    """The dotted name under which `thing` can be imported.

    Raises:
        ConfigError: there is none, as for lambdas and functions made within others.
    """
    name = f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', '')}"
    if is_dotted(name):
        try:
            if resolve(name, where) is thing:
                return name
        except ConfigError:
            pass  # told below, in terms of what was to be named
    raise ConfigError(
        f"{where} is {thing!r}, which has no name that could be written: a function or class at "
        "the top level of a module is needed, or an object of a dataclass there whose fields "
        "are its settings"
    )

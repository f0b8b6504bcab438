"""Attributes of a package that are imported when first asked for, and its version."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from loopctl_shared.names import version


def imported_on_demand(
    package: str,
    submodules: Iterable[str] = (),
    homes: Mapping[str, str] | None = None,
    before: Callable[[], None] | None = None,
) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package of this distribution, which has a ``__version__`` by it.

    Args:
        package: its name.
        submodules: names of submodules, such as those that need packages not everyone has.
        homes: other names, each with the module it is found in: ``{"thing": "package.module"}``.
        before: called before one of them is imported, to say what is missing.
    """
    modules, homes = frozenset(submodules), dict(homes or {})

    def get(name: str) -> Any:
        found: Any
        if before is not None and (name in modules or name in homes):
            before()
        if name == "__version__":
            found = version()
        elif name in modules:
            found = importlib.import_module(f"{package}.{name}")
        elif name in homes:
            found = getattr(importlib.import_module(homes[name]), name)
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, found)
        return found

    return get

"""What a package gives when first asked for: submodules that not everyone needs, its version."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Callable
from typing import Any


def on_demand(package: str, submodules: tuple[str, ...]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package of this distribution."""

    def get(name: str) -> Any:
        found: Any
        if name == "__version__":
            found = importlib.metadata.version("loopctl")
        elif name in submodules:
            found = importlib.import_module(f"{package}.{name}")
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, found)
        return found

    return get

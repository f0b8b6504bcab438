"""Control of Keras training steps from a plain dict of named actions."""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

from loopctl import distributed, presets, when
from loopctl.backup import Backup
from loopctl.callback import LoopControllerCallback
from loopctl.errors import ConfigError
from loopctl.files import load_async_config, load_config, save_config
from loopctl.history import StepHistory

if TYPE_CHECKING:
    from loopctl import board as board
    from loopctl import plots as plots

    __version__: str

__all__ = [
    "Backup",
    "ConfigError",
    "LoopControllerCallback",
    "StepHistory",
    "distributed",
    "load_async_config",
    "load_config",
    "presets",
    "save_config",
    "when",
]

# Imported when first asked for: they need packages that not everyone has.
_ON_DEMAND = ("board", "plots")


def __getattr__(name: str) -> Any:
    found: Any
    if name == "__version__":
        found = importlib.metadata.version("loopctl")
    elif name in _ON_DEMAND:
        found = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found

"""Control of Keras training steps from a plain dict of named actions."""

from typing import TYPE_CHECKING

from loopctl_shared import check_tensorflow, imported_on_demand

check_tensorflow()

from loopctl import distributed, objectives, presets, when  # noqa: E402
from loopctl.config import ConfigError, load_async_config, load_config, save_config  # noqa: E402
from loopctl.run import Backup, LoopControllerCallback, StepHistory  # noqa: E402

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
    "objectives",
    "presets",
    "save_config",
    "when",
]

# Imported when first asked for: they need packages that not everyone has.
__getattr__ = imported_on_demand(__name__, ("board", "plots"))

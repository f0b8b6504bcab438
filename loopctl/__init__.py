"""Control of Keras training steps from a plain dict of named actions."""

from loopctl import distributed, presets, when
from loopctl.callback import LoopControllerCallback
from loopctl.errors import ConfigError
from loopctl.files import load_async_config, load_config, save_config
from loopctl.history import StepHistory

__all__ = [
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

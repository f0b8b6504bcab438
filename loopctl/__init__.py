"""Control of Keras training steps from a plain dict of named actions."""

from loopctl import distributed, when
from loopctl.callback import LoopControllerCallback
from loopctl.errors import ConfigError

__all__ = ["ConfigError", "LoopControllerCallback", "distributed", "when"]

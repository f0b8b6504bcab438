"""Training under control: the callback, what it records, saves and goes on from.

In: a config, and a model in `fit`. Out: `LoopControllerCallback`, `StepHistory`, `Backup`, and what
a loop of one's own needs besides. May import: config, compile, look.
"""

from loopctl.run.backup import Backup
from loopctl.run.callback import LoopControllerCallback
from loopctl.run.history import StepHistory
from loopctl.run.train_function import build_metrics

__all__ = ["Backup", "LoopControllerCallback", "StepHistory", "build_metrics"]

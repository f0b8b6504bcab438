"""What loopctl, verify and inalu all need and none of them is about. Private to these three.

In: nothing of theirs. Out: files that are written whole, attributes that packages import on demand,
the optimizer inside of one that scales losses. May import: the standard library.
"""

from loopctl_shared.files import whole, write_whole
from loopctl_shared.loss_scaling import inner_optimizer
from loopctl_shared.on_demand import imported_on_demand

__all__ = ["imported_on_demand", "inner_optimizer", "whole", "write_whole"]

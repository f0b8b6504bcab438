"""What the text of the steps depends on besides the plan, and how its lines are put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from textwrap import indent

from loopctl.config import Action

DYNAMIC = "optimizer.dynamic_scale"
"""Expression of a loss scale that moves: an update that overflows is left out by the optimizer."""


@dataclasses.dataclass(frozen=True)
class Ground:
    """What the text depends on besides the plan.

    Args:
        distributed: the model was made under a strategy, perhaps of one replica.
        replicas: among which a global batch is split.
        training: the model's call accepts ``training=``.
        computes: the model has a ``compute_loss`` of its own.
        computes_training: which accepts ``training=``.
        compiled: the model was compiled with a loss.
        several_outputs: the model has, as far as is known.
        statistics: the model has moving statistics.
        scaling: of substeps' losses, by name: ``optimizer.dynamic_scale`` or a number.
        clipping: names of substeps whose optimizer clips by itself.
        accumulating: names of substeps that share an optimizer which accumulates gradients.
        share: whether branches that can share a forward pass do.
    """

    distributed: bool
    replicas: int
    training: bool
    computes: bool
    computes_training: bool
    compiled: bool
    several_outputs: bool
    statistics: bool
    scaling: Mapping[str, str]
    clipping: frozenset[str]
    accumulating: frozenset[str]
    share: bool

    def shares(self, action: Action) -> bool:
        """Whether an action's branches share a forward pass.

        Not under a strategy: inside a replica, an optimizer can't be called under a condition.
        """
        return self.share and not self.distributed and action.shares_forward


def indented(lines: list[str], levels: int) -> list[str]:
    """`lines`, so many levels further in."""
    return [indent(line, "    " * levels) for line in lines]

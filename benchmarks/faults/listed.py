"""The whole list."""

from __future__ import annotations

from benchmarks.faults import deepcrime_layers, deepcrime_losses, deepcrime_updates
from benchmarks.faults.fault import Fault

FAULTS: tuple[Fault, ...] = (
    *deepcrime_updates.FAULTS,
    *deepcrime_losses.FAULTS,
    *deepcrime_layers.FAULTS,
)

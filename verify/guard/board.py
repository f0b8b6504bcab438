"""What a guard has looked at, for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import tensorflow as tf

from verify.kinds import Violation


class Board:
    """Writes scalars and texts to a folder of event files."""

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = log_dir
        self._writer: tf.summary.SummaryWriter | None = None

    def write(self, step: int, ratios: Mapping[str, float], found: Sequence[Violation]) -> None:
        if self._writer is None:  # not before there is something to write
            self._writer = tf.summary.create_file_writer(str(self._log_dir))
        with self._writer.as_default(step):
            tf.summary.scalar("guard/violations", len(found))
            for path, ratio in ratios.items():
                tf.summary.scalar(f"guard/ratio/{path}", ratio)
            for violation in found:
                tf.summary.text(f"guard/{violation.keyword}", str(violation))
        self._writer.flush()

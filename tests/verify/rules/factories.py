"""Steps that tests of the command name."""

from __future__ import annotations

from typing import Any

import keras

from tests.verify.rules.twin import BATCH, compiled


def sound() -> tuple[Any, Any]:
    """A model under Keras' own train step."""
    return compiled().step, BATCH


def still() -> tuple[Any, Any]:
    """The same at a learning rate of zero."""
    return compiled(optimizer=keras.optimizers.SGD(0.0)).step, BATCH

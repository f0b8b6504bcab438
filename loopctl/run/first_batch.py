"""What is made of the first batch of a training: variables of a model, of metrics."""

from __future__ import annotations

from typing import Any

import keras

from loopctl.compile import Steps, has_call
from loopctl.config import ConfigError
from loopctl.run.train_function import build_metrics


def build(model: keras.Model, iterator: Any) -> None:
    """Builds `model` from the specs of the batches that `iterator` gives.

    Raises:
        ConfigError: these are not known, or the model can't be called on them.
    """
    spec = getattr(iterator, "element_spec", None)
    if spec is None:
        raise ConfigError(
            f"model {model.name!r} has no variables yet, and its data do not determine their "
            "shapes: build it before fit"
        )
    if not has_call(model):
        raise ConfigError(
            f"model {model.name!r} has layers without variables, and no call that determines "
            "their shapes: build them before fit"
        )
    x = keras.utils.unpack_x_y_sample_weight(spec)[0]
    model(keras.tree.map_structure(lambda s: keras.KerasTensor(s.shape, s.dtype.name), x))


def prepare(steps: Steps, data: Any) -> None:
    """Makes metrics, and what parts of objectives are kept in, before a first eager step.

    A step reads all of them, even if no substep has updated them yet.
    """
    if any(substep.objective is None for substep in steps.plan.substeps):
        build_metrics(steps.model, data)
    steps.rehearse(data)

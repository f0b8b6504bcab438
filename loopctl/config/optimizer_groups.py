"""The entry "optimizer" of a branch: one optimizer, or one for each group of variables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from loopctl.config import branch_values
from loopctl.config.errors import ConfigError, closest


@dataclasses.dataclass(frozen=True)
class OptimizerGroups:
    """Optimizers of one update: each of the variables whose paths its glob matches."""

    globs: tuple[str, ...]
    optimizers: tuple[Any, ...]


def optimizer(value: Any, where: str) -> Any:
    """An optimizer or a function that makes one, or `OptimizerGroups` of these.

    Raises:
        ConfigError: naming what is no optimizer.
    """
    if not isinstance(value, Mapping) or "class_name" in value:
        return branch_values.optimizer(value, where)
    if not value:
        raise ConfigError(f"{where} is {{}}: at least one glob with its optimizer is needed")
    made = []
    for glob, one in value.items():
        if not isinstance(glob, str):
            raise ConfigError(f"{where} has the key {glob!r}: a glob such as '*/head/*' is needed")
        if isinstance(one, Mapping) and "class_name" not in one:
            raise ConfigError(
                f"{where}[{glob!r}] is {one!r}, which is not a Keras optimizer: in a config of "
                f"one, 'class_name' and 'config' are needed.{closest(glob, ['class_name'])}"
            )
        made.append(branch_values.optimizer(one, f"{where}[{glob!r}]"))
    return OptimizerGroups(tuple(map(str, value)), tuple(made))

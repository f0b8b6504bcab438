"""What a target was traced to."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Traced:
    """What a target was traced to; exactly one of `concrete`, `graph` and `definition` is there.

    `model`: the Keras model that the step belongs to, where the target tells. `owner` is kept
    alive with it: a graph holds its variables weakly. `handed`: all that a function was traced on,
    its defaults included, what is in lists one by one.
    """

    name: str
    concrete: Any = None
    graph: Any = None
    definition: Any = None
    model: Any = None
    owner: Any = None
    handed: tuple[Any, ...] = ()

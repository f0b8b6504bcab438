"""What an entry of the list is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras


@dataclasses.dataclass(frozen=True)
class Trial:
    """A step as `verify` is handed it."""

    step: Any
    batch: tuple[Any, ...]
    model: keras.Model | None = None


Make = Callable[[], Trial]
Keywords = Mapping[str, Any]

FINGERPRINT: dict[str, Any] = {"fingerprint": None}
"""Asks for the digits that the right step has."""


@dataclasses.dataclass(frozen=True)
class Watch:
    """A training under `verify.Guard`: the keywords that it is handed, and what is learned."""

    data: Callable[[], tuple[Any, Any]]
    promised: Keywords
    epochs: int = 2


@dataclasses.dataclass(frozen=True)
class Fault:
    """A mistake in a training step, and the same step without it.

    `asks`: the keywords of `verify.assert_graph` that whoever wrote the right step would first
    write to be sure of what is wrong here; or a function of a trial, where they name its variables.
    `meant`: the faulty step is a right one of another training, so that no rule about all sound
    steps can tell. `watch`: how it is trained where the fault shows only then.
    """

    id: str
    source: str
    describes: str
    right: Make
    wrong: Make
    asks: Keywords | Callable[[Trial], Keywords] = dataclasses.field(default_factory=dict)
    meant: bool = False
    watch: Watch | None = None

    def asked(self, trial: Trial) -> dict[str, Any]:
        """The keywords, of this trial."""
        return dict(self.asks(trial) if callable(self.asks) else self.asks)

"""The list that faults are planted in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from verify.selfcheck.training import Training


@dataclasses.dataclass(frozen=True)
class Fault:
    """A train step with one thing wrong in it.

    `keyword`: the keyword of `verify.assert_graph` that has to be violated, or ``"same step"`` if
    only a comparison with the correct step can tell; `also`: keywords that may be violated with
    it. `told`: a regular expression that the message has to match. `optimizers`: those that it
    makes sense with, all if empty; `but`: kinds of model that it is none in.
    """

    training: type[Training]
    keyword: str
    told: str
    also: tuple[str, ...] = ()
    optimizers: tuple[str, ...] = ()
    but: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return (self.training.__doc__ or "").strip().rstrip(".")

    @property
    def correct(self) -> type[Training]:
        """The step without the fault."""
        base: type[Training] = self.training.__mro__[1]
        return base


FAULTS: list[Fault] = []


def planted(
    keyword: str,
    told: str,
    *,
    also: tuple[str, ...] = (),
    optimizers: tuple[str, ...] = (),
    but: tuple[str, ...] = (),
) -> Callable[[type[Training]], type[Training]]:
    """Registers a faulty training; its docstring names the fault."""

    def register(training: type[Training]) -> type[Training]:
        FAULTS.append(Fault(training, keyword, told, also, optimizers, but))
        return training

    return register

"""The step that a contract or a command is about: made once in a process, and traced once."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from loopctl_shared import near_spellings
from verify.contracts.automatic_names import fresh_names
from verify.contracts.files import Contract
from verify.errors import ContractError
from verify.find import Detector
from verify.graphs import no_collection
from verify.kinds import factory_meant, imported
from verify.printable import printable_text
from verify.step import Step, capture

_MADE: dict[tuple[str, int | None], Any] = {}
_STEPS: dict[Subject, Step] = {}
_DETECTORS: dict[Subject, Detector] = {}


@dataclasses.dataclass(frozen=True)
class Subject:
    """A factory by its dotted name, or a file; of the first perhaps an attribute (`step`).

    `place` is where it was named, for messages; `seed`: of all random numbers that a factory draws.
    """

    place: str = dataclasses.field(compare=False)
    target: str | None = None
    file: Path | None = None
    step: str | None = None
    signature: str | None = None
    seed: int | None = None

    def __str__(self) -> str:
        chosen = self.step or self.signature
        return f"{self.target or self.file}{f'#{chosen}' if chosen else ''}"


def subject_of(contract: Contract) -> Subject:
    promise = contract.promise
    return Subject(
        f"{contract.place}: contracts.{contract.label}",
        promise.target,
        None if promise.file is None else contract.path.parent / promise.file,
        promise.step,
        promise.signature,
    )


def subject_from(text: str) -> Subject:
    """What a command names: ``package.module:factory[#step]`` or ``path[#signature]``."""
    named, _, chosen = text.partition("#")
    if ":" in named and not Path(named).exists():
        return Subject(text, target=named, step=chosen or None)
    return Subject(text, file=Path(named), signature=chosen or None)


def captured(subject: Subject) -> Step:
    """The captured step.

    Raises:
        ContractError: there is no such module, factory, attribute or file, or the factory fails,
            or what it gives can't be verified.
    """
    if subject not in _STEPS:
        place = subject.place
        args: tuple[Any, ...] = ()
        if subject.file is not None:
            if not subject.file.exists():
                meant = factory_meant(str(subject.file))
                raise ContractError(f"{place}: {subject.file} does not exist{meant}")
            if subject.file.suffix == ".py":
                meant = factory_meant(".".join(subject.file.with_suffix("").parts))
                raise ContractError(f"{place}: name a function of that module{meant or _FACTORY}")
            target: Any = subject.file
        else:
            target, args = _made(place, str(subject.target), subject.seed)
            if subject.step is not None:
                target = _attribute(place, target, subject.step)
        try:
            with no_collection(), _stdout_kept_clean():
                step = capture(target, *args, signature=subject.signature)
                _ = step.trainable  # of a file, this may be what it does not tell
            _STEPS[subject] = step
        except (Exception, SystemExit) as error:
            alone = not args and isinstance(target, keras.Model)
            hint = f"\n  {subject.target} gives no batch with it{_FACTORY}" if alone else ""
            raise ContractError(f"{place}: can't be traced: {_told(error)}{hint}") from error
    return _STEPS[subject]


def detector_of(subject: Subject) -> Detector:
    """One detector for all contracts on a step, since it remembers what it found.

    Raises:
        ContractError: as `captured`.
    """
    if subject not in _DETECTORS:
        _DETECTORS[subject] = Detector(captured(subject))
    return _DETECTORS[subject]


def forget() -> None:
    """Lets go of every step and model."""
    _MADE.clear()
    _STEPS.clear()
    _DETECTORS.clear()


def _made(place: str, target: str, seed: int | None = None) -> tuple[Any, tuple[Any, ...]]:
    """A target and its arguments, as the factory gave them."""
    if (target, seed) not in _MADE:
        factory = imported(place, target)
        if not callable(factory):
            raise ContractError(f"{place}: {target} is {factory!r}, which can't be called")
        if isinstance(factory, keras.Model):
            raise ContractError(f"{place}: {target} is a model, and no function{_FACTORY}")
        if asks := _asked_by(factory):
            raise ContractError(f"{place}: {target} asks for {asks}{_FACTORY}")
        # Whichever contracts are checked before this one: variables have the same paths.
        fresh_names()
        if seed is not None:
            keras.utils.set_random_seed(seed)
        try:
            with _stdout_kept_clean():
                _MADE[target, seed] = factory()
        except (Exception, SystemExit) as error:
            raise ContractError(f"{place}: {target}() failed: {_told(error)}") from error
    made = _MADE[target, seed]
    if isinstance(made, tuple) and made:
        return made[0], made[1:]
    return made, ()


_FACTORY = ": a function without arguments returns (model, (x, y)), or (step, x, y)"


def _asked_by(factory: Callable[..., Any]) -> str:
    """What a function has to be called with, by name."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # it does not say
        return ""
    taken = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    asked = [p.name for p in parameters if p.default is p.empty and p.kind not in taken]
    return ", ".join(asked)


def _stdout_kept_clean() -> contextlib.AbstractContextManager[Any]:
    """Whatever a user's code prints goes to stderr: stdout is for reports, which programs read."""
    return contextlib.redirect_stdout(sys.stderr)


def _attribute(place: str, target: Any, name: str) -> Any:
    if not hasattr(target, name):
        near = near_spellings(name, dir(target))
        meant = f"; did you mean {near[0]}?" if near else ""
        raise ContractError(f"{place}: {type(target).__name__} has no {name}{meant}")
    return getattr(target, name)


def _told(error: BaseException) -> str:
    # Its lines are indented, so that none is taken for a line of a report.
    text = printable_text(str(error).strip()).replace("\n", "\n  ")
    return f"{type(error).__name__}: {text or 'no message'}"

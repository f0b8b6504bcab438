"""Functions, and objects of dataclasses, as an exported module writes them."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Mapping
from types import FunctionType
from typing import Any

from loopctl import objectives
from loopctl.config import ConfigError, is_made, name_of


class Things:
    """How a module refers to what a config was given, and what it needs for that.

    A dataclass of `loopctl.objectives` is copied into the module, which needs no loopctl; another
    one is imported, as functions are.
    """

    def __init__(self) -> None:
        self.imported: set[str] = set()
        self._copied: dict[str, Any] = {}

    def expression(self, thing: Any, where: str) -> str:
        """What makes `thing`, or names it.

        Raises:
            ConfigError: it has no dotted name, nor has what it is made of.
        """
        if not is_made(thing):
            return self._name(thing, where)
        fields = ", ".join(
            f"{field.name}={self._value(getattr(thing, field.name), f'{where}.{field.name}')}"
            for field in dataclasses.fields(thing)
            if field.init
        )
        return f"{self._name(type(thing), where)}({fields})"

    @property
    def copied(self) -> list[str]:
        """The source of what is defined in the module itself."""
        return [inspect.getsource(thing).rstrip() + "\n" for thing in self._copied.values()]

    def _name(self, thing: Any, where: str) -> str:
        if getattr(thing, "__module__", None) == objectives.__name__:
            self._copy(thing)
            return str(thing.__name__)
        name = name_of(thing, where)
        self.imported.add(thing.__module__)
        return name

    def _copy(self, thing: Any) -> None:
        """Takes over the source of a class, below that of functions beside it that it calls."""
        text = inspect.getsource(thing)
        for name, helper in vars(objectives).items():
            ours = isinstance(helper, FunctionType) and helper.__module__ == objectives.__name__
            if ours and f"{name}(" in text:
                self._copied.setdefault(name, helper)
        self.imported.add("dataclasses")
        self._copied.setdefault(thing.__name__, thing)

    def _value(self, value: Any, where: str) -> str:
        if isinstance(value, float):
            return repr(float(value)) if math.isfinite(value) else f"float({str(float(value))!r})"
        if value is None or type(value) in (bool, int, str):
            return repr(value)
        if isinstance(value, list | tuple):
            entries = [self._value(one, f"{where}[{i}]") for i, one in enumerate(value)]
            whole = "".join(f"{entry}, " for entry in entries)
            return f"({whole})" if isinstance(value, tuple) else f"[{whole}]"
        if isinstance(value, Mapping):
            pairs = (f"{k!r}: {self._value(v, f'{where}[{k!r}]')}" for k, v in value.items())
            return f"{{{', '.join(pairs)}}}"
        if callable(value):
            return self.expression(value, where)
        raise ConfigError(
            f"{where} is {value!r}, which can't be written into a module: a number, text, a list, "
            "tuple or dict of these, or a function or class at the top level of a module is needed"
        )

"""Callables that are made of settings, as tables: objects of a dataclass that a module names.

In a file, such a table has the form of Keras' own: ``class_name``, here with dots, and ``config``,
the fields. Text in these is text; functions are tables of one entry, ``import``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from loopctl.config.dotted_names import is_dotted, name_of, resolve
from loopctl.config.errors import ConfigError, check_keys

_CLASS, _FIELDS, _IMPORT = "class_name", "config", "import"


def is_made(thing: Any) -> bool:
    """Whether `thing` is a callable that is made of settings."""
    return dataclasses.is_dataclass(thing) and not isinstance(thing, type) and callable(thing)


def is_table(value: Any) -> bool:
    """Whether `value` is the table of one."""
    return isinstance(value, Mapping) and is_dotted(value.get(_CLASS))


def table_of(thing: Any, where: str) -> dict[str, Any]:
    """What a file holds of `thing`, from which `made` makes its equal.

    Raises:
        ConfigError: its class has no name, a field can't be written, or what is read is not equal.
    """
    name = name_of(type(thing), where)
    fields = {
        field.name: _written(getattr(thing, field.name), f"{where}.{field.name}")
        for field in dataclasses.fields(thing)
        if field.init and getattr(thing, field.name) is not None
    }
    table = {_CLASS: name, _FIELDS: fields}
    if made(table, where) != thing:
        raise ConfigError(
            f"{where} is {thing!r}, which is not equal to an object made from its fields: a "
            "frozen dataclass without other state is needed, or the dotted name of one that is "
            "created at the top level of a module"
        )
    return table


def made(table: Mapping[str, Any], where: str) -> Any:
    """What a table stands for.

    Raises:
        ConfigError: there is no such dataclass, or it can't be made of these fields.
    """
    check_keys(table, (_CLASS, _FIELDS), where)
    cls, fields = resolve(table[_CLASS], where), table.get(_FIELDS, {})
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise ConfigError(f"{where} is of {table[_CLASS]!r}, which is not a dataclass")
    if not isinstance(fields, Mapping):
        raise ConfigError(f"{where}[{_FIELDS!r}] is {fields!r}: a table of fields is needed")
    known = tuple(field.name for field in dataclasses.fields(cls) if field.init)
    check_keys(fields, known, f"{where}[{_FIELDS!r}]")
    values = {name: _read(value, f"{where}.{name}") for name, value in fields.items()}
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where} can't be made: {error}") from error


def _written(value: Any, where: str) -> Any:
    if isinstance(value, bool | int | float | str):
        return value
    if is_made(value):
        return table_of(value, where)
    if isinstance(value, list | tuple):
        return [_written(one, f"{where}[{i}]") for i, one in enumerate(value)]
    if isinstance(value, Mapping) and not value.keys() & {_CLASS, _IMPORT}:
        return {str(k): _written(one, f"{where}[{k!r}]") for k, one in value.items()}
    if callable(value):
        return {_IMPORT: name_of(value, where)}
    raise ConfigError(
        f"{where} is {value!r}, which can't be written: a number, text, a list or table of these, "
        "or a function or class at the top level of a module is needed"
    )


def _read(value: Any, where: str) -> Any:
    if is_table(value):
        return made(value, where)
    if isinstance(value, Mapping) and value.keys() == {_IMPORT}:
        return resolve(value[_IMPORT], where)
    if isinstance(value, Mapping):
        return {k: _read(one, f"{where}[{k!r}]") for k, one in value.items()}
    if isinstance(value, list):
        return [_read(one, f"{where}[{i}]") for i, one in enumerate(value)]
    return value

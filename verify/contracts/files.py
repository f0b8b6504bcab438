"""Contract files: reading them, and saying exactly what is wrong with one."""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pydantic

from verify.contracts.lines import KeyPath, lines_of_keys
from verify.contracts.schema import Expected, File, Promise
from verify.errors import ContractError
from verify.kinds import FORMS, factory_meant
from verify.printable import printable, printable_text

_MAX_BYTES = 4 << 20  # a contract is written by people; larger files are something else
# How a violation within a branch names it.
_GUARD = re.compile(r"""guards\[(?:'([^']*)'|"([^"]*)"): (\w+)\]""")
_FIELDS = {
    "File": list(File.model_fields),
    "Promise": list(Promise.model_fields),
    "Expected": list(Expected.model_fields),
}


@dataclasses.dataclass(frozen=True)
class Contract:
    """One promise, and where it is written. `lines`: of its keys, by their paths."""

    name: str
    path: Path
    promise: Promise
    lines: Mapping[KeyPath, int] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def line(self) -> int:
        return self.lines.get((), 1)

    def line_of(self, keyword: str) -> int:
        """The line of the key that a violation is about; of the contract, if that is not found."""
        path: list[str] = []
        for single, double, value in _GUARD.findall(keyword):
            path += ["guards", single or double, value.lower()]
        path.append(keyword.rpartition(" ")[2])
        known = (self.lines.get((*path[:end],)) for end in range(len(path), 0, -1))
        return next((line for line in known if line is not None), self.line)

    @property
    def place(self) -> str:
        return printable_text(f"{self.path}:{self.line}").replace("\n", r"\n")

    @property
    def label(self) -> str:
        """The name as reports print it."""
        return printable(self.name)


def read(path: Path) -> list[Contract]:
    """The contracts of one file, in the order written.

    Raises:
        ContractError: with every mistake of the file.
    """
    text = _text(path)
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ContractError(f"{path}: not TOML: {error}") from None
    except RecursionError:
        raise ContractError(f"{path}: nested too deeply") from None
    lines = lines_of_keys(text)
    mistakes = list(_unknown(content))
    try:
        file = File.model_validate(content)
    except pydantic.ValidationError as error:
        mistakes += _mistakes(error)
    except RecursionError:
        raise ContractError(f"{path}: nested too deeply") from None
    else:
        for name, promise in file.contracts.items():
            mistakes += _incomplete(f"contracts.{name}", promise)
    if mistakes:
        raise ContractError("\n".join(f"{path}: {mistake}" for mistake in mistakes))
    return [
        Contract(name, path, promise, _within(lines, ("contracts", name)))
        for name, promise in file.contracts.items()
    ]


def _within(lines: Mapping[KeyPath, int], table: KeyPath) -> dict[KeyPath, int]:
    """The lines of a table and of what is in it, by paths from there."""
    depth = len(table)
    return {path[depth:]: line for path, line in lines.items() if path[:depth] == table}


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ContractError(
                f"{path}: larger than {_MAX_BYTES >> 20} MiB, too large for a contract"
            )
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ContractError(f"{path}: can't be read: {error}") from None


def _unknown(content: Mapping[str, Any]) -> Iterator[str]:
    """Keys that nothing knows, each with the nearest that is known."""
    yield from _strange("", content, _FIELDS["File"])
    contracts = content.get("contracts")
    for name, promise in contracts.items() if isinstance(contracts, Mapping) else ():
        if isinstance(promise, Mapping):
            yield from _unknown_in(f"contracts.{name}", promise, _FIELDS["Promise"])


def _unknown_in(place: str, said: Mapping[str, Any], known: list[str]) -> Iterator[str]:
    yield from _strange(place, said, known)
    guards = said.get("guards")
    for variable, choices in guards.items() if isinstance(guards, Mapping) else ():
        for value, expected in choices.items() if isinstance(choices, Mapping) else ():
            if isinstance(expected, Mapping):
                inner = f"{place}.guards.{variable}.{value}"
                yield from _unknown_in(inner, expected, _FIELDS["Expected"])


def _strange(place: str, said: Mapping[str, Any], known: list[str]) -> Iterator[str]:
    for key in said:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            meant = f"; did you mean {near[0]}?" if near else f"; allowed: {', '.join(known)}"
            where = f"{place}.{key}" if place else key
            yield f"{where}: unknown key{meant}"


def _mistakes(error: pydantic.ValidationError) -> list[str]:
    """One line per place: what is there, and what each form that is allowed there asks for."""
    asked: dict[str, list[str]] = {}
    given: dict[str, Any] = {}
    for one in error.errors():
        if one["type"] == "extra_forbidden" and _is_table(one["loc"]):
            continue  # told with the nearest spelling
        place = ".".join(str(part) for part in one["loc"] if not _is_form(part))
        told = _asked(one)
        if told not in asked.setdefault(place, []):
            asked[place].append(told)
        given.setdefault(place, one["input"])
    return [
        f"{place}: {_short(given[place])} is not allowed; it may be {' or '.join(told)}"
        for place, told in asked.items()
    ]


def _asked(error: Any) -> str:
    """What one form would have allowed there, in the words of TOML."""
    form = next((str(part) for part in error["loc"][::-1] if _is_form(part)), "")
    if error["type"] in _TABLES:
        return FORMS.get(form, "a table")
    words: str = _WORDS.get(error["type"], error["msg"].removeprefix("Input should be "))
    return words


_TABLES = {"model_type", "dict_type", "model_attributes_type"}
_WORDS = {
    "string_type": "a text",
    "list_type": "a list",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "literal_error": "false",
    "extra_forbidden": "without this key",
    "missing": "given",
}
_FORMS = {*FORMS, "Expected"}


def _is_form(part: Any) -> bool:
    """Whether a part of pydantic's location is no key but the form it tried."""
    text = str(part)
    return text in _FORMS or any(sign in text for sign in "[(") or text in _PLAIN_FORMS


_PLAIN_FORMS = {"str", "int", "float", "bool"}


def _is_table(location: tuple[Any, ...]) -> bool:
    return not any(FORMS.get(form, "a table") != "a table" for form in map(str, location))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _incomplete(place: str, promise: Promise) -> Iterator[str]:
    if (promise.target is None) == (promise.file is None):
        yield f"{place}: says {'neither' if promise.target is None else 'both'} target and file"
    if promise.target is not None:
        module, _, name = promise.target.partition(":")
        dotted = [*module.split("."), *name.split(".")]
        if not all(part.isidentifier() for part in dotted):
            told = f'{place}.target: {promise.target!r} is no "package.module:factory"'
            yield f"{told}{factory_meant(promise.target)}"
    if promise.file is not None and promise.step is not None:
        yield f"{place}.step: a step is an attribute of a target, not of a file"
    if promise.signature is not None and promise.file is None:
        yield f"{place}.signature: a signature chooses a function of a SavedModel, given as file"
    if not promise.says_something_of_the_step:
        yield f"{place}: promises nothing of the step; say loss, watched, clipping, ..."

"""The lines of a contract file in which tables begin and keys stand: TOML's readers tell none."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

KeyPath = tuple[str, ...]
"""``("contracts", "warmup", "loss")``."""

_BARE = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=")
_LONGEST = 1000  # no header or key is longer


def lines_of_keys(text: str) -> dict[KeyPath, int]:
    """The first line of each table and key of a TOML file, by its path.

    What stands within a value of several lines is not told from keys: what looks like one there
    is in the way of no real one, unless it has the same path and comes first.
    """
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    for number, line in enumerate(text.splitlines(), 1):
        header = line.lstrip().startswith("[")
        path = _header(line) if header else _key(line)
        if not path:
            continue
        if header:
            table = path
        whole = path if header else table + path
        for end in range(1, len(whole) + 1):
            lines.setdefault(whole[:end], number)
    return lines


def _header(line: str) -> KeyPath:
    return _path(line) if len(line) <= _LONGEST else ()


def _key(line: str) -> KeyPath:
    if bare := _BARE.match(line):
        return (bare[1],)
    key, equals, _ = line.partition("=")
    return _path(f"{key}= 0") if equals and len(key) <= _LONGEST else ()


def _path(line: str) -> KeyPath:
    """The path that one line of TOML names; none if it is no header or key."""
    try:
        return tuple(_keys(tomllib.loads(line)))
    except tomllib.TOMLDecodeError:
        return ()


def _keys(table: Any) -> Iterator[str]:
    while isinstance(table, dict) and table:
        ((key, table),) = table.items()
        yield key


def comments_of(text: str) -> Iterator[tuple[int, str]]:
    """The comments of a TOML file, from ``#`` on, each with its line."""
    quote = ""  # of the string that goes on over lines
    for number, line in enumerate(text.splitlines(), 1):
        at = 0
        while at < len(line):
            if quote:
                end = _closing(line, at, quote)
                if end < 0:
                    break
                at, quote = end, ""
            elif line[at] == "#":
                yield number, line[at:]
                break
            elif line[at] in "\"'":
                quote = line[at] * 3 if line[at : at + 3] == line[at] * 3 else line[at]
                at += len(quote)
            else:
                at += 1
        if len(quote) == 1:
            quote = ""  # it has to end with its line


def _closing(line: str, at: int, quote: str) -> int:
    """Where a string is over that goes on at a place; -1 if it goes on after the line."""
    while at < len(line):
        if line[at] == "\\" and quote[0] == '"':
            at += 2
        elif line.startswith(quote, at):
            return at + len(quote)
        else:
            at += 1
    return -1

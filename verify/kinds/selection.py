"""The variables that an expectation means, and how they are listed."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from typing import Any

from verify.find import Detector
from verify.graphs import VariableRef, key_of, path_of, resource

_SHOWN = 6  # longer lists of variables are abridged; differences never are


def select(
    detector: Detector, selection: Any, keyword: str, trainable: bool = True
) -> list[VariableRef]:
    """The variables meant by one variable, path or glob, or by a list of them.

    A text that begins with ``!`` takes out again what it matches, wherever it stands.
    `trainable`: globs are for trainable variables only.

    Raises:
        ValueError: a path or glob that matches none, or an exception from nothing.
        TypeError: no variable, path or glob.
    """
    listed = selection if isinstance(selection, list | tuple | set) else [selection]
    entries, exceptions = without_exceptions(listed)
    chosen: dict[VariableRef, None] = {}
    for entry in entries:
        for variable in _resolve(detector, entry, keyword, trainable):
            chosen[variable] = None
    for glob in exceptions:
        taken = [variable for variable in chosen if fnmatch.fnmatchcase(variable.path, glob)]
        if not taken:
            raise ValueError(f"{keyword}: the exception '!{glob}' takes out nothing")
        for variable in taken:
            del chosen[variable]
    return list(chosen)


def without_exceptions(listed: Iterable[Any]) -> tuple[list[Any], list[str]]:
    """What is meant, and the globs (without their ``!``) of what is not."""
    entries, exceptions = [], []
    for entry in listed:
        if isinstance(entry, str) and entry.startswith("!"):
            exceptions.append(entry[1:])
        else:
            entries.append(entry)
    return entries, exceptions


def _resolve(detector: Detector, entry: Any, keyword: str, trainable: bool) -> list[VariableRef]:
    flow = detector.flow
    known = [v for v in detector.step.variables if flow.is_trainable(v) or not trainable]
    if isinstance(entry, str):
        found = [v for v in known if v.path == entry or fnmatch.fnmatchcase(v.path, entry)]
        if not found:
            paths = ", ".join(v.path for v in known) or "none"
            kind = "trainable variable" if trainable else "variable"
            raise ValueError(
                f"{keyword}: {entry!r} matches no {kind} of the step. "
                f"{kind.capitalize()}s it uses: {paths}"
            )
        return found
    variable = resource(entry)
    if not hasattr(variable, "handle"):
        raise TypeError(f"{keyword}: {entry!r} is no variable, path or glob")
    key = key_of(entry)
    # A variable that the graph never touches is still a fair expectation, never fulfilled.
    shape, dtype = tuple(variable.shape), variable.dtype.name
    unused = VariableRef(key, path_of(entry), shape, dtype, bool(variable.trainable))
    return [v for v in detector.step.variables if v.key == key] or [unused]


def names(paths: Iterable[str]) -> str:
    listed = sorted(paths)
    if len(listed) > _SHOWN:
        return f"{len(listed)} variables ({', '.join(listed[:2])}, ..., {listed[-1]})"
    return ", ".join(listed) or "none"

"""The variables that an expectation means, and how they are listed."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterable
from typing import Any

from loopctl_shared import near_globs
from verify.find import Detector
from verify.graphs import VariableRef, key_of, path_of, resource

_SHOWN = 6  # longer lists of variables are abridged; differences never are


def select(
    detector: Detector,
    selection: Any,
    keyword: str,
    trainable: bool = True,
    frozen: bool = False,
    first: list[VariableRef] | None = None,
) -> list[VariableRef]:
    """The variables meant by one variable, path or glob, or by a list of them.

    A text that begins with ``!`` takes out again what it matches, wherever it stands.
    `trainable`: globs mean trainable variables, if they match any. `frozen`: and those that could
    be, of the step or of the known model: neither statistics nor state of an optimizer. `first`:
    what globs mean instead, if they match any of these.

    Raises:
        ValueError: a path or glob that matches none, or an exception from nothing.
        TypeError: no variable, path or glob.
    """
    listed = selection if isinstance(selection, list | tuple | set) else [selection]
    entries, exceptions = without_exceptions(listed)
    every = known(detector)
    # What a model does not own may be anything: state that somebody wrote by hand, too.
    weights = {v.key for v in detector.step.model_weights if v.trainable} if frozen else set()
    is_trainable = detector.flow.is_trainable
    if first is None:
        first = [v for v in every if not trainable or is_trainable(v) or v.key in weights]
    chosen: dict[int | str, VariableRef] = {}
    for entry in entries:
        found = _matching(entry, first) or _matching(entry, every)
        for variable in found or _outside(detector, entry, keyword, every, trainable):
            chosen[variable.key] = variable
    for glob in exceptions:
        taken = _matching(glob, chosen.values())
        if not taken:
            held = frozen_among(detector, (v.path for v in _matching(glob, every)))
            told = f": {'; '.join(held)}" if held else ""
            raise ValueError(f"{keyword}: the exception '!{glob}' excludes nothing{told}")
        for variable in taken:
            del chosen[variable.key]
    return list(chosen.values())


def without_exceptions(listed: Iterable[Any]) -> tuple[list[Any], list[str]]:
    """What is meant, and the globs (without their ``!``) of what is not."""
    entries, exceptions = [], []
    for entry in listed:
        if isinstance(entry, str) and entry.startswith("!"):
            exceptions.append(entry[1:])
        else:
            entries.append(entry)
    return entries, exceptions


def is_empty(selection: Any) -> bool:
    """Whether a selection is a list of nothing."""
    return isinstance(selection, list | tuple | set) and not selection


def absent(detector: Detector, selection: Any) -> list[str]:
    """The paths and globs of a selection that match no variable, where `select` would raise."""
    listed = selection if isinstance(selection, list | tuple | set) else [selection]
    every = known(detector)
    entries = (one for one in without_exceptions(listed)[0] if isinstance(one, str))
    return [one for one in entries if not _matching(one, every)]


def known(detector: Detector) -> list[VariableRef]:
    """The variables of the step, and of the model that it is known to train."""
    step = detector.step
    return list({v.key: v for v in (*step.variables, *step.model_weights)}.values())


def _matching(entry: Any, variables: Iterable[VariableRef]) -> list[VariableRef]:
    if not isinstance(entry, str):
        return []
    return [v for v in variables if v.path == entry or fnmatch.fnmatchcase(v.path, entry)]


def _outside(
    detector: Detector, entry: Any, keyword: str, known: list[VariableRef], trainable: bool
) -> list[VariableRef]:
    """The variable that an object is, which the graph may never touch: never fulfilled, then."""
    if isinstance(entry, str):
        paths = [v.path for v in known]
        near = near_globs(entry, paths, _SHOWN)
        told = f" Did you mean {' or '.join(near)}?" if near else ""
        kind = "trainable variable" if trainable else "variable"
        every = [v.path for v in known if not trainable or detector.flow.is_trainable(v)]
        raise ValueError(
            f"{keyword}: {entry!r} matches no {kind} of the step or of its model.{told} "
            f"{kind.capitalize()}s it uses: {names(every)}"
        )
    variable = resource(entry)
    if not hasattr(variable, "handle"):
        meant = "; did you mean its trainable_variables?" * hasattr(entry, "trainable_variables")
        raise TypeError(f"{keyword}: {entry!r} is not a variable, path or glob{meant}")
    key = key_of(entry)
    shape, dtype = tuple(variable.shape), variable.dtype.name
    unused = VariableRef(key, path_of(entry), shape, dtype, bool(variable.trainable))
    return [v for v in known if v.key == key] or [unused]


def frozen_among(detector: Detector, paths: Iterable[str]) -> list[str]:
    """What has to be said of variables that nothing updates, where they are frozen."""
    flags = detector.step.flags
    if flags is None:
        return []
    asked = {*paths}
    frozen = sorted(
        v.path for v in detector.step.model_weights if v.path in asked and v.key not in flags
    )
    if len(frozen) > _SHOWN:
        return [f"{names(frozen)} are frozen (trainable is False)"]
    return [f"{path} is frozen (trainable is False)" for path in frozen]


def by_model(paths: Collection[str], every: Iterable[str]) -> str:
    """Paths of variables: as ``critic/*`` where all of `every` that begin so are among them."""
    groups: dict[str, set[str]] = {path.partition("/")[0]: set() for path in paths}
    for path in every:
        groups.get(path.partition("/")[0], set()).add(path)
    heads = [head for head, group in groups.items() if group <= {*paths} and head not in paths]
    left = [path for path in paths if path.partition("/")[0] not in heads]
    return names([*(f"{head}/*" for head in heads), *left])


def names(paths: Iterable[str]) -> str:
    listed = sorted(paths)
    if len(listed) > _SHOWN:
        return f"{len(listed)} variables ({', '.join(listed[:2])}, ..., {listed[-1]})"
    return ", ".join(listed) or "none"

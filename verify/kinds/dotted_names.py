"""Objects by their names, ``package.module:attribute``, and what a misspelt one may mean."""

from __future__ import annotations

import ast
import contextlib
import importlib
import pkgutil
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from loopctl_shared import near_spellings
from verify.errors import ContractError


def imported(place: str, name: str) -> Any:
    """What ``package.module:attribute`` is.

    Raises:
        ContractError: no such module, one that fails when it is imported, no such attribute.
    """
    _look_in_the_working_folder()
    module, _, attribute = name.partition(":")
    try:
        # What a project prints meanwhile is no part of a report.
        with contextlib.redirect_stdout(sys.stderr):
            found: Any = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        told = f"{type(error).__name__}: {error}"
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            meant = _near_module(module)
            told += f"; did you mean {meant}:{attribute}?" if meant else ""
        raise ContractError(f"{place}: {module} can't be imported: {told}") from error
    parts = attribute.split(".")
    for position, part in enumerate(parts):
        if not hasattr(found, part):
            near = near_spellings(part, dir(found))
            meant = ".".join([*parts[:position], *near])
            told = f"; did you mean {module}:{meant}?" if near else ""
            raise ContractError(f"{place}: {module} has no {attribute}{told}")
        found = getattr(found, part)
    return found


def factory_meant(text: str) -> str:
    """``; did you mean package.module:factory?`` of a dotted name alone; empty if it is none.

    Modules are read for that, not run.
    """
    if not all(part.isidentifier() for part in text.split(".")):
        return ""
    _look_in_the_working_folder()
    module, _, last = text.rpartition(".")
    if module and last in _factories(module):
        return f"; did you mean {module}:{last}?"
    factories = _factories(text)
    if not factories and (near := _near_module(text)):
        text, factories = near, _factories(near)
    named = factories[:_SHOWN] or (["factory"] if _source(text) is not None else [])
    return f"; did you mean {' or '.join(f'{text}:{name}' for name in named)}?" if named else ""


_SHOWN = 3  # so many factories of a module are told


def _look_in_the_working_folder() -> None:
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` does


def _factories(module: str) -> list[str]:
    """The public functions at a module's top level that need no argument."""
    source = _source(module)
    try:
        body = [] if source is None else ast.parse(source.read_text("utf-8")).body
    except (OSError, SyntaxError, ValueError):
        return []
    return [
        one.name
        for one in body
        if isinstance(one, ast.FunctionDef)
        and not one.name.startswith("_")
        and len(one.args.posonlyargs + one.args.args) == len(one.args.defaults)
    ]


def _source(module: str) -> Path | None:
    spec = _spec(module)
    origin = None if spec is None else spec.origin
    return Path(origin) if origin is not None and origin.endswith(".py") else None


def _spec(module: str) -> Any:
    spec, path = None, None
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        # Not `importlib.util.find_spec`, which imports the packages that a module is in.
        spec = PathFinder.find_spec(".".join(parts[:end]), path)
        if spec is None or (end < len(parts) and spec.submodule_search_locations is None):
            return None
        path = spec.submodule_search_locations
    return spec


def _near_module(module: str) -> str:
    """The module that one that is not there is spelled like, empty if there is none."""
    found = ""
    for part in module.split("."):
        within = f"{found}." if found else ""
        there = _spec(within + part) is not None
        near = [part] if there else near_spellings(part, _modules_in(found))
        if not near:
            return ""
        found = within + near[0]
    return "" if found == module else found


def _modules_in(package: str) -> set[str]:
    """The modules that can be imported from a package, or at all; folders are packages, too."""
    spec = _spec(package) if package else None
    paths = list(spec.submodule_search_locations or ()) if spec is not None else []
    if package and not paths:
        return set()
    folders = (one for path in paths or [""] for one in Path(path).iterdir() if one.is_dir())
    names = {folder.name for folder in folders if folder.name.isidentifier()}
    return names | {one.name for one in pkgutil.iter_modules(paths or None)}

"""Modes: which layers run as in training for what is differentiated, and which as in inference."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Mapping
from typing import Any

from verify.find import Detector
from verify.kinds.contract_spelling import literal
from verify.kinds.facts import Facts
from verify.kinds.kind import Asked, Keyword, Kind, Row
from verify.kinds.selection import names
from verify.kinds.violation import UNTOLD, Violation

_MODE = {True: "in training mode", False: "in inference mode"}


def _check(detector: Detector, expected: Any, _: Asked) -> list[Violation]:
    asked = expected if isinstance(expected, Mapping) else {"*": expected}
    for glob, training in asked.items():
        if not isinstance(training, bool) or not isinstance(glob, str):
            raise TypeError(
                f"training: {expected!r} is not a mode: expected True, False or a dict of these by "
                "globs over paths of layers"
            )
    if unknown := detector.modes.unknown:
        told = f"{UNTOLD}: {unknown}"
        return [Violation("training", f"layers {_MODE[next(iter(asked.values()), True)]}", told)]
    layers = detector.modes.with_modes
    wanted: dict[str, bool] = {}
    for glob, training in asked.items():
        among = layers if glob == "*" else [*layers, *detector.modes.frozen]
        matched = [path for path in among if _is_meant(glob, path)]
        if not matched and glob != "*":
            raise ValueError(_no_layer(glob, layers))
        wanted |= dict.fromkeys(matched, training)
    violations = []
    for training in (True, False):
        wrong = [
            path
            for path, mode in wanted.items()
            if mode is training and not detector.modes.is_in(path, training)
        ]
        if wrong:
            found = _MODE[not training]
            violations.append(Violation("training", f"{names(wrong)} {_MODE[training]}", found))
    return violations


def _is_meant(glob: str, path: str) -> bool:
    """Whether a glob means a layer: by its path, or by its name alone."""
    return any(fnmatch.fnmatchcase(told, glob) for told in (path, path.rpartition("/")[2]))


def _no_layer(glob: str, layers: list[str]) -> str:
    named = {path.rpartition("/")[2]: path for path in layers}
    near = difflib.get_close_matches(glob, dict.fromkeys([*layers, *named]), 3, cutoff=0.5)
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    told = f"layers whose mode matters: {names(layers)}" if layers else "the mode of none matters"
    return f"training: {glob!r} matches no layer of the model whose mode matters.{meant} {told}"


class _Training(Kind):
    keywords = (Keyword("training", bool | dict[str, bool], _check, rank=3, by_entry=True),)

    def find(self, detector: Detector) -> dict[str, Any]:
        modes = sorted(detector.modes.of_state.items())
        return {
            "training": tuple(path for path, trains in modes if trains),
            "inference": tuple(path for path, trains in modes if not trains),
        }

    def page(self, facts: Facts) -> list[Row]:
        return [Row.listed("in inference mode", facts.inference)]

    def baseline(self, facts: Facts) -> dict[str, Any]:
        if not facts.inference:
            return {"training": True} if facts.training else {}
        modes = {literal(path): True for path in facts.training}
        return {"training": modes | {literal(path): False for path in facts.inference}}


KIND = _Training()

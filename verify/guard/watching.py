"""Which variables of a model a promise is about, and what it says of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from verify.find import Detector
from verify.graphs import path_of
from verify.guard.monitors import Watched
from verify.guard.promises import Promise
from verify.kinds import select
from verify.step import Step


def watched_by(promise: Promise, step: Step, model: keras.Model) -> list[Watched]:
    """What monitors have to watch: all that is trained, and what the promise names besides."""
    detector = Detector(step)
    values = promise.values
    moves = _paths(detector, values.get("watched"), "watched")
    unchanged = _paths(detector, values.get("unchanged"), "unchanged", trainable=False)
    still = dict.fromkeys(unchanged, "unchanged")
    if not values.get("allow_writes"):
        unwatched = _paths(detector, values.get("unwatched"), "unwatched")
        still |= dict.fromkeys(unwatched, "unwatched")
    trained = {update.variable.path for update in detector.flow.trained}
    return [
        Watched(path, variable, path in moves, still.get(path, ""), path in trained)
        for path, variable in {path_of(v): v for v in _variables(model)}.items()
        if path in {*moves, *still, *trained}
    ]


def _paths(detector: Detector, selection: Any, keyword: str, trainable: bool = True) -> set[str]:
    if selection is None:
        return set()
    return {v.path for v in select(detector, selection, keyword, trainable=trainable)}


def _variables(model: keras.Model) -> Iterator[Any]:
    yield from model.variables
    if model.optimizer is not None:
        yield from model.optimizer.variables

"""Optimizers of groups of variables, for the eager loop."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np


class Split:
    """Optimizers that are applied one after another, each to the variables of its glob."""

    def __init__(self, optimizers: Mapping[str, Any]) -> None:
        self.optimizers, self.built = optimizers, False

    def build(self, variables: list[Any]) -> None:
        self.built = True
        for glob, optimizer in self.optimizers.items():
            optimizer.build([v for v in variables if fnmatch.fnmatchcase(v.path, glob)])

    def parts(self, pairs: list[tuple[Any, Any]]) -> Iterator[tuple[Any, list[tuple[Any, Any]]]]:
        for glob, optimizer in self.optimizers.items():
            own = [pair for pair in pairs if fnmatch.fnmatchcase(pair[1].path, glob)]
            if own:
                yield optimizer, own


class Scaled:
    """Around such groups what `keras.optimizers.LossScaleOptimizer` is around one: one scale."""

    def __init__(self, groups: Split) -> None:
        self.groups, self.dynamic_scale, self.sound = groups, 2.0**15, 0

    @property
    def built(self) -> bool:
        return self.groups.built

    def build(self, variables: list[Any]) -> None:
        self.groups.build(variables)

    def unscaled(self, pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        """Gradients without the scale, which then changes; none if one has overflown."""
        scale = self.dynamic_scale
        if not all(np.isfinite(gradient).all() for gradient, _ in pairs):
            self.dynamic_scale, self.sound = scale / 2, 0
            return []
        self.sound += 1
        if self.sound == 2000:
            self.dynamic_scale, self.sound = scale * 2, 0
        return [(gradient / scale, variable) for gradient, variable in pairs]

"""The update that an optimizer makes of gradients, fed with what a step is fed."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from verify.find.observed import Array, Held, Observed
from verify.find.shapes import Shapes
from verify.flow import Dependence
from verify.graphs import Tensor, VariableRef
from verify.match import Evaluation, NoValueError, Plan, same_change
from verify.references import OptimizerStep


class OptimizerUpdate:
    """The update that an optimizer makes of gradients, its arguments.

    `keys`: the variables of the step that these are the gradients of, in their order. `own`: per
    key of a variable that it has and the step does not, that of the step that it stands for.
    `scale`: what is kept is that of the step times this: the rate may be within a momentum, or not.
    """

    def __init__(
        self,
        made: OptimizerStep,
        keys: Sequence[int | str],
        observed: Observed,
        own: Mapping[int | str, VariableRef] | None = None,
        scale: float = 1.0,
    ) -> None:
        self.made, self.flat, self.keys, self.observed = made, made.flat, keys, observed
        self.own, self.scale = dict(own or {}), scale
        self._plan = Plan(self.flat)
        self._evaluations: dict[tuple[int, Shapes, int, int], Evaluation] = {}

    @functools.cached_property
    def steps(self) -> int:
        """How often the step counts one: an optimizer may be applied several times in it."""
        counts = {v.key for _, v in self.flat.writes() if v.shape == () and v.dtype == "int64"}
        written = [v.key for _, v in self.observed.flat.writes() if v.key in counts]
        return max((written.count(key) for key in counts), default=1) or 1

    @functools.cached_property
    def _states(self) -> dict[int | str, list[VariableRef]]:
        """What is written depending on the gradient of each variable."""
        depends, found = Dependence(self.flat), dict[int | str, list[VariableRef]]()
        # Other variables that are trained are looked at by themselves.
        weights = dict(zip(self.made.variables, self.keys, strict=True))
        for key, arguments in zip(self.keys, self.made.arguments, strict=True):
            below = depends.descendants(arguments)
            written = {v.key: v for node, v in self.flat.writes() if node.index in below}
            found[key] = [v for own, v in written.items() if weights.get(own, key) == key]
        return found

    def kept(self, key: int | str) -> list[VariableRef]:
        """What is kept for a variable, other than numbers."""
        own = self.made.variables[list(self.keys).index(key)]
        return [v for v in self._states[key] if v.key != own and v.shape != ()]

    def evaluation(self, draw: int, shapes: Shapes, place: int, sooner: int) -> Evaluation:
        known = draw, shapes, place, sooner
        if known not in self._evaluations:
            here, cut = self.observed.evaluation(draw, shapes), dict[Tensor, Any]()
            for key, arguments in zip(self.keys, self.made.arguments, strict=True):
                way = self.observed.ways[key]
                value = here.value(way[min(place, len(way) - 1)])
                own = self.observed.feed(draw, shapes).variable(self._own(key))
                fed = self._fed(key, np.asarray(value, np.float64), np.shape(own), shapes)
                cut |= {(index, 0): part for index, part in zip(arguments, fed, strict=True)}
            feed = _Own(self, draw, shapes, sooner)
            self._evaluations[known] = Evaluation(self._plan, feed, cut)
        return self._evaluations[known]

    def _fed(
        self, key: int | str, value: Array, shape: tuple[int, ...], shapes: Shapes
    ) -> tuple[Any, ...]:
        """What enters the optimizer for a variable: its gradient, or the rows it consists of."""
        whole = self.observed.fed_rows.whole(key, value, shapes)
        if whole.size != math.prod(shape):
            raise NoValueError(f"{self._own(key).path} can't be fed in another shape")
        if key not in self._tables:
            return (tf.constant(whole.reshape(shape)),)
        numbers = self.observed.fed_rows.numbers_of(key, value, shapes)
        rows = tf.constant(value.reshape(len(numbers), *shape[1:]))
        return rows, tf.constant(numbers, tf.int32), tf.constant(shape, tf.int32)

    @functools.cached_property
    def _tables(self) -> frozenset[int | str]:
        """The variables whose gradients the optimizer is given as rows."""
        pairs = zip(self.keys, self.made.arguments, strict=True)
        return frozenset(key for key, arguments in pairs if len(arguments) > 1)

    def scale_of(self, variable: VariableRef) -> float:
        return self.scale if variable.key in self.own.keys() - self.made.variables else 1.0

    def _own(self, key: int | str) -> VariableRef:
        return self.observed.updates[key].variable

    def alike(self, key: int | str, here: Evaluation, there: Evaluation, feed: Any) -> bool | None:
        """Whether a step writes the same to a variable, and to what is kept for it.

        None where both write what is no number: at a rate of zero, say.
        """
        for variable in self._states[key]:
            before = elements(feed.variable(self.own.get(variable.key, variable)))
            one = elements(here.final(self.own.get(variable.key, variable)))
            other = elements(there.final(variable)) / self.scale_of(variable)
            if {one.shape, other.shape} != {before.shape}:
                raise NoValueError(f"{variable.path} can't be fed in another shape")
            if not np.isfinite(other).all():
                return False if np.isfinite(one).all() else None
            if not same_change(one, other, before):
                return False
        return True


class _Own(Held):
    """Feeds an optimizer with what the step is fed."""

    def __init__(self, reference: OptimizerUpdate, draw: int, shapes: Shapes, sooner: int) -> None:
        super().__init__(reference.observed, draw, shapes, sooner)
        self.reference = reference

    def variable(self, variable: VariableRef) -> Any:
        numbers, own = self.reference.made.numbers, self.reference.own
        if variable.key in own:
            value = super().variable(own[variable.key])
            return value * tf.cast(self.reference.scale_of(variable), value.dtype)
        trained = self.reference.observed.flow.trained_of
        if (
            variable.key in numbers.keys() - trained.keys()
            and tf.as_dtype(variable.dtype).is_floating
        ):
            return tf.constant(numbers[variable.key], variable.dtype)
        return super().variable(variable)


def elements(value: Any) -> Array:
    """The elements of a tensor in a row, of float64."""
    return np.asarray(value, np.float64).reshape(-1)

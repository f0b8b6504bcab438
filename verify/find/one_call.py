"""One of the calls of a step, see `verify.find.calls`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from verify.find.observed import Array
from verify.find.single_writes import Key
from verify.graphs import Tensor, VariableRef
from verify.match import Evaluation


@dataclasses.dataclass(frozen=True)
class Call:
    """One call: the gradients that it was fed, and the keys of what it has changed.

    `drifted`: those of variables that it has changed without their gradients, and would again: by a
    decay, not by a constraint that is then kept. `before`: what it found, `evaluation`: of the call
    itself, where it has changed a trained variable; of others nothing is kept.
    """

    gradients: Mapping[Tensor, Array]
    changed: frozenset[Key]
    drifted: frozenset[Key]
    before: Mapping[Key, Array]
    evaluation: Evaluation | None

    def value(self, tensor: Tensor) -> Array:
        """(n,), what a tensor was in it.

        Raises:
            NoValueError: that can't be computed.
        """
        return _vector(self._evaluated.value(tensor))

    def after(self, variable: VariableRef) -> Array:
        """(n,), what it has left in a variable.

        Raises:
            NoValueError: that can't be computed.
        """
        return _vector(self._evaluated.final(variable))

    @property
    def _evaluated(self) -> Evaluation:
        assert self.evaluation is not None  # a trained variable was changed
        return self.evaluation


def _vector(value: object) -> Array:
    return np.asarray(value, np.float64).reshape(-1)

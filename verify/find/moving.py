"""Which variables are moving statistics: mixtures of what they held and of data.

What is written is computed for several values that the variable held, near each other, and for
several data: what is left of a change of the variable is the share that it keeps. Of a sum, a
metric's say, it keeps all; of a state that is computed anew in any other way, no share.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from verify.find.observed import Array, Held, Observed
from verify.find.shapes import Shapes
from verify.find.single_writes import Key, SingleWrites
from verify.graphs import Node, Tensor, VariableRef
from verify.match import NUMBERS, Domain, Evaluation, NoValueError, drawn

_STEP = 1e-4  # between values that a variable may have held
_EXACT = 1e-6  # of a share that is kept
_NOTHING = 1e-9  # by which data do not move a variable
_DECIDED = (None, True, False)  # what truth values are


class Moving:
    """The writes that move a statistic."""

    def __init__(self, observed: Observed, writes: SingleWrites) -> None:
        self.observed, self.flow, self.flat = observed, observed.flow, observed.flat
        self.writes = writes

    @functools.cached_property
    def shares(self) -> dict[Key, float]:
        """By key of each moving statistic, the share that it keeps, by its first such write."""
        found = {}
        for key, writes in self.writes.by_key.items():
            for node, variable in writes:
                share = self._share(node, variable) if self._may_move(node, variable) else None
                if share is not None:
                    found[key] = share
                    break
        return found

    def _may_move(self, node: Node, variable: VariableRef) -> bool:
        of_data = node.index in self.flow.of_data and node.index not in self.flow.backward
        real = variable.dtype in NUMBERS and "float" in variable.dtype
        return of_data and real and not self.flow.is_trainable(variable)

    def _share(self, node: Node, variable: VariableRef) -> float | None:
        """The share of itself that a variable keeps, less than one; None if that is not so."""
        made = self._made_of(node, variable)
        deciding = self.writes.deciding(self.writes.given(node), made)
        for decided in _DECIDED if deciding else _DECIDED[:1]:
            for border in (made, None) if self.observed.is_small else (made,):
                try:
                    one = _Draws(self, node, variable, border, (decided, deciding))
                    share = one.share()
                except NoValueError:
                    continue
                if share is not None:
                    return share
                break
        return None

    def _made_of(self, node: Node, variable: VariableRef) -> list[Tensor]:
        """Where values that data decide, and the variable does not, enter what is written."""
        own = {*self.writes.reads.get(variable.key, ())}
        below = self.flow.descendants(own) | {node.index}
        found, seen, stack = dict[Tensor, None](), set[Tensor](), self.writes.given(node)
        while stack:
            tensor = stack.pop()
            if tensor in seen or tensor[0] in own:
                continue
            seen.add(tensor)
            if tensor[0] in below:
                stack += self.flat.node(tensor).data
            elif tensor[0] in self._of_data:
                found[tensor] = None
        return list(found)

    @functools.cached_property
    def _of_data(self) -> set[int]:
        """Nodes whose value depends on data, and not on zero times that alone."""
        products = self.flow.matcher.by_op.get("Mul", ())
        zeroed = {i for i in products if self.flow.is_zeroed(self.flat.nodes[i])}
        return self.flow.descendants(self.flow.data, without=zeroed)


class _Draws:
    """What one write leaves in a variable, for several values that it held and several data.

    `border`: where data enter, which is drawn; None: the data themselves are.
    """

    def __init__(
        self,
        moving: Moving,
        node: Node,
        variable: VariableRef,
        border: list[Tensor] | None,
        decided: tuple[bool | None, list[Tensor]],
    ) -> None:
        self.observed, self.writes, self.flat = moving.observed, moving.writes, moving.flat
        self.node, self.variable, self.border, self.decided = node, variable, border, decided

    def share(self) -> float | None:
        held = np.asarray(Held(self.observed, 0, Shapes(None)).variable(self.variable), np.float64)
        steps = [_STEP * drawn((held.shape, "float64"), Domain.UNIT, i, "step") for i in (0, 1)]
        before = self._after(held, 0)
        slopes = [(self._after(held + step, 0) - before) / step for step in steps]
        moved = np.abs(self._after(held, 2) - before) > _NOTHING * np.abs(before)
        if not np.isfinite(slopes).all() or not np.isfinite(before).all():
            raise NoValueError(f"{self.node.id} writes no number")
        slope = slopes[0]
        if not np.allclose(slopes[0], slopes[1], rtol=0, atol=_EXACT) or not moved.any():
            return None
        kept = slope[moved]
        stays = np.isclose(slope[~moved], 1, rtol=0, atol=_EXACT)
        share = float(kept.flat[0])
        alike = np.allclose(kept, share, rtol=0, atol=_EXACT)
        if not alike or not -_EXACT <= share < 1 - _EXACT:
            return None
        # Of rows that are overwritten, while others stay, nothing is a mixture: a memory.
        return None if stays.any() and share < _EXACT else max(share, 0.0)

    def _after(self, held: Array, draw: int) -> Array:
        """What the variable holds after the write. `draw`: of data; all else is as in the first."""
        feed = _Fed(self.observed, draw)
        cut: dict[Tensor, Any] = dict(self.writes.reads_as(self.variable.key, held))
        as_, deciding = self.decided
        cut |= self.writes.decided(deciding, as_, draw)
        for tensor in self.border or ():
            cut.setdefault(tensor, feed.entering(self.flat, tensor))
        after = self.writes.after(self.node, held, Evaluation(self.observed.plan, feed, cut))
        if after.shape != held.shape:
            raise NoValueError(f"{self.node.id} writes another shape")
        return after.astype(np.float64)


class _Fed(Held):
    """Feeds data of one draw, and variables of always the same."""

    def __init__(self, observed: Observed, draw: int) -> None:
        super().__init__(observed, draw, Shapes(None))
        self._variables = Held(observed, 0, Shapes(None))

    def variable(self, variable: VariableRef) -> Any:
        return self._variables.variable(variable)

    def entering(self, flat: Any, tensor: Tensor) -> Any:
        """A value where data enter."""
        shape, dtype = flat.spec(tensor)
        if shape is None or dtype not in NUMBERS:
            raise NoValueError(f"{flat.node(tensor).id} can't be drawn")
        real = "float" in dtype
        domain = Domain.POSITIVE if real else Domain.CLASSES
        return drawn((shape, "float64" if real else dtype), domain, self.draw, str(tensor))

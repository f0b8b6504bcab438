"""Whether a loss judges what a function computes, however that is written.

The tensor that has the same values is looked for on the way to what is differentiated. It has to be
what the loss takes: nothing that is trained decides the loss in another way, no layer comes after
it, and where the loss is known, that is what it takes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterable, Iterator, Set

import numpy as np
import tensorflow as tf

from verify.find.gradient_values import GradientValues
from verify.find.observed import Array
from verify.find.passes import Both, Pass
from verify.flow import SUMS, reached
from verify.graphs import NARROW, RESHAPES, Tensor
from verify.match import Evaluation, NoValueError, concrete
from verify.references import Forward

_TOLERANCE = 1e-5  # of the largest element: constants have seven digits
_ENOUGH = 2  # draws in which all is finite
_HALF = frozenset(dtype.name for dtype in NARROW if dtype.size < 4)  # narrower than usual
_FORMS = {"Cast", *RESHAPES}  # of a prediction
_JOINS = {*SUMS, "Cast", "Identity", "Pack", "Sum"}  # of losses, of which each goes on by itself
_PRODUCTS = {"Mul", "RealDiv"}
_MOST_VALUES = 1 << 22  # of a tensor that is computed


@dataclasses.dataclass(frozen=True)
class Judged:
    """How what a loss takes compares with what a function computes.

    `at`: the tensors that have its values; `told`: what is there instead, or besides; empty if it
    is just that. `unknown`: why it can't be told.
    """

    at: frozenset[Tensor] = frozenset()
    told: str = ""
    unknown: str = ""


class Forwards:
    """Answers about one step, or one branch of it."""

    def __init__(self, gradients: GradientValues) -> None:
        self.gradients, self.step = gradients, gradients.step
        self.flow, self.flat = gradients.flow, gradients.flat

    @functools.cached_property
    def losses(self) -> list[Tensor]:
        """What is differentiated for an update."""
        above = self.flow.ancestors(update.node.index for update in self.flow.trained)
        return [self.flow.whole[seed] for seed in self.flow.seeds if seed.node in above]

    @functools.cached_property
    def _trained(self) -> set[int]:
        """The nodes that read what is trained."""
        return {i for i, key in self.flow.weights.items() if key in self.flow.trained_of}

    @functools.cached_property
    def _predicted(self) -> set[int]:
        """The nodes that what is differentiated depends on, and that data and weights decide."""
        above = self.gradients.above(index for index, _ in self.losses)
        decided = self.flow.descendants(self._trained) & self.flow.of_data
        return above & decided - self.flow.backward

    @property
    def is_of_data(self) -> bool:
        """Whether what is differentiated depends on the arguments of the step and trains."""
        return bool(self._predicted)

    def judged(
        self, forward: Forward, taken: Collection[Tensor], logits: Collection[Tensor]
    ) -> list[Judged]:
        """How what losses take compares with each output of a function.

        Args:
            taken: what known losses take.
            logits: those of them of which a loss makes probabilities, or takes what has been made.
        """
        missing = self._missing(forward)
        if missing:
            told = f"another prediction: that depends on {missing}, which the step does not use"
            return [Judged(told=told)] * len(forward.roots)
        above = self.gradients.above(index for index, _ in self.losses)
        begins = min((seed.node for seed in self.flow.seeds), default=0)
        found: list[Judged] = []
        for both in Pass(self.gradients, forward.flat, above, begins).evaluations():
            new = [self._compared(root, both, logits) for root in forward.roots]
            if all(one.at for one in new):
                every = frozenset[Tensor]().union(*(one.at for one in new))
                return [
                    dataclasses.replace(
                        one, told=self._besides(forward, root, one.at, every, taken)
                    )
                    for one, root in zip(new, forward.roots, strict=True)
                ]
            found = found or new
        return found

    def _missing(self, forward: Forward) -> str:
        """A variable that a function depends on, and the step does not."""
        known = {variable.key for variable in self.flat.variables.values()}
        read = forward.flat.read_for(forward.roots)
        return next((v.path for v in read if v.key not in known and v.trainable), "")

    def _compared(self, root: Tensor, evaluated: Both, logits: Collection[Tensor]) -> Judged:
        """Where the step has the values of an output of a function."""
        at, activated = self._candidates, [*logits]
        compared, why = 0, ""
        for draw in self.gradients.draws:
            try:
                here, there = evaluated(draw)
                wanted: Array = np.asarray(there.value(root), np.float64)
            except NoValueError as error:
                why = why or str(error)
                continue
            if not np.isfinite(wanted).all() or not wanted.any():
                continue
            at = [tensor for tensor in at if _is_close(here, tensor, wanted)]
            activated = [tensor for tensor in activated if _is_activated(here, tensor, wanted)]
            compared += 1
            if not at and not activated:
                return Judged(told="another prediction")
            if compared == _ENOUGH:
                return Judged(frozenset(at or activated))
        return Judged(unknown=why or "in no draw of its arguments are all values finite")

    @functools.cached_property
    def _candidates(self) -> list[Tensor]:
        """The tensors that may be a prediction, the nearest to the loss first."""
        found = []
        for index in sorted(self._predicted, reverse=True):
            node = self.flat.nodes[index]
            for output, dtype in enumerate(node.dtypes):
                shape = self.flat.shape((index, output))
                small = shape is None or np.prod(concrete(shape, 0), dtype=float) <= _MOST_VALUES
                if "float" in dtype and small:
                    found.append((index, output))
        return found

    # -- what is there besides ---------------------------------------------------------------------

    def _besides(
        self,
        forward: Forward,
        root: Tensor,
        at: frozenset[Tensor],
        every: frozenset[Tensor],
        taken: Collection[Tensor],
    ) -> str:
        """What a loss takes instead of, or besides, a tensor with the values of a function."""
        nodes = {index for index, _ in every}
        after = self.flow.descendants(nodes) & self._predicted - nodes
        wrong = self._of_dtype(forward, root, at)
        if wrong:
            return wrong
        if any(self._reads(index) for index in after):
            return "what layers make of that afterwards"
        if self._is_passed_by(nodes, after):
            return "that, and what is trained in another way"
        # Logits come before the probabilities that are made of them.
        before = self._above(nodes)
        if any(t[0] in after for t in taken) and not any(t[0] in before for t in taken):
            return "what is made of that afterwards"
        if not any(t in at or t[0] in before for t in taken) and not self._meets_data(at):
            return "what is made of that afterwards: no known loss takes it as it is"
        return ""

    @functools.cached_property
    def _fed(self) -> set[int]:
        """The nodes that the step is fed, or that are made of that without any layer."""
        read = (node.index for node, v in self.flat.reads() if v.shape != ())
        return self.flow.of_data - self.flow.descendants(read)

    def _meets_data(self, at: Iterable[Tensor]) -> bool:
        """Whether a prediction meets a target, or is added up, before anything else happens."""
        stack, seen = [index for index, _ in at], set[int]()
        while stack:
            index = stack.pop()
            if index in seen:
                continue
            seen.add(index)
            for user in self._predicted.intersection(self.flow.consumers[index]):
                node, shape = self.flat.nodes[user], self.flat.shape((index, 0))
                if node.op in _FORMS:
                    stack.append(user)
                    continue
                reduced = len(self.flat.shape((user, 0)) or ()) < len(shape or ())
                if reduced or any(source in self._fed for source, _ in node.data):
                    return True
        return False

    def _above(self, nodes: Iterable[int]) -> set[int]:
        return self.gradients.above(nodes)

    def _reads(self, index: int) -> bool:
        return any(source in self._trained for source, _ in self.flat.nodes[index].data)

    def _is_passed_by(self, nodes: Set[int], after: Set[int]) -> bool:
        """Whether a part of a loss that is made of some nodes is made of other layers as well.

        Parts that are made of none of these are other losses: penalties, those of other outputs.
        """
        for loss in self.losses:
            for part in self._summands(loss, after):
                stack, seen = [part], set[int]()
                while stack:
                    index = stack.pop()
                    if index in seen or index in nodes or index not in self._predicted:
                        continue
                    seen.add(index)
                    if self.flat.nodes[index].op == "StopGradient":
                        continue
                    if self._reads(index):
                        return True
                    stack += self.flow.sources[index]
        return False

    def _summands(self, loss: Tensor, after: Set[int]) -> Iterator[int]:
        """What a loss is a sum of, where that is made of a prediction."""
        stack = [loss[0]]
        while stack:
            index = stack.pop()
            node = self.flat.nodes[index]
            decided = [t for t in node.data if t[0] in self._predicted]
            if index not in after:
                continue
            if node.op in _JOINS or (node.op in _PRODUCTS and len(decided) == 1):
                stack += self.flow.sources[index]
            else:
                yield index

    def _of_dtype(self, forward: Forward, root: Tensor, at: frozenset[Tensor]) -> str:
        """In which other precision a prediction is computed, or goes on."""
        wanted = forward.flat.dtype(root)
        first = min((t for t in at if self.flat.dtype(t) == wanted), default=None)
        if first is None:
            found = sorted({self.flat.dtype(tensor) for tensor in at})
            return f"the same in {', '.join(found)}, not in {wanted}"
        fed = {*self.flat.arguments}
        here = self._narrow(self._above([first[0]]) - fed - self.flow.backward)
        sources = [[source for source, _ in node.data] for node in forward.flat.nodes]
        own = reached([root[0]], sources) - {*forward.flat.arguments}
        there = _HALF.intersection([n for i in own for n in forward.flat.nodes[i].dtypes])
        if here != there:
            told = ", ".join(sorted(here)) or "full precision"
            return f"the same, computed in {told}, not in {', '.join(sorted(there)) or wanted}"
        later = self._narrow(self.flow.descendants([first[0]]) & self._predicted) - {wanted}
        return f"the same, cast to {', '.join(sorted(later))} afterwards" if later else ""

    def _narrow(self, nodes: Iterable[int]) -> frozenset[str]:
        """The dtypes that are narrower than usual, of what some nodes make."""
        return _HALF.intersection([name for i in nodes for name in self.flat.nodes[i].dtypes])


def _is_activated(here: Evaluation, logits: Tensor, wanted: Array) -> bool:
    """Whether probabilities are made of logits, as Keras makes them."""
    try:
        value = here.value(logits)
    except NoValueError:
        return False
    made = [tf.sigmoid(value), tf.nn.softmax(value)] if value.shape.rank else []
    return any(_is_alike(np.asarray(one), wanted) for one in made)


def _is_close(here: Evaluation, tensor: Tensor, wanted: Array) -> bool:
    try:
        value: Array = np.asarray(here.value(tensor), np.float64)
    except NoValueError:
        return False
    return _is_alike(value, wanted)


def _is_alike(value: Array, wanted: Array) -> bool:
    if value.shape != wanted.shape:
        return False
    return bool(np.abs(value - wanted).max() <= _TOLERANCE * np.abs(wanted).max())

"""A tensor of a step as an expression: through ops, up to calls, arguments and variables."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping

from verify.find import Found
from verify.flow import SUMS, Seed
from verify.formulas.calls import Call, Calls
from verify.formulas.expressions import (
    Expression,
    call,
    derivative,
    infix,
    mean_of,
    name,
    number,
    weighted,
)
from verify.formulas.ops import (
    REDUCTIONS,
    SAME,
    axes,
    constant,
    drawn,
    expression,
    sliced,
)
from verify.formulas.sizes import Size, Sizes
from verify.graphs import CASES, IFS, WHILES, Node, Tensor, draws

_DEEPEST = 60  # ops behind one another: of more, nobody reads
_LEFT_OUT = "..."
# Losses that are the same of any two tensors that are as far apart.
_OF_DIFFERENCES = {"Huber", "LogCosh", "MeanAbsoluteError", "MeanSquaredError"}


class Terms:
    """Expressions of one step.

    Args:
        calls: of layers and submodels.
        named: what tensors are called that a person knows by name.
        inner: the backward passes that a loss is made of.
        known: the loss, by its name and as it was found, that a tensor is a multiple of.
    """

    def __init__(
        self,
        calls: Calls,
        named: Mapping[Tensor, str],
        inner: Callable[[int], Seed | None],
        known: Callable[[Tensor], tuple[str, Found] | None],
    ) -> None:
        self.calls, self.flow, self.flat = calls, calls.flow, calls.flat
        self.named, self.inner, self.known = named, inner, known
        self.sizes = Sizes(self.flat, self.flow.folder)
        self.named_losses = set[Expression]()
        self._of: dict[Tensor, Expression] = {}

    def objective(self, tensor: Tensor, factor: float = 1.0, depth: int = 0) -> Expression:
        """What is differentiated: a sum, of which some parts have a name as a whole.

        `factor`: what this part of it is multiplied by.
        """
        node, inputs = self.flat.node(tensor), self.flat.node(tensor).data
        if node.op in SAME and inputs:
            return self.objective(inputs[0], factor, depth + 1)
        if self.calls.of(tensor) is None and depth < _DEEPEST:
            if node.op in SUMS - {"Sub"}:
                return weighted((1, self.objective(t, factor, depth + 1)) for t in inputs)
            if node.op == "Sub":
                signs = zip((1, -1), inputs, strict=True)
                return weighted((s, self.objective(t, s * factor, depth + 1)) for s, t in signs)
            if node.op == "Neg":
                return weighted([(-1, self.objective(inputs[0], -factor, depth + 1))])
            if node.op in ("Sum", "Mean") and self.flat.shape(inputs[0]) == ():
                return self.objective(inputs[0], factor, depth + 1)
            for part, scale in self._scaled(node):
                return weighted([(scale, self.objective(part, factor * scale, depth + 1))])
        if (known := self.known(tensor)) is not None and known[1].weight is not None:
            return weighted([(known[1].weight / factor, self._loss(*known))])
        return self.of(tensor)

    def _loss(self, named: str, found: Found) -> Expression:
        sides = self._sides(named, found)
        if sides is not None:
            self.named_losses.add(made := call(named, *(self.of(one) for one in sides)))
            return made
        made_up = () if found.made_up is None else (number(found.made_up),)
        ends = (self.of(one) for one in (found.target, self._judged(found)) if one is not None)
        self.named_losses.add(made := call(named, *made_up, *ends))
        return made

    def _sides(self, named: str, found: Found) -> tuple[Tensor, Tensor] | None:
        """What a loss of a difference compares, where it is told as one against zero."""
        if found.made_up != 0 or found.predicted is None or found.activated is not None:
            return None
        node = self.flat.node(found.predicted)
        if node.op != "Sub" or named.partition("(")[0] not in _OF_DIFFERENCES:
            return None
        one, other = node.data
        return other, one

    def _judged(self, found: Found) -> Tensor | None:
        """What a loss is of: probabilities, unless the loss takes what its call makes them of."""
        made, logits = found.activated, found.predicted
        if made is None or logits is None or self.calls.of(made) is not None:
            return made or logits
        return logits if self.calls.makes(made, of=logits) else made

    def _scaled(self, node: Node) -> Iterator[tuple[Tensor, float]]:
        """What is multiplied, or divided, by a number, and the number; of a mean, nothing is."""
        if node.op not in ("Mul", "RealDiv", "DivNoNan") or self._added_up(node) is not None:
            return
        one, other = node.data
        for part, by in ((one, other), (other, one)) if node.op == "Mul" else ((one, other),):
            value = self.flow.folder.value(by)
            if value is not None and value.size == 1 and value.flat[0]:
                yield part, float(value.flat[0]) ** (1 if node.op == "Mul" else -1)

    def of(self, tensor: Tensor, depth: int = 0) -> Expression:
        """A tensor by what it is made of."""
        if tensor not in self._of:
            self._of[tensor] = self._made(tensor, depth)
        return self._of[tensor]

    def _made(self, tensor: Tensor, depth: int) -> Expression:
        node = self.flat.node(tensor)
        if tensor in self.named:
            return name(self.named[tensor])
        value = self.flow.folder.value(tensor)
        if value is not None:
            return constant(value)
        variable = self.flat.variable(node)
        if variable is not None and len(node.data) < 2:
            return name(variable.path)
        called = self.calls.of(tensor)
        if called is not None:
            made = self._called(called, depth)
            several = len(called.outputs) > 1
            place = called.outputs.index(tensor)
            return call("index", made, number(place)) if several else made
        if (seed := self.inner(tensor[0])) is not None:
            return self._gradient(tensor, seed, depth)
        if depth > _DEEPEST:
            return name(_LEFT_OUT)
        return self._op(tensor, node, depth)

    def _called(self, of: Call, depth: int) -> Expression:
        return call(of.name, *(self.of(one, depth + 1) for one in of.inputs))

    def _op(self, tensor: Tensor, node: Node, depth: int) -> Expression:
        if node.op in WHILES:
            known = (t for t in node.data if self.flow.folder.value(t) is None)
            return call("loop", *dict.fromkeys(self.of(one, depth + 1) for one in known))
        if draws(node.op):
            return drawn(node)
        if node.op == "StridedSlice":
            of, said = self.of(node.data[0], depth + 1), sliced(node, self.flow.folder)
            return of if said == "" else call("index", of, name(said or _LEFT_OUT))
        if node.op in REDUCTIONS and len(node.data) == 2:
            return self._reduced(node, depth)
        if (added_up := self._added_up(node)) is not None:
            return mean_of(self.of(added_up, depth + 1))
        if (size := self.sizes.of(tensor)) is not None:
            return self._size(size, depth)
        if node.op in IFS | CASES:
            return call("where", *(self.of(one, depth + 1) for one in node.data))
        given = node.data
        if node.op in SAME | {"Tile", "BroadcastTo", "Transpose"}:
            given = given[:1]
        elif node.op == "ConcatV2":
            given = given[:-1]
        elif node.op == "GatherV2":
            given = given[:2]
        return expression(node, tensor[1], [self.of(one, depth + 1) for one in given])

    def _reduced(self, node: Node, depth: int) -> Expression:
        over = axes(node, self.flat, self.flow.folder)
        of = self.of(node.data[0], depth + 1)
        if self.flat.shape(node.data[0]) == ():
            return of
        said = "" if over == () else (", ".join(map(str, over)) if over else _LEFT_OUT)
        if over is not None and len(over) > 1:
            said = f"({said})"
        reduction = REDUCTIONS[node.op]
        if said:
            return call(reduction, of, name(f"axis={said}"))
        return mean_of(of) if reduction == "mean" else call(reduction, of)

    def _added_up(self, node: Node) -> Tensor | None:
        """What an op is the mean of, where it is a sum by the number of what is added up."""
        if node.op not in ("RealDiv", "DivNoNan"):
            return None
        above, below = node.data
        while self.flat.node(above).op in SAME:
            above = self.flat.node(above).data[0]
        total = self.flat.node(above)
        if total.op != "Sum" or axes(total, self.flat, self.flow.folder) != ():
            return None
        count = self.sizes.of(below)
        return total.data[0] if count and count == self.sizes.elements(total.data[0]) else None

    def _size(self, size: Size, depth: int) -> Expression:
        """A product of dimensions: ``len(x)`` is the first one."""
        made: list[Expression] = []
        for of, place in size.dimensions:
            if place:
                made.append(call("index", call("shape", self.of(of, depth + 1)), number(place)))
            else:
                made.append(call("len", self.of(of, depth + 1)))
        if not made:
            return number(size.number)
        product = functools.reduce(lambda one, other: infix("*", one, other), made)
        return weighted([(size.number, product)])

    def _gradient(self, tensor: Tensor, seed: Seed, depth: int) -> Expression:
        """A gradient that a loss is made of: of what, and by what, as far as that is known."""
        # Backpropagation may begin before the end of a call: a gradient is blind to what is added.
        around = self.calls.around(seed.loss)
        made = self.of(seed.loss, depth + 1) if around is None else self._called(around, depth)
        by = self._by(tensor, seed)
        if by is None:
            return call("gradient", made)
        return derivative(made, self.of(by, depth + 1))

    def _by(self, tensor: Tensor, seed: Seed) -> Tensor | None:
        """What has the shape of a gradient, and may have been differentiated by."""
        shape = self.flat.shape(tensor)
        above = self.flow.ancestors([seed.loss[0]])
        handed = dict.fromkeys(one for call in self.calls.among(above) for one in call.inputs)
        read = [(i, 0) for i in sorted(self.flow.weights) if i in above]
        fed = [one for one in self.named if one[0] in above]
        for several in (handed, fed, read):
            alike = [one for one in several if self.flat.shape(one) == shape]
            if len(alike) == 1:
                return alike[0]
        return None

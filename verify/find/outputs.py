"""What a known model returns, and where that is in a step."""

from __future__ import annotations

import functools

from verify.flow import Flow
from verify.graphs import RESHAPES, Tensor
from verify.step import Step

# Ops that keep all of a prediction: the same in another form.
_FORMS = {"Cast", *RESHAPES}


class Outputs:
    """Answers about one step, or one branch of it.

    Args:
        shapes: nodes that are decided by the shape of what they take.
    """

    def __init__(self, step: Step, flow: Flow, shapes: set[int]) -> None:
        self.step, self.flow, self.flat = step, flow, step.flat
        self._shapes = shapes

    def is_prediction(self, tensor: Tensor) -> bool:
        """Whether a tensor may be what a model predicts, or something on the way to it."""
        if tensor[0] not in self.flow.of_weights or tensor[0] in self.flow.backward:
            return False
        return self.is_of_layer(tensor) or tensor[0] not in self._after

    def is_of_layer(self, tensor: Tensor) -> bool:
        """Whether a tensor is as a layer gives it, or as the model does."""
        chain = self._forms(tensor)
        # What takes a variable itself is a layer: the model needs not be called for that.
        if any(source in self._reads for t in chain for source, _ in self.flat.node(t).data):
            return True
        return self.is_returned(tensor)

    def is_returned(self, tensor: Tensor) -> bool:
        """Whether a tensor is known to be what the model returns."""
        forms = self._forms(tensor)
        # Told without a call of the model, as a rule: that is a trace of all that is in it.
        return any(map(self._may_be_returned, forms)) and not self._everywhere.isdisjoint(forms)

    def _may_be_returned(self, tensor: Tensor) -> bool:
        ranks = None if self.step.reference is None else self.step.reference.output_ranks
        shape = self.flat.shape(tensor)
        return ranks is None or shape is None or len(shape) in ranks

    @property
    def returned(self) -> frozenset[Tensor]:
        """What the model returns, wherever it is called; none where that is not known."""
        return self._everywhere

    def misfed(self, prediction: Tensor, target: Tensor | None) -> str:
        """What a prediction is made of instead of the batch's x; nothing if it is made of that."""
        above = self.flow.ancestors([prediction[0]], without=self._shapes)
        if above.isdisjoint(self.flow.data):
            return "no value of the batch"
        if target is None or not self.step.inputs or self.step.targets is None:
            return ""
        against = self.flow.ancestors([target[0]], without=self._shapes)
        fed = {index for index, _ in self.step.targets}
        if above.isdisjoint(fed) or against.isdisjoint(fed):
            return ""
        inputs = {index for index, _ in self.step.inputs}
        return "" if above & inputs - fed or inputs & fed else "its target"

    def called(self, tensor: Tensor) -> frozenset[str | int]:
        """The outputs, by name and position, that a tensor is, or is the logits of."""
        reference, found = self.step.reference, set[str | int]()
        if reference is None:
            return frozenset()
        names = reference.output_names
        forms = set(self._forms(tensor))
        layers = self._layers - {index for roots in self._returned for index, _ in roots}
        after = self.flow.descendants([tensor[0]], without=self._shapes | layers)
        for position, roots in enumerate(self._returned):
            if not roots.isdisjoint(forms) or any(index in after for index, _ in roots):
                found.add(position)
                found.update(names[position : position + 1])
        return frozenset(found)

    @property
    def names(self) -> tuple[str | int, ...]:
        """What the outputs that are in the step are called; none where they are not found."""
        reference = self.step.reference
        if reference is None or not self._returned:
            return ()
        return reference.output_names or tuple(range(len(self._returned)))

    def _forms(self, tensor: Tensor) -> list[Tensor]:
        """A tensor, and what it is in another form of."""
        chain = [tensor]
        while (node := self.flat.node(chain[-1])).op in _FORMS:
            chain.append(node.data[0])
        return chain

    @functools.cached_property
    def _reads(self) -> frozenset[int]:
        return frozenset(node.index for node, _ in self.flat.reads())

    @functools.cached_property
    def _layers(self) -> frozenset[int]:
        """Ops that take a variable."""
        return frozenset(user for read in self._reads for user in self.flow.consumers[read])

    @functools.cached_property
    def _returned(self) -> list[frozenset[Tensor]]:
        """Where each output is, however often the model is called; none if one is not found."""
        reference, found = self.step.reference, list[frozenset[Tensor]]()
        for pattern in () if reference is None else reference.returned:
            if pattern is None:
                found.append(frozenset())
                continue
            matches, _ = self.flow.matcher.find(pattern, pattern.roots[0], {})
            if not matches:
                return []
            found.append(frozenset(match.root for match in matches))
        return found

    @property
    def is_called_once(self) -> bool:
        """Whether the model is known to be called once, not in a loop: its loss is in one place."""
        return bool(self._returned) and all(
            len(roots) == 1
            and not any(self.flat.loops(self.flat.node(root).path) for root in roots)
            for roots in self._returned
        )

    @property
    def _everywhere(self) -> frozenset[Tensor]:
        return frozenset[Tensor]().union(*self._returned)

    @functools.cached_property
    def _after(self) -> set[int]:
        """What is computed from what the model returns, and by no other layer."""
        nodes = {index for index, _ in self._everywhere}
        return self.flow.descendants(nodes, without=self._shapes | (self._layers - nodes)) - nodes

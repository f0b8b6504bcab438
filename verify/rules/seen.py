"""What rules look at: one step, with what they ask of it again and again."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import keras

from verify.find import Detector, Found, known_losses
from verify.flow import Flow, Update
from verify.graphs import FlatGraph, Tensor, is_stateful, key_of
from verify.references import ModelReference, variables_of
from verify.rules.influence import Influence
from verify.step import Step

_EVALUATES = ("test_step", "predict_step", "test_function", "predict_function")
_TRAINS = ("train_step", "train_function")


class Seen:
    """One step, or one branch of it, as rules look at it."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    @property
    def step(self) -> Step:
        return self.detector.step

    @property
    def flat(self) -> FlatGraph:
        return self.detector.flat

    @property
    def flow(self) -> Flow:
        return self.detector.flow

    @property
    def trained(self) -> list[Update]:
        """The updates that a gradient decides."""
        return self.flow.trained

    @property
    def model(self) -> ModelReference | None:
        """The model that the step trains, where it is known."""
        return self.step.reference

    @property
    def _keras_name(self) -> str:
        """What Keras calls a step of a model; empty of any other function."""
        if self.model is None:
            return ""
        model, owner = self.model.model, self.step.owner
        own = [getattr(model, name, None) for name in (*_TRAINS, *_EVALUATES)]
        if owner is not model and not any(one is owner for one in own if one is not None):
            return ""
        return self.step.name.rpartition(".")[2]

    @property
    def evaluates(self) -> bool:
        """Whether this is a step of a model by which it is evaluated or predicts."""
        return self._keras_name in _EVALUATES

    @property
    def is_of_keras(self) -> bool:
        """Whether this is the train step of a model as Keras itself has it."""
        return (
            self.model is not None
            and self._keras_name in _TRAINS
            and getattr(type(self.model.model), "train_step", None) is keras.Model.train_step
        )

    @functools.cached_property
    def losses(self) -> list[tuple[Any, Found]]:
        """The losses that are known by name, with where they are."""
        return known_losses(self.detector)

    @functools.cached_property
    def is_explained(self) -> bool:
        """Whether losses that are known explain all that data decide of the gradients."""
        found = [one for _, one in self.losses]
        return not self.detector.rest([*found, *self.detector.terms])[0]

    @functools.cached_property
    def influence(self) -> Influence:
        return Influence(self.detector)

    @functools.cached_property
    def held(self) -> dict[int | str, Any]:
        """Variables of the model and of optimizers at hand, by key: what they hold can be asked."""
        found: dict[int | str, Any] = {}
        for optimizer in self.step.optimizers:
            found |= variables_of(optimizer)
        if self.model is not None:
            found |= {key_of(weight): weight for weight in self.model.model.weights}
        return found

    @functools.cached_property
    def differentiated(self) -> set[int]:
        """The nodes that what is differentiated is computed from."""
        flow = self.flow
        return flow.ancestors(i for seed in flow.seeds for i, _ in flow.sums_of(seed))

    @functools.cached_property
    def live(self) -> set[int]:
        """The nodes that decide anything: what is written, returned, told, or chosen."""
        flat = self.flat
        ends = {node.index for node, _ in flat.writes()} | {index for index, _ in flat.outputs}
        ends |= {guard.predicate[0] for guard in flat.guards}
        ends |= {node.index for node in flat.nodes if is_stateful(node.op)}
        return self.flow.ancestors(ends)

    def forms(self, tensor: Tensor, besides: Iterable[str] = ()) -> Iterator[Tensor]:
        """A tensor and, one after the other, what it is made of by ops that change no value."""
        keeps = {"Cast", "Identity", "StopGradient", *besides}
        yield tensor
        while (node := self.flat.node(tensor)).op in keeps and node.data:
            tensor = node.data[0]
            yield tensor


def paths_of(updates: Iterable[Update]) -> tuple[str, ...]:
    return tuple(sorted({update.variable.path for update in updates}))

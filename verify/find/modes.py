"""In which mode layers run for what is differentiated: as they train, or as they infer.

A layer whose mode matters reads other variables in one than in the other: dropout and noise the
state of a seed, normalisation its moving statistics. So the variables that a loss depends on tell
the mode, however a layer is written; of one that draws random numbers from no state, these do.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator

from verify.find.noise import Kind, drawn
from verify.find.search import Search
from verify.flow import Dependence
from verify.graphs import FlatGraph, Node, Tensor
from verify.references import Keys, LayerVariables, layer_around


class Modes:
    """Answers about the layers of the model that a step is known to train."""

    def __init__(self, search: Search) -> None:
        self.flow, self.reference = search.flow, search.step.reference

    @functools.cached_property
    def used(self) -> frozenset[int | str]:
        """Keys of the variables that what is differentiated depends on."""
        return frozenset(variable.key for variable in self.flow.flat.read_for(self._losses))

    @property
    def _losses(self) -> list[Tensor]:
        return [tensor for seed in self.flow.seeds for tensor in self.flow.sums_of(seed)]

    @property
    def unknown(self) -> str:
        """Why no mode can be told; empty if they can."""
        if self.reference is None:
            return "the model is not known: pass model="
        if not self.reference.used_in_training:
            return self.reference.untraced or "the outputs of the model are what it is fed"
        if self.used.isdisjoint(self.reference.trainable):
            return "what is differentiated does not depend on the model"
        return ""

    @functools.cached_property
    def of_state(self) -> dict[str, bool]:
        """By path of each layer that has state: whether it depends on that as in training."""
        reference = self.reference
        # The model is traced only if it has such layers, of which not all is known.
        if reference is None or not reference.stateful:
            return {}
        if all(layer.reads_state is not None for layer in reference.stateful):
            if self.used.isdisjoint(reference.trainable):
                return {}
            return {
                layer.path: layer.state.isdisjoint(self.used) != layer.reads_state
                for layer in reference.stateful
            }
        if self.unknown:
            return {}
        differ = self.used ^ reference.used_in_training
        return {layer.path: layer.state.isdisjoint(differ) for layer in reference.stateful}

    @property
    def with_modes(self) -> list[str]:
        """Paths of the layers whose mode matters."""
        return [*dict.fromkeys((*self._by_variables, *self._by_draws))]

    @functools.cached_property
    def _by_variables(self) -> dict[str, Keys]:
        """By path of each layer whose mode its variables tell, these."""
        if self.unknown or self.reference is None:
            return {}
        differ = self.reference.used_in_training ^ self.reference.used_in_inference
        return {one.path: one.keys & differ for one in self._layers if one.keys & differ}

    @functools.cached_property
    def _by_draws(self) -> dict[str, set[Kind]]:
        """By path of each layer that does not draw the same in both modes, what it draws.

        Layers that draw numbers of one kind are told together.
        """
        found: dict[str, set[Kind]] = {}
        reference = self.reference
        if self.unknown or reference is None:
            return found
        training, inference = self._counts
        for outputs in (reference.in_training, reference.in_inference):
            for kind, node in () if outputs is None else self._drawn(outputs.flat, outputs.tensors):
                if training[kind] != inference[kind]:
                    found.setdefault(layer_around(reference.model, node), set()).add(kind)
        return found

    @functools.cached_property
    def _counts(self) -> tuple[Counter[Kind], Counter[Kind]]:
        """How many draws of each kind the model makes, as it trains and as it infers."""
        assert self.reference is not None  # of which it is asked
        modes = (self.reference.in_training, self.reference.in_inference)
        training, inference = (
            Counter(kind for kind, _ in self._drawn(outputs.flat, outputs.tensors))
            if outputs is not None
            else Counter[Kind]()
            for outputs in modes
        )
        return training, inference

    @functools.cached_property
    def _draws(self) -> Counter[Kind]:
        """How many draws of each kind what is differentiated depends on."""
        return Counter(kind for kind, _ in self._drawn_by(self.flow, self._losses))

    def _drawn(self, flat: FlatGraph, tensors: Iterable[Tensor]) -> Iterator[tuple[Kind, Node]]:
        return self._drawn_by(Dependence(flat), tensors)

    def _drawn_by(self, flow: Dependence, tensors: Iterable[Tensor]) -> Iterator[tuple[Kind, Node]]:
        assert self.reference is not None  # of which it is asked
        both = self.reference.used_in_training & self.reference.used_in_inference
        own = frozenset[int | str]().union(*(one.keys for one in self._layers))
        return drawn(flow, tensors, both, own)

    @property
    def frozen(self) -> list[str]:
        """Paths of layers that are frozen, and whose mode does not matter: they infer."""
        return [one.path for one in self._layers if one.frozen and one.path not in self.with_modes]

    def is_in(self, layer: str, training: bool) -> bool:
        """Whether a layer, one `with_modes` or `frozen`, runs in a mode."""
        assert self.reference is not None  # there are no layers else
        if layer not in self.with_modes:
            return not training
        keys = self._by_variables.get(layer, frozenset())
        wanted = self.reference.used_in_training if training else self.reference.used_in_inference
        draws = self._by_draws.get(layer, ())
        return self.used & keys == wanted & keys and all(
            self._draws_as(kind, training) for kind in draws
        )

    def _draws_as(self, kind: Kind, training: bool) -> bool:
        """Whether there are as many draws of a kind as in a mode; a model may be called twice."""
        wanted, other = (one[kind] for one in (self._counts if training else self._counts[::-1]))
        return self._draws[kind] >= wanted if wanted > other else self._draws[kind] <= wanted

    @property
    def _layers(self) -> tuple[LayerVariables, ...]:
        return () if self.reference is None else self.reference.layers

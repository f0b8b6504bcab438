"""In which mode layers run for what is differentiated: as they train, or as they infer.

A layer whose mode matters reads other variables in one than in the other: dropout and noise the
state of a seed, normalisation its moving statistics. So the variables that a loss depends on tell
the mode, however a layer is written.
"""

from __future__ import annotations

import functools

from verify.find.search import Search
from verify.references import LayerVariables


class Modes:
    """Answers about the layers of the model that a step is known to train."""

    def __init__(self, search: Search) -> None:
        self.flow, self.reference = search.flow, search.step.reference

    @functools.cached_property
    def used(self) -> frozenset[int | str]:
        """Keys of the variables that what is differentiated depends on."""
        losses = [t for seed in self.flow.seeds for t in self.flow.sums_of(seed)]
        return frozenset(variable.key for variable in self.flow.flat.read_for(losses))

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

    @functools.cached_property
    def with_modes(self) -> dict[str, frozenset[int | str]]:
        """By path of each layer whose mode matters, the variables that tell it."""
        if self.unknown or self.reference is None:
            return {}
        differ = self.reference.used_in_training ^ self.reference.used_in_inference
        return {one.path: one.keys & differ for one in self._layers if one.keys & differ}

    @property
    def frozen(self) -> list[str]:
        """Paths of layers that are frozen, and whose mode does not matter: they infer."""
        return [one.path for one in self._layers if one.frozen and one.path not in self.with_modes]

    def is_in(self, layer: str, training: bool) -> bool:
        """Whether a layer, one `with_modes` or `frozen`, runs in a mode."""
        assert self.reference is not None  # there are no layers else
        if layer not in self.with_modes:
            return not training
        keys = self.with_modes[layer]
        wanted = self.reference.used_in_training if training else self.reference.used_in_inference
        return self.used & keys == wanted & keys

    @property
    def _layers(self) -> tuple[LayerVariables, ...]:
        return () if self.reference is None else self.reference.layers

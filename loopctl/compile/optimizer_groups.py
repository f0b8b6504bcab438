"""One update by several optimizers, each of a group of variables."""

from __future__ import annotations

from typing import Any

import keras


class Groups(keras.optimizers.Optimizer):
    """Optimizers that are applied together, as one: also to some of their variables only.

    Args:
        optimizers: each neither scales losses nor consists of others.
        groups: the variables of each.
    """

    optimizers: list[Any]
    groups: list[list[Any]]
    places: dict[int, int]

    def __init__(self, optimizers: list[Any], groups: list[list[Any]]) -> None:
        super().__init__(learning_rate=0.0, name="groups")
        places = {id(v): i for i, group in enumerate(groups) for v in group}
        # Past Keras' tracking of attributes, which would take weights for variables of our own.
        for name, value in (("optimizers", optimizers), ("groups", groups), ("places", places)):
            object.__setattr__(self, name, value)

    def build(self, var_list: list[Any]) -> None:
        """Makes the slots of all variables of all groups."""
        if self.built:
            return
        for optimizer, group in zip(self.optimizers, self.groups, strict=True):
            if not optimizer.built:
                optimizer.build(group)
        super().build(var_list)

    @property
    def variables(self) -> list[Any]:
        """Of all optimizers."""
        own = list(super().variables)
        return own + [v for optimizer in self.optimizers for v in optimizer.variables]

    def apply(self, grads: list[Any], trainable_variables: list[Any] | None = None) -> None:
        """One update of each group, and one iteration."""
        variables = [v for group in self.groups for v in group]
        chosen = variables if trainable_variables is None else trainable_variables
        pairs = list(zip(grads, chosen, strict=True))
        for place, optimizer in enumerate(self.optimizers):
            own = [pair for pair in pairs if self.places[id(pair[1])] == place]
            if own:
                optimizer.apply([pair[0] for pair in own], [pair[1] for pair in own])
        if pairs:
            self.iterations.assign_add(1)

    def finalize_variable_values(self, var_list: list[Any]) -> None:
        """Puts averages of weights in their place, where an optimizer has any."""
        for place, optimizer in enumerate(self.optimizers):
            own = [v for v in var_list if self.places[id(v)] == place]
            if own:
                optimizer.finalize_variable_values(own)

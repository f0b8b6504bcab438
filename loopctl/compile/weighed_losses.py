"""Which losses the weights of a branch belong to, where it has any of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from loopctl.config import ConfigError, LossWeights, Substep, closest


def weighed_loss(weights: LossWeights, substep: Substep, model: keras.Model) -> tuple[Any, Any]:
    """The losses of a substep, and which of its weights each has: a place, or None for 1.

    One loss for several outputs becomes one for each, if the weights are.

    Returns:
        Two structures that are arranged alike.

    Raises:
        ConfigError: weights and losses do not go together.
    """
    where = substep.place("loss_weights")
    loss = model.loss if substep.compiled else substep.loss
    own = getattr(model.compute_loss, "__func__", None) is not keras.Model.compute_loss
    if substep.compiled and own:
        raise ConfigError(
            f"{where} has no effect on the compute_loss of model {model.name!r}, which computes "
            'the loss by itself: apply weights there, or give an "objective" of named parts'
        )
    if loss is None:
        raise ConfigError(f"{where} has no loss to apply to: model {model.name!r} has none")
    outputs = list(getattr(model, "output_names", None) or [])
    if not keras.tree.is_nested(loss) and not weights.alone:
        loss = _for_each_output(loss, weights, outputs)
    if isinstance(loss, Mapping):
        return dict(loss), _by_name(loss, weights, where)
    if isinstance(loss, list | tuple):
        return list(loss), _in_order(loss, weights, outputs, where)
    return loss, [0]


def _for_each_output(loss: Any, weights: LossWeights, outputs: list[str]) -> Any:
    if weights.names is None:
        return [loss] * (len(outputs) or len(weights.weights))
    return dict.fromkeys(outputs or weights.names, loss)


def _by_name(loss: Mapping[str, Any], weights: LossWeights, where: str) -> dict[str, Any]:
    if weights.alone:
        return dict.fromkeys(loss, 0)
    if weights.names is None:
        raise ConfigError(
            f"{where} is a list, but losses are given by name: a dict of weights for some of "
            f"{', '.join(map(repr, loss))} is needed"
        )
    _check_names(weights.names, list(loss), where)
    places = {name: place for place, name in enumerate(weights.names)}
    return {name: places.get(name) for name in loss}


def _in_order(loss: Any, weights: LossWeights, outputs: list[str], where: str) -> list[Any]:
    if weights.alone:
        return [0] * len(loss)
    if weights.names is None:
        if len(weights.weights) != len(loss):
            raise ConfigError(
                f"{where} has {len(weights.weights)} weights for {len(loss)} losses: one for each "
                "is needed"
            )
        return list(range(len(loss)))
    if len(outputs) != len(loss):
        raise ConfigError(
            f"{where} has names, but losses are a list of {len(loss)}, whose outputs have "
            f"{', '.join(map(repr, outputs)) or 'no names that are known'}: give a list of weights"
        )
    _check_names(weights.names, outputs, where)
    places = {name: place for place, name in enumerate(weights.names)}
    return [places.get(name) for name in outputs]


def _check_names(names: tuple[str, ...], known: list[str], where: str) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(
                f"{where} has a weight for {name!r}, which is not an output with a loss: there are "
                f"{', '.join(map(repr, known))}.{closest(name, known)}"
            )

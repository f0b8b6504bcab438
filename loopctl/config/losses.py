"""Losses of a branch as a config holds them: one, or lists, tuples and dicts of them and None."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def map_losses(change: Callable[[Any], Any], loss: Any) -> Any:
    """The same structure with `change` of each loss in it; None stays None."""
    if isinstance(loss, Mapping):
        return {key: map_losses(change, one) for key, one in loss.items()}
    if isinstance(loss, list | tuple):
        return type(loss)([map_losses(change, one) for one in loss])
    return None if loss is None else change(loss)


def losses_in(loss: Any) -> list[Any]:
    """Every loss in a structure of them, in its order."""
    found: list[Any] = []
    map_losses(found.append, loss)
    return found


def same_loss(a: Any, b: Any) -> bool:
    """Whether two losses of a config are known to compute the same.

    Two objects may: but what Keras' losses tell of themselves (``get_config``) lacks parameters
    such as Huber's delta, so that only one and the same object is known to.
    """
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same_loss(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        pairs = zip(a, b, strict=False)
        return len(a) == len(b) and all(same_loss(one, other) for one, other in pairs)
    return a is b

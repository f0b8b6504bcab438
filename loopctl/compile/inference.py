"""Layers that run as in inference in some branch, whatever the rest of the model does."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def in_inference(layers: list[Any]) -> Iterator[None]:
    """Within it, `layers` are called with ``training=False``, whatever they are told."""
    own = [layer.__dict__.get("call") for layer in layers]
    try:
        for layer in layers:
            # Past Keras' attribute tracking: nothing of it is to stay.
            object.__setattr__(layer, "call", _inferring(layer.call))
        yield
    finally:
        for layer, before in zip(layers, own, strict=True):
            if before is None:
                layer.__dict__.pop("call", None)
            else:
                object.__setattr__(layer, "call", before)


def _inferring(call: Callable[..., Any]) -> Callable[..., Any]:
    """`call` with ``training=False``, if it takes that."""
    signature = inspect.signature(call)
    if "training" not in signature.parameters:
        return call

    def inferring(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.arguments["training"] = False
        return call(*bound.args, **bound.kwargs)

    return inferring

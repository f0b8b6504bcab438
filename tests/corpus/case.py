"""What a module of the corpus hands out: a train step, what it is handed, what is meant by it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

import verify


@dataclasses.dataclass(frozen=True)
class Case:
    """A step, and the keywords of `assert_graph` that say what is meant by it."""

    step: Callable[..., Any]
    batch: tuple[Any, ...]
    meant: Mapping[str, Any]

    def check(self) -> None:
        """Holds the step against what is meant."""
        verify.assert_graph(self.step, *self.batch, **self.meant)


def images(size: int = 4, side: int = 4, channels: int = 1) -> tf.TensorSpec:
    """Specs of small images."""
    return tf.TensorSpec((size, side, side, channels))


def built(optimizer: keras.optimizers.Optimizer, variables: Any) -> keras.optimizers.Optimizer:
    """The optimizer, made for these variables outside of any trace."""
    optimizer.build(variables)
    return optimizer

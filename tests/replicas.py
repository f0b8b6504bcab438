"""The strategy of two replicas that tests use."""

from __future__ import annotations

import functools

import tensorflow as tf


@functools.cache
def mirrored() -> tf.distribute.Strategy:
    """One for all tests: TensorFlow numbers the collectives of each strategy from the start."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

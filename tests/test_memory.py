"""A graph goes when the gradients do that were traced with it."""

from __future__ import annotations

import gc
import weakref

import tensorflow as tf

from tests import memory


def graph_of_a_traced_gradient() -> weakref.ref[tf.Graph]:
    @tf.custom_gradient
    def halved(x: tf.Tensor) -> tuple[tf.Tensor, object]:
        return x, lambda upstream: upstream / 2 * x

    concrete = tf.function(lambda x: halved(x)).get_concrete_function(tf.TensorSpec(()))
    return weakref.ref(concrete.graph)


def test_a_forgotten_gradient_keeps_no_graph() -> None:
    known = memory.traced_gradients()
    graph = graph_of_a_traced_gradient()
    gc.collect()
    made = memory.traced_gradients() - known
    assert len(made) == 1
    assert graph() is not None, "TensorFlow forgets by itself: nothing of this is needed"
    memory.forget(made)
    gc.collect()
    assert graph() is None
    assert memory.traced_gradients() >= known

"""Updates that happen in some train steps only, among replicas as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def update_if(condition: Any, update: Callable[[list[Any]], object], gradients: list[Any]) -> None:
    """Calls `update` with `gradients`, in a replica, if `condition` holds, scalar bool.

    An optimizer can't be called under a condition inside a replica, be it the only one of a
    strategy. There it is one between replicas, which all hold the same.
    """

    def done(result: object = None) -> Any:
        return tf.constant(True)

    def between(strategy: Any, condition: Any, gradients: Any) -> None:
        holds = strategy.experimental_local_results(condition)[0]
        tf.cond(holds, lambda: done(strategy.run(update, args=(gradients,))), done)

    if tf.distribute.has_strategy():
        context = tf.distribute.get_replica_context()
        context.merge_call(between, args=(condition, gradients))
    else:
        tf.cond(condition, lambda: done(update(gradients)), done)

"""Updates that happen in some train steps only, among replicas as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def update_if(condition: Any, update: Callable[[list[Any]], object], gradients: list[Any]) -> None:
    """Calls `update` with `gradients`, in a replica, if `condition` holds, scalar bool.

    An optimizer can't be called under a condition inside a replica. With several, which all hold
    the same, it is one between replicas.
    """

    def done(result: object = None) -> Any:
        return tf.constant(True)

    def between(strategy: Any, condition: Any, gradients: Any) -> None:
        holds = strategy.experimental_local_results(condition)[0]
        tf.cond(holds, lambda: done(strategy.run(update, args=(gradients,))), done)

    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        tf.cond(condition, lambda: done(update(gradients)), done)
    else:
        context.merge_call(between, args=(condition, gradients))

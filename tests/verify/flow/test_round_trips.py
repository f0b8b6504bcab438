"""Updates that another one takes back, however they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

from verify.flow import Flow
from verify.graphs import flatten

GO_AND_COME_BACK: dict[str, Callable[[Any, Any], Any]] = {
    "add, subtract": lambda w, c: (w.assign_add(c), w.assign_sub(c)),
    "subtract, add": lambda w, c: (w.assign_sub(c), w.assign_add(c)),
    "add, add the negative": lambda w, c: (w.assign_add(c), w.assign_add(-c)),
    "assign sums": lambda w, c: (w.assign(w + c), w.assign(w - c)),
    "assign, the other way round": lambda w, c: (w.assign(c + w), w.assign(-c + w)),
    "add, assign a difference": lambda w, c: (w.assign_add(c), w.assign(w - c)),
}
STAY: dict[str, Callable[[Any, Any], Any]] = {
    "twice": lambda w, c: (w.assign_add(c), w.assign_add(c)),
    "another tensor": lambda w, c: (w.assign_add(c), w.assign_sub(2.0 * c)),
    "turned round": lambda w, c: (w.assign(c + w), w.assign(c - w)),
}


def lost(go: Callable[[Any, Any], Any], variable: Any) -> list[str]:
    watched = variable.value if isinstance(variable, keras.Variable) else variable

    @tf.function(autograph=False)
    def step(x: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((variable * x - 1.0) ** 2)
        go(variable, 0.1 * tape.gradient(loss, watched))

    found = Flow(flatten(step.get_concrete_function(tf.TensorSpec((2,)))))
    return sorted(found.lost.values())


@pytest.mark.parametrize("made", [tf.Variable, keras.Variable], ids=["tf", "keras"])
@pytest.mark.parametrize("go", GO_AND_COME_BACK.values(), ids=GO_AND_COME_BACK)
def test_what_is_taken_back_is_no_update(go: Callable[[Any, Any], Any], made: Any) -> None:
    back, there = lost(go, made([1.0, 2.0]))
    assert there.startswith("it takes back ")
    assert back.endswith(" takes it back")


@pytest.mark.parametrize("go", STAY.values(), ids=STAY)
def test_what_is_not_taken_back_is_one(go: Callable[[Any, Any], Any]) -> None:
    assert lost(go, tf.Variable([1.0, 2.0])) == []

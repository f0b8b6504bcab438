"""What `verify.trace` has made goes wherever a step does, and nothing is traced again."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

import verify

BATCH = (tf.TensorSpec((4, 3)), tf.TensorSpec((4, 1)))


class Counted(keras.Sequential):
    """Counts how often its train step is traced."""

    traced = 0

    def train_step(self, data: Any) -> Any:
        self.traced += 1
        return super().train_step(data)


def model() -> Any:
    made = Counted([keras.Input((3,)), keras.layers.Dense(1, name="head")], name="net")
    made.compile(keras.optimizers.SGD(0.1, clipvalue=0.5), "mse")
    return made


def test_that_a_step_is_traced_once_whatever_is_asked_of_it() -> None:
    trained = model()
    step = verify.trace(trained, *BATCH)
    verify.assert_graph(step, loss="mse", watched="*", clipping=(-0.5, 0.5), forward=True)
    verify.assert_graph(step, optimizer=trained.optimizer)
    with pytest.raises(verify.GraphAssertionError, match="loss: expected mae"):
        verify.assert_graph(step, loss="mae")
    assert verify.facts(step).watched == ("net/head/bias", "net/head/kernel")
    assert len(verify.graph(step)) == len(step.flat.nodes)
    verify.assert_same_step(step, step)
    assert verify.replay(step, loss="mse").sides
    verify.Guard(loss="mse").check(step)
    assert trained.traced == 1
    assert verify.lint(step) == ()  # which traces once more, to see what Python draws
    assert repr(step) == f"<step net.train_step of {len(step.flat.nodes)} ops>"


def test_that_it_says_what_is_asserted_of_the_target_itself() -> None:
    trained = model()
    assert str(verify.facts(verify.trace(trained, BATCH))) == str(verify.facts(trained, BATCH))
    verify.assert_same_step(verify.trace(trained, BATCH), trained, BATCH)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (((BATCH,), {}), "a batch"),
        (((), {"model": model()}), "model"),
        (((BATCH,), {"signature": "train"}), "a batch and signature"),
    ],
)
def test_that_what_is_for_tracing_is_refused_afterwards(said: Any, told: str) -> None:
    step = verify.trace(model(), BATCH)
    args, settings = said
    with pytest.raises(TypeError, match=f"net.train_step has been traced: {told} go to"):
        verify.assert_graph(step, *args, loss="mse", **settings)

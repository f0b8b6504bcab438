"""A loss that is another one where it is small, or where it is large, is another loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf

import verify
from tests.verify.find.spellings import SPELLINGS
from tests.verify.steps import batch, dense, step

LIMITED: dict[str, Callable[[Any, Any], Any]] = {
    # Ishida et al. 2020, "Do we need zero training loss after achieving zero training error?"
    "flooding": lambda loss, p: tf.abs(loss - 0.1) + 0.1,
    "no less than another term": lambda loss, p: tf.maximum(loss, 0.3 * tf.reduce_mean(p * p)),
    "left out where it is small": lambda loss, p: tf.where(loss < 0.1, 0.0, loss),
    "no more than a bound": lambda loss, p: tf.minimum(loss, 0.7),
}
# Of labels, and of numbers; hinges are zero where a prediction is right.
LOSSES = ("mse", "mae", "bce_logits", "bce", "cce_logits", "scce_logits")


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("limited", LIMITED)
def test_a_limited_loss_is_not_the_loss(name: str, limited: str) -> None:
    spelt, limit = SPELLINGS[name], LIMITED[limited]
    model = dense(outputs=3, activation=spelt.activation)
    x, y = batch(8, outputs=3)
    if spelt.classes:
        y = tf.TensorSpec((8,), tf.int64)
    train = step(model, lambda y, p: limit(spelt.same[0](y, p), p))
    with pytest.raises(verify.GraphAssertionError, match="loss"):
        verify.assert_graph(train, x, y, loss=spelt.loss, model=model)

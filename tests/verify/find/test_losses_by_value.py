"""A loss is what it computes: every spelling of it holds, and what is only nearly it does not."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

import verify
from tests.verify.find.spellings import SPELLINGS, Spelling
from tests.verify.steps import batch, dense, step
from verify.find import Detector
from verify.step import capture

SAME = [(name, i) for name, spelt in SPELLINGS.items() for i in range(len(spelt.same))]
MISSES = [(name, i) for name, spelt in SPELLINGS.items() for i in range(len(spelt.misses))]


def classifier(name: str, spelling: Spelling, size: int | None, policy: str | None = None) -> Any:
    """(a step that differentiates a spelling, x, y)."""
    spelt = SPELLINGS[name]
    model = dense(outputs=3, activation=spelt.activation, policy=policy)
    x, y = batch(size, outputs=3)
    if spelt.classes:
        y = tf.TensorSpec((size,), tf.int64)
    return step(model, spelling), x, y, model


@pytest.mark.parametrize(("name", "which"), SAME)
def test_every_spelling_of_a_loss_is_that_loss(name: str, which: int) -> None:
    spelt = SPELLINGS[name]
    train, x, y, model = classifier(name, spelt.same[which], None if which % 2 else 8)
    verify.assert_graph(train, x, y, loss=spelt.loss, model=model)


@pytest.mark.parametrize(("name", "which"), MISSES)
def test_what_is_only_nearly_a_loss_is_not(name: str, which: int) -> None:
    spelt = SPELLINGS[name]
    train, x, y, model = classifier(name, spelt.misses[which], None if which % 2 else 8)
    detector = Detector(capture(train, x, y, model=model))
    found, _ = detector.losses(spelt.loss)
    weights = [one.weight for one in found]
    assert weights != [1.0] or detector.rest(found)[0]

"""Variables that grow by the share of themselves that they should shrink by."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch, dense, step
from tests.verify.updates import BATCH, Apply, Seen, rejected, step_of

SHRINKS: dict[str, Apply] = {
    "subtracted": lambda g, v: v.value.assign_sub(0.01 * v.value),
    "multiplied": lambda g, v: v.value.assign(0.99 * v.value),
    "added_negative": lambda g, v: v.value.assign_add(-0.01 * v.value),
    "halved": lambda g, v: v.value.assign(v.value / 2.0),
}
GROWS: dict[str, Apply] = {
    "added": lambda g, v: v.value.assign_add(0.01 * v.value),
    "multiplied_up": lambda g, v: v.value.assign(1.01 * v.value),
    "subtracted_negative": lambda g, v: v.value.assign_sub(-0.01 * v.value),
    "turned_around": lambda g, v: v.value.assign(-1.5 * v.value),
}
OF_GRADIENTS: dict[str, Apply] = {
    "to_the_gradient": lambda g, v: v.value.assign_sub(0.1 * (g + 0.01 * v.value)),
    "in_one": lambda g, v: v.value.assign(0.99 * v.value - 0.1 * g),
}
KEEPS: dict[str, Apply] = {
    "set_to_itself": lambda g, v: v.value.assign(v.value),
    "moved_and_set_back": lambda g, v: moved_and_set_back(v.value),
}
AGAINST: dict[str, Apply] = {
    "from_the_gradient": lambda g, v: v.value.assign_sub(0.1 * (g - 0.01 * v.value)),
    "in_one_up": lambda g, v: v.value.assign(1.01 * v.value - 0.1 * g),
}


def moved_and_set_back(variable: Any) -> None:
    before = tf.identity(variable)
    variable.assign_add(tf.ones_like(before))
    variable.assign(before)


def beside(decay: Apply) -> Apply:
    """After a descent."""

    def apply(gradient: Any, variable: Any) -> None:
        variable.value.assign_sub(0.1 * gradient)
        decay(gradient, variable)

    return apply


def every() -> dict[str, Apply]:
    return {
        **{name: beside(decay) for name, decay in (SHRINKS | GROWS | KEEPS).items()},
        **OF_GRADIENTS,
        **AGAINST,
        "plain": lambda g, v: v.value.assign_sub(0.1 * g),
    }


@pytest.fixture(scope="module")
def target() -> Any:
    return step_of(every())


def test_what_grows_and_what_shrinks(target: Any) -> None:
    detector = Seen(target).detector
    growing, decayed = (
        {path.partition(":")[0] for path in paths} for paths in (detector.growing, detector.decayed)
    )
    assert growing == {*GROWS, *AGAINST}
    assert decayed == {*SHRINKS, *OF_GRADIENTS}


def test_what_grows_does_not_decay(target: Any) -> None:
    verify.assert_graph(target, BATCH, decayed=[*SHRINKS, *OF_GRADIENTS])
    assert "multiplied_up grows by a share of itself" in rejected(target, BATCH, decayed=[*GROWS])


def test_facts_tell_what_grows() -> None:
    model = dense()
    kernel = model.layers[0].kernel
    train = step(
        model,
        keras.losses.MeanSquaredError(),
        after=lambda *_: kernel.assign(1.01 * kernel.value),
    )
    facts = verify.facts(train, *batch())
    assert (facts.decayed, facts.growing) == ((), (kernel.path,))
    assert f"{kernel.path} grows by a share of itself" in rejected(train, *batch(), decayed=kernel)
    verify.assert_graph(train, *batch(), decayed=None)

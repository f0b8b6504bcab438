"""Long lists of names are told by what the names begin with."""

from __future__ import annotations

from collections.abc import Callable

import keras
import pytest
import tensorflow as tf

import verify
from verify.step_facts.folding import folded


def test_short_lists_are_as_they_are() -> None:
    assert folded(["b", "a"]) == ["b", "a"]


def test_names_are_told_by_common_beginnings() -> None:
    names = [f"conv{i}_block{j}/{kind}" for i in (1, 2) for j in range(9) for kind in ("bias", "k")]
    assert folded([*names, "head/bias"]) == ["conv1_* (18)", "conv2_* (18)", "head/bias"]
    assert folded([f"{sign}/bias" for sign in "abcdefghijklmn"]) == ["* (14)"]


def test_facts_of_a_deep_model_fit_on_a_page() -> None:
    layers = [keras.layers.Dense(2, name=f"block{i % 3}_dense{i}") for i in range(30)]
    model = keras.Sequential([keras.Input((2,)), *layers], name="deep")
    model.compile("adam", "mse")
    facts = verify.facts(model, (tf.TensorSpec((4, 2)), tf.TensorSpec((4, 2))))
    lines = str(facts).splitlines()
    assert len(lines) < 30
    assert max(map(len, lines)) <= 120
    assert "  watched           deep/block0_* (20)" in lines
    full = facts.page(full=True)
    assert all(path in full for path in (*facts.watched, *facts.written.slots))


@pytest.mark.parametrize(
    ("optimizer", "told"),
    [
        (
            lambda: keras.optimizers.Adam(name="adam"),
            "adam: momentum, velocity of each of 4 variables",
        ),
        (
            lambda: keras.optimizers.SGD(momentum=0.9, name="sgd"),
            "sgd: momentum of each of 4 variables",
        ),
    ],
)
def test_what_an_optimizer_keeps_is_told_on_one_line(
    optimizer: Callable[[], keras.optimizers.Optimizer], told: str
) -> None:
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)], name="net"
    )
    model.compile(optimizer(), "mse")
    facts = verify.facts(model, tf.TensorSpec((8, 4)), tf.TensorSpec((8, 1)))
    (line,) = [line for line in str(facts).splitlines() if "optimizer state" in line]
    assert line.endswith(told)
    assert all(slot in facts.page(full=True) for slot in facts.written.slots)

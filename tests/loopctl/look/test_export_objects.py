"""Objectives that are made of settings, in exported modules: presets train on without loopctl."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from loopctl import ConfigError, LoopControllerCallback, objectives, presets, when
from loopctl.look.export_objects import Things
from tests.loopctl.look.test_export import load
from tests.loopctl.test_presets import Networks, fresh

X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
LABELS = np.arange(16) % 3
MOVES = {
    "state": X,
    "next_state": X[::-1].copy(),
    "action": LABELS,
    "reward": np.linspace(0, 1, 16).astype("float32"),
    "done": (np.arange(16) % 2).astype("float32"),
}


def networks() -> Networks:
    """What presets look for, built and compiled."""
    model = fresh()
    model.built = True
    model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    return model


def opposed(x: Any) -> tuple[Any, Any]:
    return x, -x


@dataclasses.dataclass(frozen=True)
class Own:
    """Somebody's objective, in a module of theirs."""

    target: tuple[float, ...]
    views: Any = opposed
    inner: Any = None

    def __call__(self, model: Any, data: Any) -> Any:
        told = model.student(self.views(data)[0], training=True)
        return keras.ops.mean(keras.ops.square(told - keras.ops.convert_to_tensor(self.target)))


OWN: dict[str, Any] = {
    "learn": {
        "cond": when.always,
        True: {"objective": Own((1.0, 0.5, 0.0)), "variables": objectives.Trained(("student",))},
    }
}


@pytest.mark.parametrize(
    ("config", "batch"),
    [
        (presets.distillation(temperature=3.0), (X, LABELS)),
        (presets.adversarial_with_penalty(every=2), X),
        (presets.bootstrapped_views(opposed, decay=0.9), X),
        (presets.deep_q(discount=0.5), MOVES),
        (OWN, X),
    ],
    ids=["distillation", "critic", "views", "values", "own"],
)
def test_the_same_weights(tmp_path: Path, config: dict[str, Any], batch: Any) -> None:
    data = tf.data.Dataset.from_tensor_slices(batch).batch(4)
    model, callback = networks(), LoopControllerCallback(config)
    model.fit(data, verbose=0, callbacks=[callback])
    path = tmp_path / "exported.py"
    callback.export(path)
    # Nothing of ours is imported: somebody's own module is.
    imported = [line for line in path.read_text().splitlines() if line.startswith("import ")]
    assert not [line for line in imported if "loopctl" in line and "tests." not in line]
    twin = networks()
    load(path).make_trainer(twin).fit([*data], epochs=1)
    moved = False
    for a, b, first in zip(
        twin.get_weights(), model.get_weights(), networks().get_weights(), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
        moved = moved or not np.array_equal(b, first)
    assert moved


@pytest.mark.parametrize(
    "thing",
    [
        Own((1.0, math.inf, -0.5)),
        Own(()),
        Own((0.5,), views=Own((2.0,)), inner={"a": [1, None, "text"]}),
        Own((np.float64(0.25),), inner=[opposed, True]),
    ],
)
def test_that_an_expression_makes_its_equal(thing: Own) -> None:
    things = Things()
    space: dict[str, Any] = {}
    text = things.expression(thing, "here")
    exec("".join(f"import {name}\n" for name in things.imported) + f"made = {text}", space)
    assert space["made"] == thing
    assert things.copied == []


@pytest.mark.parametrize(
    ("thing", "told"),
    [
        (Own((1.0,), views=lambda x: x), r"here\.views is .* has no name"),
        (Own((1.0,), inner=[object()]), r"here\.inner\[0\] is .*, which can't be written"),
        (Own((1.0,), inner={"a": {1}}), r"here\.inner\['a'\] is \{1\}, which can't be written"),
    ],
)
def test_what_has_no_expression(thing: Own, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Things().expression(thing, "here")

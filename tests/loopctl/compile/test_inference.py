"""Layers that run as in inference in a branch: frozen normalisation, no dropout."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import keras
import numpy as np
import pytest

import verify
from loopctl import ConfigError, LoopControllerCallback, when
from loopctl.compile.inference import in_inference
from tests.loopctl.compile.test_accumulation import BATCHES, assert_alike, fitted
from tests.loopctl.test_distributed import mirrored
from tests.oracle import eager


def build(**options: Any) -> keras.Model:
    """Normalisation and dropout, of which dropout is in a block of its own."""
    keras.utils.set_random_seed(4)
    dense, inputs = keras.layers.Dense, keras.Input((4,))
    block = keras.Sequential([inputs, keras.layers.Dropout(0.5), dense(4)], name="block")
    normal = keras.layers.BatchNormalization(name="normal", momentum=0.5)
    model = keras.Sequential([keras.Input((3,)), dense(4), normal, block, dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse", **options)
    return model


@pytest.mark.parametrize(
    ("replicas", "options"),
    [
        (1, {"steps_per_execution": 3}),
        (1, {"jit_compile": True}),
        (1, {"run_eagerly": True}),
        (2, {}),
    ],
    ids=str,
)
@pytest.mark.parametrize("inference", [True, ["normal", "bl*"]], ids=str)
def test_it_trains_as_a_loop_by_hand(inference: Any, replicas: int, options: Any) -> None:
    branch = {"inference": inference}
    reference = build()
    names = True if inference is True else ["normal", "block"]
    twin = {"all": {"cond": lambda self: True, True: {"inference": names}}}
    eager.train(reference, twin, BATCHES[:4])
    with mirrored().scope() if replicas == 2 else contextlib.nullcontext():
        model = build(**options)
    x = np.concatenate([x for x, _ in BATCHES[:4]])
    fitted(model, {"all": {"cond": when.always, True: branch}}, x)
    assert_alike(model, reference)  # averages of the normalisation are among the weights
    assert all("call" not in vars(layer) for layer in (model, *model.layers))


def test_statistics_move_in_the_substep_that_trains() -> None:
    """An inferring one has no part in it, though it runs first."""
    config = {
        "still": {"cond": when.always, True: {"inference": True, "variables": "*/dense*/*"}},
        "gate": {"cond": when.every(2), True: {"inference": True}, False: {}},
        "last": {"cond": when.always, True: {}},
    }
    model = build()
    callback = LoopControllerCallback(config).attach(model)
    assert [callback.plan.moves_statistics(substep) for substep in callback.plan.substeps] == [
        False,
        False,
        True,
        None,
    ]
    means = [model.get_layer("normal").moving_mean.numpy()]
    for x, y in BATCHES[:2]:
        callback.train_on_batch(x, y)
        means.append(model.get_layer("normal").moving_mean.numpy())
    assert not any(np.array_equal(a, b) for a, b in itertools.pairwise(means))


def test_what_the_source_and_verify_say() -> None:
    model = build()
    config = {
        "tune": {"cond": when.every(2), True: {"inference": "normal"}, False: {"inference": True}}
    }
    callback = LoopControllerCallback(config).attach(model)
    on, off = callback.source("tune"), callback.source("tune", False)
    assert "with in_inference(inferring):" in on
    assert "y_pred = self(x, training=True)" in on
    assert "y_pred = self(x, training=False)" in off
    verify.assert_config(model, callback, BATCHES[0])
    verify.assert_graph(model.tune_on, BATCHES[0], model=model, training={"normal": False})


def test_an_objective_infers_as_well() -> None:
    def objective(model: Any, data: Any) -> Any:
        x, y = data
        return keras.ops.mean((model(x, training=True) - y) ** 2)

    model, plain = build(), build()
    branch = {"objective": objective, "inference": True}
    fitted(model, {"all": {"cond": when.always, True: branch}})
    fitted(plain, {"all": {"cond": when.always, True: {"inference": True}}})
    assert_alike(model, plain)


def test_layers_are_as_before_whatever_happens() -> None:
    layer = keras.layers.Dropout(0.5)
    before = dict(vars(layer))
    x = np.ones((4, 4), "float32")
    with in_inference([layer]):
        np.testing.assert_array_equal(layer(x, training=True), x)

    def fail() -> None:
        with in_inference([layer]):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert vars(layer).keys() == before.keys()
    assert np.any(np.asarray(layer(x, training=True)) == 0)


def test_layers_that_are_not_there_are_refused() -> None:
    config = {"all": {"cond": when.always, True: {"inference": "norml"}}}
    with pytest.raises(ConfigError, match=r"matches no layer.*Did you mean 'normal'"):
        LoopControllerCallback(config).attach(build())

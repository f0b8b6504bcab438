"""Random configs over random models, against both oracles: the graph and an eager loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import Phase, example, given, note, settings

import verify
from loopctl import LoopControllerCallback, when
from tests.grids import is_thorough
from tests.oracle import eager
from verify import strategies

STEPS, SIZE = 6, 8
# An example traces several steps, which takes seconds. What the default profile draws, all property
# tests together: 47 set-ups, with each optimizer, loss and key of a branch at least once; a test
# that takes half has 5 or more of the 13 optimizers, one that takes a third 3 or 4.
HALF, EACH = settings.default.max_examples // 2, settings.default.max_examples // 3


def found(optimizer: str, **branch: Any) -> strategies.Setup:
    """A set-up that once failed: one action that is always on."""
    plain = {"kind": "sequential", "units": 1, "activation": "linear", "loss": "mse"}
    return strategies.Setup(
        **plain,
        kernel="l1",
        bias="l1",
        metrics=False,
        optimizer=optimizer,
        config={"gate": {"cond": when.always, True: branch}},
        twin={"gate": {"cond": lambda self: True, True: branch}},
    )


# The eager loop forgot that `fit` ends with averages in the place of weights.
AVERAGED = found("averaged")
# verify took the norm of all gradients for a way around the clip of each.
CLIPPED_TWICE = found("global_clipnorm", clipping=(0.0, 0.5), regularize=True)


# With the optimizers that the default profile may not draw.
MOMENTUM = found("momentum", loss="huber", excluded_variables="*bias")
NADAM = found("nadam", clipping={"norm": 0.3}, variables="*kernel")
NESTEROV = found("nesterov", loss="log_cosh", regularize=True, repeat=2)
# What is left of a branch of no data loss, at a rate of its own.
AT_A_RATE = found(
    "adam", learning_rate=0.02, inference=True, loss=None, regularize=True, clipping=(-0.1, 0.1)
)

# The eager loop had no loss scale for the optimizers of a branch: gradients overflow at first here.
OF_GROUPS = {
    "inference": True,
    "gradients": strategies.mean_of_absolutes,
    "clipping": {"global_norm": 0.2},
    "skip_nonfinite": True,
    "per_example": {"clip": 0.1, "noise": 0},
    "optimizer": {"*": "rmsprop"},
    "accumulate": 3,
}
OVERFLOWN = dataclasses.replace(
    found("sgd"),
    kind="subclassed",
    units=3,
    activation="tanh",
    kernel="l1l2",
    bias="none",
    loss="mae",
    config={"gate": {"cond": when.always, True: OF_GROUPS}},
    twin={"gate": {"cond": lambda self: True, True: OF_GROUPS}},
)


@settings(max_examples=HALF)
@example(AT_A_RATE)
@example(CLIPPED_TWICE)
@example(MOMENTUM)
@example(NADAM)
@example(NESTEROV)
@given(strategies.setups())
def test_the_graph_is_what_the_config_says(setup: strategies.Setup) -> None:
    model = setup.model()
    callback = LoopControllerCallback(setup.config).attach(model)
    verify.assert_config(model, callback, setup.batch())


def assert_trains_as_an_eager_loop(
    setup: strategies.Setup, *ways: dict[str, Any], tolerance: float = 1e-4
) -> None:
    """In each of some ways of running steps, which are options of `compile`."""
    x, y = setup.data(STEPS, SIZE)
    reference = setup.model()
    batches = [(x[i : i + SIZE], y[i : i + SIZE]) for i in range(0, STEPS * SIZE, SIZE)]
    expected = eager.train(reference, setup.twin, batches, epochs=2)

    for options in ways:
        note(str(options))
        model, callback = setup.model(**options), LoopControllerCallback(setup.config)
        model.fit(x, y, batch_size=SIZE, epochs=2, shuffle=False, verbose=0, callbacks=[callback])
        for step, wanted in zip(callback.history, expected, strict=True):
            assert {name: bool(step[name]) for name in setup.config} == {
                name: wanted[name] for name in setup.config
            }
            for name in ("loss", *(f"loss_{action}" for action in setup.config)):
                np.testing.assert_allclose(step[name], wanted[name], tolerance, tolerance / 100)
        for variable, wanted in zip(model.variables, reference.variables, strict=True):
            np.testing.assert_allclose(variable.numpy(), wanted.numpy(), tolerance, tolerance / 100)


@settings(max_examples=HALF)
@example(AVERAGED)
@given(strategies.setups())
def test_training_equals_an_eager_loop(setup: strategies.Setup) -> None:
    assert_trains_as_an_eager_loop(setup, {})


WAYS: list[dict[str, Any]] = [
    {"steps_per_execution": 4},
    {"jit_compile": True, "steps_per_execution": 3},
    {"run_eagerly": True},
]


@settings(max_examples=EACH)
@example(AVERAGED)
@given(strategies.setups(strategies.predicate_pairs()))
def test_every_way_of_running_steps_trains_alike(setup: strategies.Setup) -> None:
    assert_trains_as_an_eager_loop(setup, *WAYS)


@pytest.fixture(params=["mixed_bfloat16", "mixed_float16"])
def mixed_precision(request: pytest.FixtureRequest) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield
    keras.config.set_dtype_policy(before)


# Draws are left to the thorough profile: which ones a parallel run makes depends on what a worker
# has imported, and Adam in float16 takes rounding for a gradient in some.
SEEN = [Phase.explicit] if not is_thorough() else [Phase.explicit, Phase.generate]


@pytest.mark.usefixtures("mixed_precision")
@settings(max_examples=EACH, phases=SEEN)
@example(setup=CLIPPED_TWICE)
@example(setup=OVERFLOWN)
@given(setup=strategies.setups())
def test_mixed_precision(setup: strategies.Setup) -> None:
    """Loss scales included. Eagerly: a graph rounds otherwise, and Adam makes much of that."""
    model = setup.model()
    callback = LoopControllerCallback(setup.config).attach(model)
    verify.assert_config(model, callback, setup.batch())
    assert_trains_as_an_eager_loop(setup, {"run_eagerly": True}, tolerance=1e-3)

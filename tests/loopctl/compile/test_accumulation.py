"""One update by the mean of the gradients of several train steps of a branch."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import numpy as np
import pytest

import verify
from loopctl import ConfigError, LoopControllerCallback, when
from tests.loopctl.test_distributed import mirrored
from tests.oracle import eager

X = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
SIZE = 8
BATCHES = [(X[i : i + SIZE], Y[i : i + SIZE]) for i in range(0, len(X), SIZE)]


def build(optimizer: Any = None, **options: Any) -> keras.Model:
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(n, "tanh", name=name) for n, name in ((4, "below"), (1, "above"))]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile(optimizer or keras.optimizers.AdamW(0.1), "mse", **options)
    return model


def fitted(model: keras.Model, config: Any, x: Any = X, **fit: Any) -> LoopControllerCallback:
    callback = LoopControllerCallback(config)
    options = {"batch_size": SIZE, "shuffle": False, "verbose": 0, **fit}
    model.fit(x, x.sum(axis=1, keepdims=True), callbacks=[callback], **options)
    return callback


def assert_alike(model: keras.Model, other: keras.Model) -> None:
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


# Two groups by turns, each with sums of its own; decay, clip and a rate that falls by updates.
GROUPS: dict[str, Any] = {
    "turn": {
        "cond": when.every(2),
        True: {"accumulate": 2, "variables": "*/below/*", "clipping": {"global_norm": 0.1}},
        False: {"accumulate": 3, "variables": "*/above/*", "optimizer": "adam"},
    }
}
TWIN = {"turn": {**GROUPS["turn"], "cond": lambda self: self.batches % 2 == 0}}


def falling() -> keras.optimizers.Optimizer:
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    return keras.optimizers.AdamW(rate, weight_decay=0.1)


@pytest.mark.parametrize(
    ("replicas", "options"),
    [
        (1, {}),
        (1, {"jit_compile": True, "steps_per_execution": 4}),
        (1, {"run_eagerly": True}),
        (2, {"steps_per_execution": 4}),
    ],
    ids=str,
)
def test_two_groups_by_turns(replicas: int, options: Any) -> None:
    reference = build(falling())
    expected = eager.train(reference, TWIN, BATCHES)
    with mirrored().scope() if replicas == 2 else contextlib.nullcontext():
        model = build(falling(), **options)
    callback = fitted(model, GROUPS)
    losses = [step["loss"] for step in expected]
    np.testing.assert_allclose(callback.history.column("loss"), losses, rtol=1e-4)
    assert_alike(model, reference)
    assert int(np.asarray(model.optimizer.iterations)) == 2, "of four train steps of that branch"
    # Its substeps can be looked at, among replicas as well.
    verify.assert_config(model, callback, BATCHES[0])


def test_it_is_a_step_on_all_batches_at_once() -> None:
    model, plain = build(), build()
    config = {"all": {"cond": when.always, True: {"accumulate": 4}}}
    callback = fitted(model, config)
    plain.fit(X, Y, batch_size=4 * SIZE, shuffle=False, verbose=0)
    assert_alike(model, plain)
    assert "accumulated.add(gradients, reached)" in callback.source("all")
    verify.assert_config(model, callback, BATCHES[0])


def test_an_overflow_among_them_is_skipped_by_a_loss_scale() -> None:
    scaling = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
    model = build(scaling)
    before = model.get_weights()
    x = X[: 4 * SIZE].copy()
    x[SIZE] = np.inf
    config = {"all": {"cond": when.always, True: {"accumulate": 2, "clipping": (-0.1, 0.1)}}}
    fitted(model, config, x[: 2 * SIZE])
    assert_alike(model, model_of(before))
    assert float(scaling.dynamic_scale) == scaling.initial_scale / 2
    fitted(model, config, x[2 * SIZE :])
    assert np.abs(before[0] - model.get_weights()[0]).max() > 1e-4


def model_of(weights: list[Any]) -> keras.Model:
    model = build()
    model.set_weights(weights)
    return model


def test_what_waits_is_saved_and_a_fit_begins_anew() -> None:
    config = {"all": {"cond": when.always, True: {"accumulate": 5}}}
    whole, model = build(), build()
    fitted(whole, config)
    callback = fitted(model, config, X[: 3 * SIZE])
    state = callback.get_state()
    again = LoopControllerCallback(config)
    again.tracker.deserialize(callback.tracker.serialize())
    options = {"batch_size": SIZE, "shuffle": False, "verbose": 0}
    model.fit(X[3 * SIZE :], Y[3 * SIZE :], callbacks=[again], **options)
    assert_alike(model, whole)
    assert int(state["branches"]["all_on/sums"][-1]) == 3
    weights = model.get_weights()
    model.fit(X[: 4 * SIZE], Y[: 4 * SIZE], callbacks=[again], **options)
    assert_alike(model, model_of(weights))  # 4 of 5 steps


def test_reinitialised_weights_forget_their_sums() -> None:
    model = build(keras.optimizers.SGD(0.1))

    def reset(model: keras.Model) -> None:
        model.layers[0].set_weights([w * 0 + 1 for w in model.layers[0].get_weights()])

    redraw = {
        "cond": when.batches == 1,
        "model": reset,
        "reset_optimizer": True,
        "when": "batch_end",
    }
    config = {"all": {"cond": when.always, True: {"accumulate": 2}}}
    callback = LoopControllerCallback(config, {"redraw": redraw})
    callback.attach(model)
    callback.train_on_batch(X[:SIZE], Y[:SIZE])
    sums = callback.steps.remembered.accumulations["all_on"].sums
    assert [bool(np.any(total.numpy())) for total in sums] == [False, False, True, True]


def test_an_optimizer_that_accumulates_by_itself_is_refused() -> None:
    config = {"all": {"cond": when.always, True: {"accumulate": 2}}}
    own = keras.optimizers.SGD(0.1, gradient_accumulation_steps=3)
    with pytest.raises(ConfigError, match=r'\["accumulate"\] is 2, and its optimizer accumulates'):
        LoopControllerCallback(config).attach(build(own))

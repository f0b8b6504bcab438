"""Learning rates of a branch: in the place of its optimizer's, or factors for some variables."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import keras
import numpy as np
import pytest

import verify
from loopctl import ConfigError, LoopControllerCallback, when
from tests.loopctl.compile.test_accumulation import BATCHES, SIZE, X, assert_alike, build, fitted
from tests.loopctl.test_distributed import mirrored
from tests.oracle import eager


def decaying(rate: Any = 0.1) -> keras.optimizers.Optimizer:
    return keras.optimizers.AdamW(rate, weight_decay=0.3)


def config(linear: Any, cosine: Any, cond: Any, third: Any) -> dict[str, Any]:
    """Factors of the compiled optimizer's rate, rates in its place, and in that of an own one."""
    own = keras.optimizers.SGD(0.5, momentum=0.9, weight_decay=0.1)
    factors = {"*/below/*": linear, "*/above/kernel": 0.25}
    falling = keras.optimizers.schedules.ExponentialDecay(0.2, 1, 0.5)
    return {
        "turn": {
            "cond": cond,
            True: {"learning_rate": factors},
            False: {"learning_rate": cosine, "clipping": {"global_norm": 0.1}},
        },
        "more": {"cond": third, True: {"optimizer": own, "learning_rate": falling}},
        "less": {
            "cond": third,
            False: {"learning_rate": 0.01, "accumulate": 2, "variables": "*/above/*"},
        },
    }


def rated() -> dict[str, Any]:
    linear = 1 - when.linear(0, 1, over=6)
    return config(linear, when.cosine(0.1, 0.02, over=6), when.batches % 2 == 0, when.every(3))


def twin() -> dict[str, Any]:
    def linear(self: Any) -> float:
        return float(1 - min(self.batches / 6, 1))

    def cosine(self: Any) -> float:
        done = (1 - math.cos(math.pi * min(self.batches / 6, 1))) / 2
        return 0.1 * (1 - done) + 0.02 * done

    return config(
        linear, cosine, lambda self: self.batches % 2 == 0, lambda self: self.batches % 3 == 0
    )


@pytest.mark.parametrize(
    ("replicas", "scaled", "options"),
    [
        (1, False, {}),
        (1, True, {"jit_compile": True, "steps_per_execution": 4}),
        (1, False, {"run_eagerly": True}),
        (2, False, {}),
        (2, True, {"steps_per_execution": 4}),
    ],
    ids=str,
)
def test_each_update_is_at_its_rate(replicas: int, scaled: bool, options: Any) -> None:
    """Decay of weights as well, and nothing of it stays with the optimizer."""
    reference = build(decaying())
    expected = eager.train(reference, twin(), BATCHES)
    with mirrored().scope() if replicas == 2 else contextlib.nullcontext():
        optimizer = decaying()
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, 8.0) if scaled else optimizer
        model = build(optimizer, **options)
        controlled = rated()
    callback = fitted(model, controlled)
    losses = [step["loss"] for step in expected]
    np.testing.assert_allclose(callback.history.column("loss"), losses, rtol=1e-4)
    assert_alike(model, reference)
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    assert type(inner) is keras.optimizers.AdamW
    assert float(np.asarray(inner.learning_rate)) == pytest.approx(0.1)
    if not options and replicas == 1:
        verify.assert_config(model, callback, BATCHES[0])
        assert "# learning_rate_0: 1 - when.linear(0, 1, over=6)" in callback.source("turn", True)
        assert "with at_rate(optimizer, 0.01):" in callback.source("less", False)


def test_a_rate_of_a_schedule_is_multiplied() -> None:
    """And whatever a callback has set: factors are of the rate as it is."""
    schedule, half = (
        keras.optimizers.schedules.ExponentialDecay(rate, 2, 0.5) for rate in (0.2, 0.1)
    )
    falling = keras.callbacks.LearningRateScheduler(lambda epoch: 0.2 / (epoch + 1))
    falling_half = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1))
    halved = {"all": {"cond": when.always, True: {"learning_rate": {"*": 0.5}}}}
    for optimizer, other, setting, setting_half in (
        (decaying(schedule), decaying(half), (), ()),
        (decaying(), decaying(), (falling,), (falling_half,)),
    ):
        model, plain = build(optimizer), build(other)
        y = X.sum(axis=1, keepdims=True)
        fit = {"batch_size": 16, "shuffle": False, "verbose": 0, "epochs": 2}
        model.fit(X, y, callbacks=[*setting, LoopControllerCallback(halved)], **fit)
        plain.fit(X, y, callbacks=[*setting_half], **fit)
        assert_alike(model, plain)


def test_a_resumed_fit_goes_on_where_values_were() -> None:
    branch = {
        "learning_rate": {"*": when.linear(1, 0, over=7)},
        "loss_weights": when.cosine(0.2, 1, over=8),
    }
    config = {"all": {"cond": when.always, True: branch}}
    whole, model = build(decaying()), build(decaying())
    fitted(whole, config)
    first, again = fitted(model, config, X[: 3 * SIZE]), LoopControllerCallback(config)
    again.tracker.deserialize(first.tracker.serialize())
    fit = {"batch_size": SIZE, "shuffle": False, "verbose": 0, "callbacks": [again]}
    model.fit(X[3 * SIZE :], X[3 * SIZE :].sum(axis=1, keepdims=True), **fit)
    assert_alike(model, whole)


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        ({"*/belw/*": 0.1}, "'*/belw/*' matches no variable that the branch trains. It trains seq"),
        (
            {"*/below/*": 0.1, "*kernel": 2},
            "both '*/below/*' and '*kernel' match sequential/below/kernel: one glob for each",
        ),
    ],
)
def test_globs_that_do_not_fit_are_refused(rate: Any, message: str) -> None:
    config = {"all": {"cond": when.always, True: {"learning_rate": rate}}}
    with pytest.raises(ConfigError) as error:
        LoopControllerCallback(config).attach(build())
    assert str(error.value).startswith('config["all"][True]["learning_rate"]: ')
    assert message in str(error.value)


if hasattr(keras.optimizers, "MultiOptimizer"):  # Keras 3.8 has none

    def test_an_optimizer_of_several_takes_factors_only() -> None:
        def made(rate: float) -> Any:
            parts = {"kernel": keras.optimizers.Adam(rate), "bias": keras.optimizers.SGD(rate)}
            return keras.optimizers.MultiOptimizer(lambda variable: parts[variable.name])

        one = {"all": {"cond": when.always, True: {"learning_rate": 0.1}}}
        with pytest.raises(
            ConfigError, match=r'\["learning_rate"\] is one rate for an optimizer that'
        ):
            LoopControllerCallback(one).attach(build(made(0.1)))
        half = {"all": {"cond": when.always, True: {"learning_rate": {"*": 0.5}}}}
        model, plain = build(made(0.1)), build(made(0.05))
        fitted(model, half)
        fitted(plain, {"all": {"cond": when.always, True: {}}})
        assert_alike(model, plain)

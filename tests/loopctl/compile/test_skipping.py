"""Updates whose gradients are not finite are left out, and counted."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import verify
from loopctl import ConfigError, LoopControllerCallback, when
from loopctl_shared import inner_optimizer
from tests.loopctl.compile.test_accumulation import SIZE, X, assert_alike, build
from tests.loopctl.test_distributed import mirrored
from tests.oracle import eager

Y = X.sum(axis=1, keepdims=True)
BROKEN = X.copy()
BROKEN[2 * SIZE] = np.nan  # of one sample, hence of one replica
BROKEN[5 * SIZE + 1] = np.inf
BATCHES = [(BROKEN[i : i + SIZE], Y[i : i + SIZE]) for i in range(0, len(X), SIZE)]


def unstable(gradients: list[Any], variables: list[Any]) -> list[Any]:
    """Makes NaN of some gradients that are finite."""
    return [tf.sqrt(0.15 - tf.reduce_max(tf.abs(g))) * g for g in gradients]


def config(first: Any, second: Any, start: Any) -> dict[str, Any]:
    return {
        "all": {
            "cond": first,
            True: {
                "skip_nonfinite": True,
                "clipping": (-0.1, 0.1),
                "average": {"decay": 0.5, "start": start},
            },
        },
        "more": {
            "cond": second,
            True: {"skip_nonfinite": True, "accumulate": 2, "optimizer": "adam"},
            False: {"skip_nonfinite": True, "gradients": unstable, "variables": "*/above/*"},
        },
    }


CONFIG = config(when.always, when.skipped_all.last() >= 1, when.batches >= 2)
TWIN = config(
    lambda self: True,
    lambda self: bool(self.history) and self.history[-1]["skipped_all"] >= 1,
    lambda self: self.batches >= 2,
)


@pytest.mark.parametrize(
    ("replicas", "scaled", "options"),
    [
        (1, False, {}),
        (1, True, {"jit_compile": True, "steps_per_execution": 4}),
        (1, False, {"run_eagerly": True}),
        (2, False, {"steps_per_execution": 4}),
        (2, True, {}),
    ],
    ids=str,
)
def test_the_others_train_as_if_it_had_not_been(replicas: int, scaled: bool, options: Any) -> None:
    reference = build(keras.optimizers.AdamW(0.1))
    expected = eager.train(reference, TWIN, BATCHES)
    with mirrored().scope() if replicas == 2 else contextlib.nullcontext():
        optimizer = keras.optimizers.AdamW(0.1)
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, 8.0) if scaled else optimizer
        model = build(optimizer, **options)
    callback = LoopControllerCallback(CONFIG)
    fit = {"batch_size": SIZE, "shuffle": False, "verbose": 0, "callbacks": [callback]}
    logs = model.fit(BROKEN, Y, **fit).history
    for name in ("more", "skipped_all", "skipped_more"):
        found = callback.history.column(name)
        np.testing.assert_array_equal(found, [step[name] for step in expected], err_msg=name)
        assert logs[name][-1] == expected[-1][name]
    assert_alike(model, reference)
    inner = inner_optimizer(optimizer)
    assert int(np.asarray(inner.iterations)) == int(reference.optimizer.iterations)
    assert expected[-1]["skipped_all"] == 2
    assert 1 <= expected[-1]["skipped_more"] <= 4
    if scaled:
        assert float(np.asarray(optimizer.dynamic_scale)) < 8
    if not options and not scaled:
        verify.assert_config(model, callback, BATCHES[0])
        assert "finite = finite & all_finite(gradients)" in callback.source("all", True)


def test_the_count_is_saved_and_a_fit_begins_anew() -> None:
    branch = {"skip_nonfinite": True}
    callback = LoopControllerCallback({"all": {"cond": when.always, True: branch}})
    model = build()
    fit = {"batch_size": SIZE, "shuffle": False, "verbose": 0}
    model.fit(BROKEN, Y, callbacks=[callback], **fit)
    again = LoopControllerCallback(callback.config)
    again.tracker.deserialize(callback.tracker.serialize())
    model.fit(BROKEN, Y, callbacks=[again], **fit)
    assert again.history.column("skipped_all")[-1] == 4
    model.fit(X, Y, callbacks=[again], **fit)
    assert again.history.column("skipped_all")[-1] == 0


def test_a_name_that_is_taken_is_refused() -> None:
    branch = {"cond": when.always, True: {"skip_nonfinite": True}}
    with pytest.raises(ConfigError, match="'skipped_all' is already a name in the logs of fit"):
        LoopControllerCallback({"all": branch, "skipped_all": branch}).attach(build())

"""One update by several optimizers, each of the variables that a glob matches."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import numpy as np
import pytest

import verify
from loopctl import ConfigError, LoopControllerCallback, when
from tests.loopctl.compile.test_accumulation import BATCHES, SIZE, X, assert_alike, build, fitted
from tests.loopctl.test_distributed import mirrored
from tests.oracle import eager


def config(often: Any) -> dict[str, Any]:
    """Groups that clip and average by themselves, with whatever else an update may have."""
    first = {
        "*/below/*": keras.optimizers.Adam(0.1, global_clipnorm=0.05),
        "*/above/kernel": keras.optimizers.SGD(0.2, momentum=0.9, clipvalue=0.1),
        "*/above/bias": {"class_name": "RMSprop", "config": {"learning_rate": 0.05}},
    }
    second = {"*kernel": keras.optimizers.SGD(0.1, weight_decay=0.1), "*bias": "adam"}
    return {
        "turn": {
            "cond": often,
            True: {"optimizer": first, "learning_rate": {"*/below/*": 0.5}},
            False: {
                "optimizer": second,
                "accumulate": 2,
                "clipping": {"global_norm": 0.2},
                "variables": ["*/below/*", "*/above/bias"],
                "skip_nonfinite": True,
            },
        }
    }


GROUPED, TWIN = when.batches % 3 < 1, lambda self: self.batches % 3 < 1


@pytest.mark.parametrize(
    ("replicas", "scaled", "options"),
    [
        (1, False, {}),
        (1, True, {"jit_compile": True, "steps_per_execution": 4}),
        (2, True, {"steps_per_execution": 4}),
    ],
    ids=str,
)
def test_each_group_is_updated_by_its_own(replicas: int, scaled: bool, options: Any) -> None:
    reference = build()
    expected = eager.train(reference, config(TWIN), BATCHES)
    with mirrored().scope() if replicas == 2 else contextlib.nullcontext():
        optimizer = keras.optimizers.SGD(0.1)
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, 8.0) if scaled else optimizer
        model, controlled = build(optimizer, **options), config(GROUPED)
    callback = fitted(model, controlled)
    losses = [step["loss"] for step in expected]
    np.testing.assert_allclose(callback.history.column("loss"), losses, rtol=1e-4)
    assert_alike(model, reference)
    own = callback.steps.optimizers.inner(callback.plan.actions[0].substeps[0])
    parts = callback.steps.optimizers.parts(callback.plan.actions[0].substeps[0])
    assert [int(np.asarray(one.iterations)) for one in (own, *parts)] == [3] * 4
    if not options:
        verify.assert_config(model, callback, BATCHES[0])


def test_their_state_is_saved() -> None:
    branch = {"optimizer": {"*kernel": "adam", "*bias": "sgd"}}
    whole, model = build(), build()
    both = {"turn": {"cond": when.every(2), True: branch, False: {}}}
    fitted(whole, both)
    callback = fitted(model, both, X[: 4 * SIZE])
    again = LoopControllerCallback(both)
    again.tracker.deserialize(callback.tracker.serialize())
    options = {"batch_size": SIZE, "shuffle": False, "verbose": 0}
    y = X.sum(axis=1, keepdims=True)
    model.fit(X[4 * SIZE :], y[4 * SIZE :], callbacks=[again], **options)
    assert_alike(model, whole)


SGD = keras.optimizers.SGD


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (
            {"*kernel": "sgd"},
            "has no optimizer for sequential/below/bias, sequential/above/bias, wh",
        ),
        ({"*kernel": "sgd", "*": "adam"}, "both '*kernel' and '*' match sequential/below/kernel"),
        ({"*": "sgd", "*kernl": "adam"}, "'*kernl' matches no variable that the branch trains."),
        (
            {"*": keras.optimizers.LossScaleOptimizer(SGD())},
            "['*'] is a LossScaleOptimizer, which consists of other optimizers",
        ),
        ({"*": SGD(loss_scale_factor=2.0)}, "['*'] scales the loss (loss_scale_factor)"),
        (dict.fromkeys(("*kernel", "*bias"), SGD()), "each group needs an optimizer of its own"),
    ],
)
def test_groups_that_do_not_fit_are_refused(optimizer: Any, message: str) -> None:
    config = {"all": {"cond": when.always, True: {"optimizer": optimizer}}}
    with pytest.raises(ConfigError) as error:
        LoopControllerCallback(config).attach(build())
    assert str(error.value).startswith('config["all"][True]["optimizer"]')
    assert message in str(error.value)


def test_the_compiled_optimizer_is_not_that_of_a_group() -> None:
    model = build()
    config = {"all": {"cond": when.always, True: {"optimizer": {"*": model.optimizer}}}}
    with pytest.raises(ConfigError, match="which is that of the compiled one as well"):
        LoopControllerCallback(config).attach(model)

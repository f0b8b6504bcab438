"""Gradients that are taken uphill, or where a function says, and applied where weights are."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from loopctl import ConfigError, when
from tests.loopctl.compile.test_accumulation import BATCHES, SIZE, X, build, fitted
from tests.loopctl.compile.twins import assert_trains_as_its_twin


def against(gradients: list[Any], variables: list[Any]) -> list[Any]:
    """As extragradient methods do: a step of descent."""
    return [-0.1 * gradient for gradient in gradients]


def config(cond: Any, radius: Any) -> dict[str, Any]:
    return {
        "all": {
            "cond": cond,
            True: {"ascend": 0.3, "clipping": {"global_norm": 0.5}, "skip_nonfinite": True},
            False: {"ascend": radius, "accumulate": 2, "variables": "*/above/*"},
        },
        "more": {"cond": cond, False: {"ascend": against, "loss": "mae", "loss_weights": 0.5}},
    }


CONFIG = config(when.batches % 3 < 1, when.linear(0.5, 0.1, over=6))
TWIN = config(lambda self: self.batches % 3 < 1, lambda self: max(0.5 - self.batches / 15, 0.1))


@pytest.mark.parametrize(
    ("replicas", "scaled", "options"),
    [
        (1, False, {}),
        (1, True, {"jit_compile": True, "steps_per_execution": 4}),
        (1, False, {"run_eagerly": True}),
        (2, True, {"steps_per_execution": 4}),
    ],
    ids=str,
)
def test_weights_stay_where_they_are_meanwhile(replicas: int, scaled: bool, options: Any) -> None:
    way = replicas, scaled, options
    callback = assert_trains_as_its_twin(build, fitted, (CONFIG, TWIN), BATCHES, way)
    if not options:
        assert "offsets = climb(gradients, value_of('ascend'))" in callback.source("all", False)


def normalised(**options: Any) -> keras.Model:
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
    head = keras.layers.Dense(1, kernel_regularizer="l2")
    model = keras.Sequential([keras.Input((3,)), *layers, head])
    model.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"], **options)
    return model


def test_statistics_and_metrics_see_one_pass_and_random_numbers_go_on() -> None:
    branch = {"ascend": 0.1, "regularize": True}
    model, plain = normalised(), normalised()
    states = []
    for one, extra in ((model, branch), (plain, {"regularize": True})):
        callback = fitted(one, {"all": {"cond": when.always, True: extra}}, X[:SIZE])
        states.append(callback.history[0]["mae"])
    assert states[0] == pytest.approx(states[1])
    for name in ("moving_mean", "moving_variance"):
        found, wanted = (getattr(one.layers[1], name).numpy() for one in (model, plain))
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    seeds = [one.layers[2].seed_generator.state.numpy() for one in (model, plain)]
    assert np.any(seeds[0] != seeds[1])
    assert np.abs(model.layers[0].kernel - plain.layers[0].kernel).max() > 1e-5


def test_offsets_are_checked() -> None:
    branch = {"ascend": lambda gradients, variables: gradients[:1]}
    with pytest.raises(ConfigError, match=r'\["ascend"\] returned 1 offsets for 4 variables'):
        fitted(build(), {"all": {"cond": when.always, True: branch}})

"""Models that say they are built, and make variables in their first call: all are trained."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from loopctl import ConfigError, LoopControllerCallback, when

CONFIG = {"all": {"cond": when.always, True: {"clipping": (-1.0, 1.0)}}}
X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


class Stacked(keras.Model):
    """Of three layers, one is built with the model, one in its first call, and one not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.below = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "tanh")])
        self.head, self.unused = keras.layers.Dense(1, name="head"), keras.layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.head(self.below(x))


def stacked() -> keras.Model:
    keras.utils.set_random_seed(1)
    model = Stacked()
    with pytest.warns(UserWarning, match="build"):  # Keras' own advice
        model.build((None, 3))
    model.compile(keras.optimizers.SGD(0.1, clipvalue=None), "mse")
    return model


def fitted(*callbacks: Any, model: keras.Model | None = None) -> list[Any]:
    model = model or stacked()
    for _ in range(2):
        model.fit(X, Y, batch_size=8, shuffle=False, verbose=0, callbacks=list(callbacks))
    weights: list[Any] = model.get_weights()
    return weights


def test_what_is_made_in_the_first_call_is_trained() -> None:
    wide = {"all": {"cond": when.always, True: {"clipping": (-100.0, 100.0)}}}
    callback = LoopControllerCallback(wide)
    for ours, plain in zip(fitted(callback), fitted(), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-6)
    assert len(callback.history) == 2


def test_an_optimizer_that_was_attached_too_early_says_what_to_do() -> None:
    """It was built for the variables that there were, and can't be given more."""
    model = stacked()
    callback = LoopControllerCallback(CONFIG)
    with pytest.warns(UserWarning, match="call it on a batch first"):
        callback.attach(model)
    with pytest.raises(ConfigError, match=r"trains stacked.*/head/kernel.*a new optimizer"):
        model.fit(X, Y, batch_size=8, verbose=0, callbacks=[callback])
    assert not hasattr(model, "all_on")
    before = model.head.get_weights()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    fitted(callback, model=model)
    for weight, value in zip(model.head.get_weights(), before, strict=True):
        assert np.abs(weight - value).max() > 0


@pytest.mark.parametrize("scaled", [False, True])
def test_what_is_thawed_needs_a_new_optimizer(scaled: bool) -> None:
    """Keras says "Unknown variable", in the midst of a trace; a branch may leave it out."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(1)])
    model.layers[0].trainable = False
    optimizer: Any = keras.optimizers.SGD(0.1)
    model.compile(keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer, "mse")
    model.fit(X, Y, verbose=0)
    model.layers[0].trainable = True
    kernel = model.layers[0].kernel
    with pytest.raises(ConfigError, match=f"config.*True.* trains {kernel.path}"):
        LoopControllerCallback(CONFIG).attach(model)
    path = model.layers[1].kernel.path.rpartition("/")[0]
    rest = {"all": {"cond": when.always, True: {"variables": f"{path}/*"}}}
    before = kernel.numpy()
    model.fit(X, Y, verbose=0, callbacks=[LoopControllerCallback(rest)])
    np.testing.assert_array_equal(kernel.numpy(), before)


def test_what_is_attached_before_says_so() -> None:
    model = stacked()
    with pytest.warns(UserWarning, match="that have no variables yet.*head"):
        LoopControllerCallback(CONFIG).attach(model)
    model = stacked()
    model(X[:8])
    callback = LoopControllerCallback(CONFIG)
    with pytest.warns(UserWarning, match="that have no variables yet.*dense"):  # which is not used
        callback.attach(model)
    before = model.head.get_weights()
    fitted(callback, model=model)
    for weight, value in zip(model.head.get_weights(), before, strict=True):
        assert np.abs(weight - value).max() > 0

"""Training under control in an ordinary fit: what stays as in Keras."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from loopctl import ConfigError
from tests.loopctl.controlled import Data, assert_same_weights, controlled, twin


class Batches(keras.utils.PyDataset):
    """The data in batches of four."""

    def __init__(self, x: Any, y: Any) -> None:
        super().__init__()
        self.x, self.y = x, y

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Data:
        part = slice(4 * index, 4 * index + 4)
        return self.x[part], self.y[part]


def generator(x: Any, y: Any) -> Iterator[Data]:
    while True:
        yield from (Batches(x, y)[i] for i in range(8))


SOURCES: dict[str, Callable[[Any, Any], dict[str, Any]]] = {
    "arrays": lambda x, y: {"x": x, "y": y, "batch_size": 4, "shuffle": False},
    "tf.data": lambda x, y: {"x": tf.data.Dataset.from_tensor_slices((x, y)).batch(4)},
    "generator": lambda x, y: {"x": generator(x, y), "steps_per_epoch": 8},
    "PyDataset": lambda x, y: {"x": Batches(x, y), "shuffle": False},
}


@pytest.mark.parametrize("source", SOURCES)
def test_data_of_every_kind_train_as_without_control(
    source: str, model: keras.Model, data: Data
) -> None:
    """A config of the compiled loss and all regularisation is what Keras does by itself."""
    plain = twin(model)
    arguments = {"epochs": 2, "verbose": 0}
    shown = plain.fit(**SOURCES[source](*data), **arguments).history
    config = {"all": {"cond": lambda self: True, True: {"regularize": True}}}
    callback = controlled(config)
    controlled_history = model.fit(**SOURCES[source](*data), **arguments, callbacks=[callback])
    assert_same_weights(model, plain)
    for name in ("loss", "mae"):
        np.testing.assert_allclose(controlled_history.history[name], shown[name], rtol=1e-5)
    assert callback.batches == len(callback.history) == 16


@pytest.mark.parametrize("mode", ["run_eagerly", "jit_compile"])
def test_eager_and_compiled_execution(mode: str, model: keras.Model, data: Data) -> None:
    config = {
        "gate": {
            "cond": lambda self: self.batches % 3 < 2,
            True: {"clipping": (-0.1, 0.1)},
            False: {"loss": "mae", "variables": lambda m: m.layers[1].trainable_variables},
        },
        "late": {"cond": lambda self: self.batches > 3, True: {"loss": None, "regularize": True}},
    }
    reference = twin(model)
    reference.fit(*data, batch_size=4, shuffle=False, verbose=0, callbacks=[controlled(config)])
    model.compile("sgd", "mse", metrics=["mae"], **{mode: True})
    model.fit(*data, batch_size=4, shuffle=False, verbose=0, callbacks=[controlled(config)])
    assert_same_weights(model, reference)


def test_every_argument_of_fit_keeps_working(model: keras.Model, data: Data) -> None:
    seen: list[int] = []
    other = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    callback = controlled()
    history = model.fit(
        *data,
        batch_size=5,  # the last batch is smaller
        epochs=4,
        initial_epoch=2,
        validation_split=0.25,
        verbose=0,
        callbacks=[callback, other],
    ).history
    assert seen == [2, 3]
    assert {"loss", "mae", "val_loss", "val_mae", "loss_all", "all"} <= set(history)
    assert (callback.epochs, callback.batches, callback.batches_in_epochs) == (2, 10, 5)


def test_sample_and_class_weights_reach_the_loss(model: keras.Model, data: Data) -> None:
    x, _ = data
    y, weight = np.arange(32)[:, None] % 2, np.linspace(0, 1, 32)
    free = {"all": {"cond": lambda self: True, True: {"regularize": True}}}
    for extra in ({"sample_weight": weight}, {"class_weight": {0: 0.2, 1: 3.0}}):
        plain = twin(model)
        plain.fit(x, y, shuffle=False, verbose=0, **extra)
        model.fit(x, y, shuffle=False, verbose=0, callbacks=[controlled(free)], **extra)
        assert_same_weights(model, plain)


def test_a_model_built_by_its_first_batch(data: Data) -> None:
    class Lazy(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.outer = keras.layers.Dense(4), keras.layers.Dense(1)

        def call(self, x: Any, training: bool = False) -> Any:
            return self.outer(self.inner(x))

    lazy = Lazy()
    lazy.compile("adam", "mse")
    callback = controlled(
        {
            "outer": {
                "cond": lambda self: True,
                True: {"variables": lambda m: m.outer.trainable_variables},
            }
        }
    )
    with pytest.raises(ConfigError, match="shadows an attribute of model"):
        lazy.fit(*data, verbose=0, callbacks=[callback])
    callback = controlled(
        {
            "head": {
                "cond": lambda self: True,
                True: {"variables": lambda m: m.outer.trainable_variables},
            }
        }
    )
    lazy.fit(*data, verbose=0, callbacks=[callback])
    inner = lazy.inner.kernel.numpy().copy()
    outer = lazy.outer.kernel.numpy().copy()
    lazy.fit(*data, verbose=0, callbacks=[callback])
    np.testing.assert_array_equal(lazy.inner.kernel.numpy(), inner)
    assert not np.allclose(lazy.outer.kernel.numpy(), outer)


def test_steps_per_execution_records_every_step(model: keras.Model, data: Data) -> None:
    reference, one = twin(model), controlled()
    reference.fit(*data, batch_size=4, epochs=2, shuffle=False, verbose=0, callbacks=[one])
    model.compile("sgd", "mse", metrics=["mae"], steps_per_execution=3)
    several = controlled()
    with pytest.warns(UserWarning, match="'all' can only be evaluated once per execution"):
        model.fit(*data, batch_size=4, epochs=2, shuffle=False, verbose=0, callbacks=[several])
    assert_same_weights(model, reference)
    assert several.batches == len(several.history) == 16
    for a, b in zip(several.history, one.history, strict=True):
        assert a.keys() == b.keys()
        np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-5)

"""Hypothesis strategies for small models and the configs that fit them.

For fuzzing a training set-up of one's own against the graph::

    @given(strategies.setups())
    def test_control(setup):
        model = setup.model()
        callback = LoopControllerCallback(setup.config).attach(model)
        verify.assert_config(model, callback, setup.batch())

Needs hypothesis, which the extra ``test`` installs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from hypothesis import strategies as st

Config = dict[str, Any]

FEATURES = 3
LOSSES = ("mse", "mae", "huber", "log_cosh")
OPTIMIZERS: dict[str, Callable[[], keras.optimizers.Optimizer]] = {
    "sgd": lambda: keras.optimizers.SGD(0.05),
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.01),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.01),
    "clipping": lambda: keras.optimizers.Adam(0.01, clipvalue=0.05),
}
REGULARIZERS: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "l1": lambda: keras.regularizers.L1(0.02),
    "l2": lambda: keras.regularizers.L2(0.03),
    "l1l2": lambda: keras.regularizers.L1L2(0.02, 0.03),
}


class TwoLayers(keras.Model):
    """A subclassed model that is built by the first batch it sees."""

    def __init__(self, hidden: keras.layers.Layer, output: keras.layers.Layer) -> None:
        super().__init__()
        self.hidden, self.output_layer = hidden, output

    def call(self, x: Any) -> Any:
        """(batch, features) -> (batch, units of the last layer)."""
        return self.output_layer(self.hidden(x))


@dataclasses.dataclass(frozen=True)
class Setup:
    """A drawn model, how it is compiled, and a config for it. Equal set-ups make equal models."""

    kind: str
    units: int
    activation: str
    kernel: str
    bias: str
    loss: str
    optimizer: str
    metrics: bool
    config: Config

    def model(self, seed: int = 0) -> keras.Model:
        """A compiled model with weights drawn from `seed`."""
        keras.utils.set_random_seed(seed)
        hidden = keras.layers.Dense(
            self.units,
            self.activation,
            kernel_regularizer=REGULARIZERS[self.kernel](),
            bias_regularizer=REGULARIZERS[self.bias](),
            bias_initializer="random_normal",
        )
        output = keras.layers.Dense(1, kernel_regularizer=REGULARIZERS[self.bias]())
        if self.kind == "sequential":
            model = keras.Sequential([keras.Input((FEATURES,)), hidden, output])
        elif self.kind == "functional":
            inputs = keras.Input((FEATURES,))
            model = keras.Model(inputs, output(hidden(inputs)))
        else:
            model = TwoLayers(hidden, output)
            model(np.zeros((1, FEATURES), "float32"))
        model.compile(
            OPTIMIZERS[self.optimizer](), self.loss, metrics=["mae"] if self.metrics else None
        )
        return model

    def data(self, batches: int, size: int = 8, seed: int = 0) -> tuple[Any, Any]:
        """Arrays x (batches * size, features) and y (batches * size, 1), float32."""
        generator = np.random.default_rng(seed)
        x = generator.normal(size=(batches * size, FEATURES)).astype("float32")
        return x, np.sin(x.sum(axis=1, keepdims=True)).astype("float32")

    def batch(self, size: int = 8) -> tuple[Any, Any]:
        """One batch (x, y)."""
        return self.data(1, size)


def kernels(model: keras.Model) -> list[Any]:
    return [v for v in model.trainable_variables if v.name == "kernel"]


def biases(model: keras.Model) -> list[Any]:
    return [v for v in model.trainable_variables if v.name == "bias"]


def first(model: keras.Model) -> list[Any]:
    return list(model.trainable_variables[:1])


def quartic(y_true: Any, y_pred: Any) -> Any:
    """A user's own loss: the fourth power of the error, averaged over the last axis."""
    return keras.ops.mean((y_true - y_pred) ** 4, axis=-1)


def conditions() -> st.SearchStrategy[Callable[[Any], bool]]:
    """Functions of the callback: constant, periodic, late."""
    periodic = st.integers(1, 3).flatmap(
        lambda period: st.integers(0, period).map(
            lambda on: lambda callback: bool(callback.batches % period < on)
        )
    )
    late = st.integers(0, 4).map(lambda start: lambda callback: bool(callback.batches >= start))
    return st.one_of(periodic, late)


def branches() -> st.SearchStrategy[Config]:
    """Any legal combination of the keys of one branch."""
    losses = st.sampled_from(
        [None, False, *LOSSES, keras.losses.Huber(0.5), keras.losses.MeanSquaredError(), quartic]
    )
    bounds = st.sampled_from([(-0.1, 0.1), (-0.01, 0.02), (-1, 1), (0.0, 0.5)])
    selections = st.sampled_from([kernels, biases, first])
    free = st.fixed_dictionaries(
        {}, optional={"loss": losses, "regularize": st.booleans(), "clipping": bounds}
    )
    chosen = st.one_of(
        st.just({}),
        selections.map(lambda function: {"variables": function}),
        selections.map(lambda function: {"excluded_variables": function}),
    )
    return st.builds(lambda a, b: {**a, **b}, free, chosen)


def configs() -> st.SearchStrategy[Config]:
    """Configs of one to three actions, each with a True branch, a False branch or both."""
    action = st.one_of(
        st.fixed_dictionaries({"cond": conditions(), True: branches()}),
        st.fixed_dictionaries({"cond": conditions(), False: branches()}),
        st.fixed_dictionaries({"cond": conditions(), True: branches(), False: branches()}),
    )
    names = st.lists(st.sampled_from(["gate", "delay", "sparse"]), min_size=1, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries(dict.fromkeys(chosen, action)))


def setups() -> st.SearchStrategy[Setup]:
    """A model, how it is compiled, and a config for it."""
    regularizers = st.sampled_from(sorted(REGULARIZERS))
    return st.builds(
        Setup,
        kind=st.sampled_from(["sequential", "functional", "subclassed"]),
        units=st.integers(1, 4),
        activation=st.sampled_from(["linear", "tanh", "softplus"]),
        kernel=regularizers,
        bias=regularizers,
        loss=st.sampled_from(LOSSES),
        optimizer=st.sampled_from(sorted(OPTIMIZERS)),
        metrics=st.booleans(),
        config=configs(),
    )

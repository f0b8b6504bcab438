"""Hypothesis strategies for small models and configs that suit them.

Use them to test your own set-up on random models and configs::

    @given(strategies.setups())
    def test_control(setup):
        model = setup.model()
        callback = LoopControllerCallback(setup.config).attach(model)
        verify.assert_config(model, callback, setup.batch())

Needs hypothesis, which the extra ``hypothesis`` installs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from loopctl_shared import how_to_install

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError(
        "verify.strategies needs hypothesis, which is not installed: "
        + how_to_install("hypothesis")
    ) from error

from loopctl import when

__all__ = [
    "Setup",
    "branches",
    "condition_pairs",
    "conditions",
    "configs",
    "predicate_pairs",
    "setups",
]

Config = dict[str, Any]

_FEATURES = 3
_HIDDEN, _OUTPUT = "below", "above"  # names of layers
_LOSSES = ("mse", "mae", "huber", "log_cosh")
_OPTIMIZERS: dict[str, Callable[[], keras.optimizers.Optimizer]] = {
    "sgd": lambda: keras.optimizers.SGD(0.05),
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.01),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.01),
    "nesterov": lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "amsgrad": lambda: keras.optimizers.Adam(0.01, amsgrad=True),
    "nadam": lambda: keras.optimizers.Nadam(0.01),
    "adagrad": lambda: keras.optimizers.Adagrad(0.05),
    "averaged": lambda: keras.optimizers.RMSprop(0.01, use_ema=True, ema_momentum=0.9),
    "clipvalue": lambda: keras.optimizers.Adam(0.01, clipvalue=0.05),
    "clipnorm": lambda: keras.optimizers.SGD(0.05, clipnorm=0.2),
    "global_clipnorm": lambda: keras.optimizers.SGD(0.05, global_clipnorm=0.2),
}
_FALLING = keras.optimizers.schedules.ExponentialDecay(0.05, 2, 0.5)
_REGULARIZERS: dict[str, Callable[[], Any]] = {
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
    """A drawn model, how it is compiled, and a config for it. Equal set-ups make equal models.

    `twin` is `config` with every condition as a plain Python function.
    """

    kind: str
    units: int
    activation: str
    kernel: str
    bias: str
    loss: str
    optimizer: str
    metrics: bool
    config: Config
    twin: Config

    def model(self, seed: int = 0, **compile_options: Any) -> keras.Model:
        """A compiled model with weights drawn from `seed`; options as of ``model.compile``."""
        keras.utils.set_random_seed(seed)
        hidden = keras.layers.Dense(
            self.units,
            self.activation,
            kernel_regularizer=_REGULARIZERS[self.kernel](),
            bias_regularizer=_REGULARIZERS[self.bias](),
            bias_initializer="random_normal",
            name=_HIDDEN,
        )
        output = keras.layers.Dense(1, kernel_regularizer=_REGULARIZERS[self.bias](), name=_OUTPUT)
        if self.kind == "sequential":
            model = keras.Sequential([keras.Input((_FEATURES,)), hidden, output])
        elif self.kind == "functional":
            inputs = keras.Input((_FEATURES,))
            model = keras.Model(inputs, output(hidden(inputs)))
        else:
            model = TwoLayers(hidden, output)
            model(np.zeros((1, _FEATURES), "float32"))
        model.compile(
            _OPTIMIZERS[self.optimizer](),
            self.loss,
            metrics=["mae"] if self.metrics else None,
            **compile_options,
        )
        return model

    def data(self, batches: int, size: int = 8, seed: int = 0) -> tuple[Any, Any]:
        """Arrays x (batches * size, features) and y (batches * size, 1), float32."""
        generator = np.random.default_rng(seed)
        x = generator.normal(size=(batches * size, _FEATURES)).astype("float32")
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


def halves(model: keras.Model, data: Any) -> Any:
    """A user's objective of two named parts: the squared error of each half of a batch."""
    x, y = data[:2]
    prediction = keras.ops.cast(model(x, training=True), "float32")
    errors = keras.ops.square(prediction - y)
    parts = {"front": keras.ops.mean(errors[:4]), "back": keras.ops.mean(errors[4:])}
    return parts, prediction


def twice(model: keras.Model, data: Any) -> Any:
    """A user's objective with a prediction: the model should not tell x from -x."""
    prediction = model(data[0], training=True)
    other = model(-data[0], training=True)
    apart = keras.ops.cast(keras.ops.abs(prediction - other), "float32")
    return keras.ops.mean(apart), prediction


def mean_of_absolutes(gradients: list[Any], variables: list[Any]) -> list[Any]:
    """A user's gradient transform: each gradient divided by its mean absolute value, plus one."""
    return [g / (1 + keras.ops.mean(keras.ops.abs(g))) for g in gradients]


Pair = tuple[Any, Callable[[Any], bool]]
"""A condition and a Python function of the callback that should come to the same."""


def _periodic(period: int, on: int) -> Pair:
    return when.batches % period < on, lambda callback: bool(callback.batches % period < on)


def _late(start: int) -> Pair:
    return when.batches >= start, lambda callback: bool(callback.batches >= start)


def _every(period: int) -> Pair:
    return when.every(period), lambda callback: bool(callback.batches % period == 0)


def _small(window: int, bound: float) -> Pair:
    def cond(callback: Any) -> bool:
        seen = [float(step["loss"]) for step in callback.history[-window:]]
        return bool(seen) and sum(seen) / len(seen) < bound

    return when.loss.mean(window) < bound, cond


def _second_epoch(least: int) -> Pair:
    def cond(callback: Any) -> bool:
        return bool(callback.epochs >= 1 and callback.batches_in_epochs >= least)

    return (when.epochs >= 1) & ~(when.batches_in_epochs < least), cond


def predicate_pairs() -> st.SearchStrategy[Pair]:
    """Graph predicates, each with its Python form."""
    return st.one_of(
        st.builds(_periodic, st.integers(1, 3), st.integers(0, 3)),
        st.builds(_late, st.integers(0, 4)),
        st.builds(_every, st.integers(1, 4)),
        st.builds(_small, st.integers(1, 5), st.sampled_from([0.0123, 0.2345, 0.6789])),
        st.builds(_second_epoch, st.integers(0, 3)),
    )


def condition_pairs() -> st.SearchStrategy[Pair]:
    """Conditions of both kinds, each with a Python form of it."""
    python = predicate_pairs().map(lambda pair: (pair[1], pair[1]))
    return st.one_of(predicate_pairs(), python)


def conditions() -> st.SearchStrategy[Any]:
    """Graph predicates and functions of the callback."""
    return condition_pairs().map(lambda pair: pair[0])


def _with_objective(drawn: tuple[Config, Any]) -> Config:
    branch, objective = drawn
    return {**_without(_without(branch, "loss"), "per_example"), "objective": objective}


def _accumulating(drawn: tuple[Config, int]) -> Config:
    branch, steps = drawn
    return {**_without(branch, "repeat"), "accumulate": steps}


def _at_rates(branch: Config) -> Config:
    """`branch`, with factors alone for an update by several optimizers."""
    grouped = isinstance(branch.get("optimizer"), dict)
    one = not isinstance(branch.get("learning_rate"), dict)
    return _without(branch, "learning_rate") if grouped and one else branch


def _of_examples(branch: Config) -> Config:
    """`branch`, with gradients of each example only where there are any, and at the weights."""
    if branch.get("loss", "") in (None, False):
        return _without(branch, "per_example")
    return _without(branch, "ascend") if "per_example" in branch else branch


def _weighing(branch: Config) -> Config:
    """`branch`, without weights of losses where it has none."""
    return _without(branch, "loss_weights") if branch.get("loss", "") in (None, False) else branch


def _without(branch: Config, left_out: str) -> Config:
    return {key: value for key, value in branch.items() if key != left_out}


def branches() -> st.SearchStrategy[Config]:
    """Any legal combination of the keys of one branch."""
    losses = st.sampled_from(
        [None, False, *_LOSSES, keras.losses.Huber(0.5), keras.losses.MeanSquaredError(), quartic]
    )
    bounds = st.sampled_from(
        [(-0.1, 0.1), (-0.01, 0.02), (-1, 1), (0.0, 0.5), {"norm": 0.3}, {"global_norm": 0.2}]
    )
    layers: Any = [True, False, _HIDDEN, [_HIDDEN, _OUTPUT], lambda m: m.layers[-1:]]
    selections = st.sampled_from([kernels, biases, first, "*kernel", [f"*{_HIDDEN}/*", "*bias"]])
    free = st.fixed_dictionaries(
        {},
        optional={
            "loss": losses,
            "loss_weights": st.sampled_from([0.5, 2.0, when.linear(0.5, 1.5, over=4)]),
            "regularize": st.sampled_from(layers),
            "clipping": bounds,
            "ascend": st.sampled_from([0.05, 0.5]),
            "per_example": st.sampled_from([{"clip": 0.5}, {"clip": 0.1, "noise": 0}]),
            "gradients": st.just(mean_of_absolutes),
            "optimizer": st.sampled_from(["sgd", "adam", {"*": "rmsprop"}]),
            "learning_rate": st.sampled_from([0.02, _FALLING, {"*": 0.5}]),
            "repeat": st.integers(1, 3),
            "inference": st.sampled_from([True, False, _HIDDEN, [_HIDDEN, _OUTPUT]]),
            "skip_nonfinite": st.booleans(),
            "average": st.sampled_from([{"decay": 0.5}, {"decay": 0.9}]),
        },
    )
    accumulating = st.tuples(free, st.integers(1, 3)).map(_accumulating)
    free = st.one_of(free, accumulating).map(_weighing).map(_at_rates).map(_of_examples)
    free = st.one_of(free, st.tuples(free, st.sampled_from([halves, twice])).map(_with_objective))
    chosen: st.SearchStrategy[Config] = st.one_of(
        st.just({}),
        selections.map(lambda function: {"variables": function}),
        selections.map(lambda function: {"excluded_variables": function}),
    )
    return st.builds(lambda a, b: {**a, **b}, free, chosen)


def _actions(conditions: st.SearchStrategy[Any]) -> st.SearchStrategy[Config]:
    action = st.one_of(
        st.fixed_dictionaries({"cond": conditions, True: branches()}),
        st.fixed_dictionaries({"cond": conditions, False: branches()}),
        st.fixed_dictionaries({"cond": conditions, True: branches(), False: branches()}),
    )
    names = st.lists(st.sampled_from(["gate", "delay", "sparse"]), min_size=1, unique=True)
    drawn = names.flatmap(lambda chosen: st.fixed_dictionaries(dict.fromkeys(chosen, action)))
    return drawn.map(lambda config: _averages(config, 1))


def _averages(config: Config, most: int) -> Config:
    """`config` with averages in so many branches: in the end one takes the place of a variable."""
    left = most
    found: Config = {}
    for name, action in config.items():
        found[name] = dict(action)
        for branch in (True, False):
            if "average" in action.get(branch, {}):
                left -= 1
                if left < 0:
                    found[name][branch] = _without(action[branch], "average")
    return found


def configs() -> st.SearchStrategy[Config]:
    """Configs of one to three actions, each with a True branch, a False branch or both."""
    return _actions(conditions())


def setups(pairs: st.SearchStrategy[Pair] | None = None) -> st.SearchStrategy[Setup]:
    """A model, how it is compiled, and a config for it, with conditions out of `pairs`."""

    def build(paired: Config, **settings: Any) -> Setup:
        if settings["optimizer"] == "averaged":  # by itself
            paired = _averages(paired, 0)
        config, twin = (
            {name: {**action, "cond": action["cond"][i]} for name, action in paired.items()}
            for i in (0, 1)
        )
        return Setup(config=config, twin=twin, **settings)

    regularizers = st.sampled_from(sorted(_REGULARIZERS))
    return st.builds(
        build,
        _actions(condition_pairs() if pairs is None else pairs),
        kind=st.sampled_from(["sequential", "functional", "subclassed"]),
        units=st.integers(1, 4),
        activation=st.sampled_from(["linear", "tanh", "softplus"]),
        kernel=regularizers,
        bias=regularizers,
        loss=st.sampled_from(_LOSSES),
        optimizer=st.sampled_from(sorted(_OPTIMIZERS)),
        metrics=st.booleans(),
    )

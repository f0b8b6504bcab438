"""The steps of the corpus, trained as configs: to the weights that they come to by hand.

By hand means eagerly, by the step's Python function as it stands in its module. Both draw the same
random numbers: one table hands them out, in the order in which they are asked for.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import verify
from loopctl import LoopControllerCallback
from tests.corpus import dp_sgd
from tests.corpus.case import Case
from tests.corpus.under_control import CONFIGS
from tests.grids import grid

STEPS = 20
WAYS: Mapping[str, dict[str, Any]] = {
    "one at a time": {"jit_compile": False},
    "five at once, by XLA": {"steps_per_execution": 5, "jit_compile": True},
}
# Of integers, (least, least that is too much): labels of CTC are no blanks.
RANGES = {"ctc": (1, 3), "ada_match": (0, 3), "cgan": (0, 3)}
# What rounding comes to behind a normalisation, elsewhere a millionth.
ROUNDED = {"ada_match": 5e-5, "barlow_twins": 5e-6}
# Batches of a config for one step by hand.
PARTS = {"accumulation": 4}


class Step(keras.Model):
    """A model that holds what a step trains, and does without a `call` where that is several."""

    def __init__(self, things: Mapping[str, Any]) -> None:
        super().__init__()
        for name, thing in things.items():
            setattr(self, name, thing)
        self.built = True

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.model(x, training=training)


class Draws:
    """What `tf.random` is asked for, out of tables: XLA draws otherwise than the eager loop."""

    def __init__(self) -> None:
        source = np.random.default_rng(3)
        self.drawn = tf.Variable(0)
        self.normals = tf.constant(source.normal(size=997), tf.float32)
        self.shares = tf.constant(source.uniform(0.001, 0.999, 991), tf.float32)

    def _next(self, table: Any, shape: Any) -> Any:
        shape = tf.convert_to_tensor(shape)
        count = tf.reduce_prod(shape)
        places = self.drawn.read_value() + tf.range(count)
        self.drawn.assign_add(count)
        return tf.reshape(tf.gather(table, places % table.shape[0]), shape)

    def normal(self, shape: Any, mean: float = 0.0, stddev: float = 1.0) -> Any:
        return mean + stddev * self._next(self.normals, shape)

    def uniform(self, shape: Any, minval: Any = 0, maxval: Any = 1, dtype: Any = tf.float32) -> Any:
        share = self._next(self.shares, shape)
        return tf.cast(minval + (maxval - minval) * share, dtype)

    def gamma(self, shape: Any, alpha: float) -> Any:
        return alpha * tf.exp(self._next(self.normals, shape))

    def shuffle(self, values: Any) -> Any:
        return tf.gather(values, tf.argsort(self._next(self.shares, tf.shape(values))))


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> Draws:
    found = Draws()
    for name in ("normal", "uniform", "gamma", "shuffle"):
        monkeypatch.setattr(tf.random, name, getattr(found, name))
    return found


def made(name: str) -> tuple[Case, dict[str, Any]]:
    """A fresh case, and the networks and variables it has, by name."""
    keras.utils.clear_session(free_memory=False)  # names as of the first models
    keras.utils.set_random_seed(5)
    case: Case = importlib.import_module(f"tests.corpus.{name}").case()
    found: dict[int, Any] = {}

    def look(thing: Any) -> None:
        if id(thing) in found:
            return
        found[id(thing)] = thing
        if isinstance(thing, list | tuple):
            for one in thing:
                look(one)
        elif inspect.isfunction(thing := getattr(thing, "python_function", thing)):
            for one in inspect.getclosurevars(thing).nonlocals.values():
                look(one)

    look(case.step)
    things = [t for t in found.values() if isinstance(t, keras.layers.Layer)]
    held = {id(v) for thing in things for v in thing.weights}
    alone = [
        t
        for t in found.values()
        if isinstance(t, keras.Variable) and id(t) not in held and t.trainable
    ]
    for layer in (part for thing in things for part in thing._flatten_layers()):
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0  # its masks are drawn by seeds of its own
    for optimizer in (t for t in found.values() if isinstance(t, keras.optimizers.Optimizer)):
        soften(optimizer)
    return case, {t.name: t for t in (*things, *alone)}


def soften(optimizer: Any) -> None:
    """Lets gradients that are rounding alone (of a bias before a normalisation) move nothing."""
    if hasattr(optimizer, "epsilon"):
        optimizer.epsilon = 1e-3


def batch_of(case: Case, name: str) -> tuple[Any, ...]:
    """Numbers for every step, (STEPS, batch, ...)."""
    source = np.random.default_rng(7)
    low, high = RANGES.get(name, (0, 2))
    found = []
    for spec in case.batch:
        shape = (STEPS, *(4 if n is None else n for n in spec.shape))
        numbers = source.integers(low, high, shape) if spec.dtype.is_integer else None
        numbers = source.uniform(0.05, 0.95, shape) if numbers is None else numbers
        if name == "mixup" and len(shape) == 3:
            numbers /= numbers.sum(-1, keepdims=True)  # chances
        found.append(numbers.astype(spec.dtype.as_numpy_dtype))
    return tuple(found)


def weights_of(things: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, thing in things.items():
        for variable in getattr(thing, "weights", [thing]):
            if variable.dtype == "float32":
                found[f"{name}: {variable.path}"] = np.asarray(variable)
    return found


def config_of(name: str, case: Case) -> dict[str, Any]:
    """The config, of the functions that say in the corpus what is meant."""
    meant = case.meant.get("objective", {})
    functions = meant.values() if isinstance(meant, Mapping) else [meant]

    def taking(function: Any) -> Any:
        return lambda _, data: function(*data) if isinstance(data, tuple) else function(data)

    objectives = [taking(function) for function in functions]
    return CONFIGS[name](*(objectives or [None]))


def controlled(
    name: str, **options: Any
) -> tuple[keras.Model, LoopControllerCallback, dict[str, Any], Any]:
    """A model of the case's networks, its control, the networks, and the data of all steps."""
    case, things = made(name)
    model, config, optimizer = Step(things), config_of(name, case), case.meant["optimizer"]
    for one in keras.tree.flatten([optimizer, config]):
        soften(one)
    model.compile("sgd" if isinstance(optimizer, dict) else optimizer, **options)
    batch = batch_of(case, name)
    if parts := PARTS.get(name):
        batch = tuple(x.reshape(parts * STEPS, -1, *x.shape[2:]) for x in batch)
    data = tf.data.Dataset.from_tensor_slices(batch if len(batch) > 1 else batch[0])
    return model, LoopControllerCallback(config), things, data


def by_hand(name: str) -> dict[str, Any]:
    case, things = made(name)
    step = case.step.python_function
    for batch in zip(*batch_of(case, name), strict=True):
        step(*map(tf.convert_to_tensor, batch))
    return weights_of(things)


@pytest.mark.parametrize(("name", "way"), grid([*CONFIGS], [*WAYS]))
def test_a_config_trains_as_by_hand(
    name: str, way: str, draws: Draws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dp_sgd, "NOISE", 0.0)  # drawn by control itself: see test_per_example
    expected = by_hand(name)
    draws.drawn.assign(0)
    model, callback, things, data = controlled(name, **WAYS[way])
    before = weights_of(things)
    model.fit(data, verbose=0, shuffle=False, callbacks=[callback])
    moved = 0
    for path, weights in weights_of(things).items():
        close = ROUNDED.get(name, 1e-6)
        np.testing.assert_allclose(weights, expected[path], rtol=close, atol=close, err_msg=path)
        moved += not np.array_equal(weights, before[path])
    assert moved


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_is_verified(name: str) -> None:
    model, callback, _, data = controlled(name)
    callback.attach(model)
    verify.assert_config(model, callback, next(iter(data)))

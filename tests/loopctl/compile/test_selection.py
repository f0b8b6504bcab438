"""Selections of variables and layers: functions and globs, evaluated once."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from loopctl import ConfigError, LoopControllerCallback, when
from loopctl.compile.selection import layers_of, statistics_of

Data = tuple[Any, Any]


def attach(model: keras.Model, **branch: Any) -> LoopControllerCallback:
    config = {"gate": {"cond": when.always, True: branch}}
    return LoopControllerCallback(config).attach(model)


@pytest.fixture
def model() -> keras.Model:
    """Two blocks of a regularised layer and a normalised one, nested, and a head."""

    def block(name: str) -> keras.Model:
        inputs = keras.Input((3,))
        hidden = keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(1.0), name="hidden")
        normal = keras.layers.BatchNormalization(name="normal")
        return keras.Model(inputs, normal(hidden(inputs)), name=name)

    inputs = keras.Input((3,))
    head = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(1.0), name="head")
    built = keras.Model(inputs, head(block("below")(block("above")(inputs))))
    built.compile("sgd", "mse")
    return built


def trained(callback: LoopControllerCallback) -> list[str]:
    return [variable.path for variable in callback.steps.selections["gate_on"]]


def test_globs_over_paths(model: keras.Model) -> None:
    assert trained(attach(model, variables="head/*")) == ["head/kernel", "head/bias"]
    paths = trained(attach(model, variables=["*kernel", "head/bias"]))
    assert sorted(path.split("/")[-1] for path in paths) == ["bias", *["kernel"] * 3]
    rest = trained(attach(model, excluded_variables=["*gamma", "*beta"]))
    assert not any("gamma" in path or "beta" in path for path in rest)


@pytest.mark.parametrize("key", ["variables", "excluded_variables"])
def test_a_glob_that_matches_nothing(key: str, model: keras.Model) -> None:
    with pytest.raises(ConfigError) as error:
        attach(model, **{key: ["head/*", "haed/bias"]})
    text = str(error.value)
    assert text.startswith(f'config["gate"][True]["{key}"]: \'haed/bias\' matches no trainable')
    assert text.endswith("Did you mean 'head/bias'?")


def test_a_selection_is_evaluated_once(model: keras.Model, data: Data) -> None:
    calls: list[keras.Model] = []

    def head(m: keras.Model) -> list[Any]:
        calls.append(m)
        return list(m.get_layer("head").trainable_variables)

    callback = attach(model, variables=head)
    model.fit(*data, epochs=2, verbose=0, callbacks=[callback])
    assert calls == [model]


def penalty(model: keras.Model, data: Data, regularize: Any) -> float:
    """The loss of a substep that has no other."""
    callback = attach(model, loss=None, regularize=regularize)
    value = float(model.gate_on(tuple(part[:4] for part in data)))
    callback.release()
    return value


def test_regularisation_by_layer(model: keras.Model, data: Data) -> None:
    model.optimizer.learning_rate = 0.0
    head = float((model.get_layer("head").kernel.numpy() ** 2).sum())
    blocks = [
        float((model.get_layer(name).get_layer("hidden").kernel.numpy() ** 2).sum())
        for name in ("above", "below")
    ]
    for regularize, expected in [
        (True, head + sum(blocks)),
        ("head", head),
        (["he*"], head),
        (["above"], blocks[0]),
        (["above", "hidden"], sum(blocks)),
        (lambda m: [m.get_layer("below"), m.get_layer("below").get_layer("hidden")], blocks[1]),
    ]:
        assert penalty(model, data, regularize) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("regularize", "message"),
    [
        ("haed", "'haed' matches no layer. There are .*head.* Did you mean 'head'?"),
        (lambda m: [], r"returned \[\]: a list of the model's layers is needed"),
        (lambda m: m, "a list of the model's layers is needed"),
        (
            lambda m: [keras.layers.Dense(1, name="stranger")],
            "returned stranger, which is not a layer",
        ),
    ],
)
def test_layers_that_are_not_there(regularize: Any, message: str, model: keras.Model) -> None:
    with pytest.raises(ConfigError, match=message):
        attach(model, regularize=regularize)


def test_the_private_list_of_layers_is_where_we_look_for_it(model: keras.Model) -> None:
    names = sorted(layer.name for layer in layers_of(model))
    assert [name for name in names if name in ("above", "below", "head", "hidden")] == [
        "above",
        "below",
        "head",
        "hidden",
        "hidden",
    ]


# -- moving statistics ----------------------------------------------------------------------------


def test_statistics_are_floating_state(model: keras.Model) -> None:
    assert {v.name for v in statistics_of(model)} == {"moving_mean", "moving_variance"}


TWICE = {
    "both": {"cond": when.always, True: {}, False: {}},
    "again": {"cond": when.always, True: {"loss": "mae"}},
}


@pytest.mark.parametrize(
    ("config", "moves"),
    [
        (TWICE, 1),
        ({"one": {"cond": when.always, True: {"repeat": 3}}}, 1),
        ({"a": {"cond": when.always, True: {}}, "b": {"cond": when.always, True: {}}}, 1),
        ({"a": {"cond": when.every(99), False: {}}, "b": {"cond": when.always, True: {}}}, 1),
        ({"a": {"cond": when.every(99), True: {}}, "b": {"cond": ~when.always, False: {}}}, 1),
        ({**TWICE, "again": {"cond": when.always, True: {"update_statistics": True}}}, 2),
        ({"a": {"cond": when.always, True: {"update_statistics": False}}}, 0),
    ],
)
def test_statistics_move_once_per_train_step(config: Any, moves: int, data: Data) -> None:
    """With a learning rate of zero, every move goes the same way towards the batch's mean."""
    inputs = keras.Input((3,))
    normal = keras.layers.BatchNormalization(momentum=0.5, name="normal")
    dropped = keras.layers.Dropout(0.5)(normal(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1, kernel_regularizer="l2")(dropped))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x = data[0][:4] + 3
    callback = LoopControllerCallback(config)
    model.fit(x, data[1][:4], verbose=0, callbacks=[callback])
    expected = x.mean(axis=0) * (1 - 0.5**moves)
    np.testing.assert_allclose(normal.moving_mean.numpy(), expected, rtol=1e-4)


def test_random_numbers_differ_between_substeps(data: Data) -> None:
    """Their generator's state moves on in every substep, though statistics do not."""
    masks: list[Any] = []

    def keep(y_true: Any, y_pred: Any) -> Any:
        masks.append(y_pred)
        return keras.ops.mean(y_pred * y_true, axis=-1)

    inputs = keras.Input((3,))
    normal = keras.layers.BatchNormalization(center=False, scale=False)(inputs)
    outputs = keras.layers.Dense(64, use_bias=False, kernel_initializer="ones")(normal)
    model = keras.Model(inputs, keras.layers.Dropout(0.5)(outputs))
    model.compile("sgd", "mse", run_eagerly=True)
    config = {name: {"cond": when.always, True: {"loss": keep}} for name in ("one", "two", "three")}
    y = np.zeros((4, 64), "float32")
    model.fit(data[0][:4], y, verbose=0, callbacks=[LoopControllerCallback(config)])
    zeros = [np.asarray(mask) == 0 for mask in masks]
    assert not any((zeros[i] == zeros[j]).all() for i, j in ((0, 1), (0, 2), (1, 2)))

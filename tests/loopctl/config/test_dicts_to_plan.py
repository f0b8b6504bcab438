"""Bad configs: one error of ours, naming the place; the model stays as it was."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from loopctl import ConfigError, LoopControllerCallback, when
from tests.grids import grid


def cond(callback: LoopControllerCallback) -> bool:
    return True


def branch(**settings: Any) -> dict[str, Any]:
    return {"gate": {"cond": cond, True: settings}}


def nothing(model: keras.Model) -> list[Any]:
    return []


BAD = [
    ({}, "config is empty"),
    ([], "config is []: a dict is needed"),
    ({"gate": None}, 'config["gate"] is None: a dict is needed'),
    ({"two words": {"cond": cond, True: {}}}, "an identifier such as 'gate' is needed"),
    ({"class": {"cond": cond, True: {}}}, "'class' can't name an action"),
    ({7: {"cond": cond, True: {}}}, "7 can't name an action"),
    ({"fit": {"cond": cond, True: {}}}, "'fit' shadows an attribute of keras.Model"),
    ({"train": {"cond": cond, True: {}}, "loss": {"cond": cond, True: {}}}, "'loss' shadows"),
    ({"gate": {True: {}}}, 'config["gate"] has no "cond"'),
    (
        {"gate": {"cond": True, True: {}}},
        'config["gate"]["cond"] is True: a graph predicate, such as',
    ),
    ({"gate": {"cond": True, True: {}}}, "Did you mean when.always?"),
    ({"gate": {"cond": "epochs > 3", True: {}}}, "Did you mean when.parse('epochs > 3')?"),
    (
        {"gate": {"cond": when.batches % 2, True: {}}},
        "is when.batches % 2, a number: compare it with something, as in when.batches % 2 < 1",
    ),
    ({"gate": {"cond": cond}}, 'config["gate"] has no branch: True, False or both are needed'),
    (
        {"gate": {"cond": cond, "True": {}}},
        "unknown key 'True': allowed are 'cond', True, False. Did you mean True?",
    ),
    ({"gate": {"cond": cond, 1: {}}}, "unknown key 1"),
    ({"gate": {"cnd": cond, True: {}}}, "Did you mean 'cond'?"),
    ({"gate": {"cond": cond, True: None}}, 'config["gate"][True] is None: a dict is needed'),
    (branch(cliping=(0, 1)), "Did you mean 'clipping'?"),
    (branch(optimizer="adamm"), "'adamm', which is not a Keras optimizer. Did you mean 'Adam'?"),
    (branch(optimizer=keras.optimizers.Adam), "an instance is needed, e.g. Adam()"),
    (branch(optimizer=3), 'config["gate"][True]["optimizer"] is 3'),
    (branch(loss="mse", objective=nothing), 'config["gate"][True] has both "loss" and "objective"'),
    (branch(objective="mse"), 'config["gate"][True]["objective"] is \'mse\': a callable is needed'),
    (branch(repeat=0), 'config["gate"][True]["repeat"] is 0: a whole number of at least 1'),
    (branch(accumulate=0), 'config["gate"][True]["accumulate"] is 0: a whole number of at least 1'),
    (branch(accumulate=2, repeat=2), 'config["gate"][True] has both "repeat" and "accumulate"'),
    (branch(average=0.9), '["average"] is 0.9: a dict such as {"decay": 0.999} is needed'),
    (branch(average={"decay": 1}), '["average"]["decay"] is 1: a number from 0 to below 1'),
    (branch(average={"start": None}), '["average"]["decay"] is None: a number from 0 to below 1'),
    (branch(average={"decay": 0.9, "int": "a"}), "unknown key 'int': allowed are 'decay', 'start'"),
    (branch(average={"decay": 0.9, "start": cond}), "a graph predicate such as when.epochs >= 1"),
    (branch(average={"decay": 0.9, "into": 3}), '["average"]["into"] is 3: a layer or model, its'),
    (branch(average={"decay": 0.9, "of": "a"}), '["average"] has "of", but not "into"'),
    (
        branch(learning_rate=-0.1),
        '["learning_rate"] is -0.1: a number of at least 0, a schedule of',
    ),
    (branch(learning_rate=cond), "a value of `when` such as when.linear(0.1, 0.0, over=1000)"),
    (branch(learning_rate={}), '["learning_rate"] is {}: at least one glob is needed'),
    (branch(learning_rate={3: 1.0}), '["learning_rate"] has the key 3: a glob such as'),
    (branch(learning_rate={"*": True}), "[\"learning_rate\"]['*'] is True: a factor is needed"),
    (branch(learning_rat=0.1), "Did you mean 'learning_rate'?"),
    (branch(loss_weights=[]), '["loss_weights"] is []: at least one weight is needed'),
    (branch(loss_weights={0: 1.0}), '["loss_weights"] has the key 0: the name of an output'),
    (branch(loss_weights=["1"]), "[\"loss_weights\"][0] is '1': a finite number, a value of"),
    (branch(loss_weights=float("nan")), '["loss_weights"] is nan: a finite number'),
    (branch(loss_weights=1, loss=None), 'has no loss to apply to: "loss" is None'),
    (branch(loss_weights=[1], objective=nothing), "but parts of an objective have names: a dict"),
    (branch(skip_nonfinite=1), '["skip_nonfinite"] is 1: True or False is needed'),
    (branch(optimizer={}), '["optimizer"] is {}: at least one glob with its optimizer'),
    (branch(optimizer={1: "sgd"}), '["optimizer"] has the key 1: a glob such as'),
    (branch(optimizer={"*": "adamm"}), "[\"optimizer\"]['*'] is 'adamm', which is not a Keras opt"),
    (branch(optimizer={"clas_name": {}}), "are needed. Did you mean 'class_name'?"),
    (
        branch(optimizer={"*": "sgd"}, learning_rate=0.1),
        '["learning_rate"] is 0.1, one rate for the 1 of "optimizer": set theirs, or give factors',
    ),
    (branch(ascend=0), '["ascend"] is 0: a positive radius, such as 0.05, a value of `when`, or'),
    (branch(per_example=1.0), '["per_example"] is 1.0: a dict such as {"clip": 1.0, "noise": 1.1}'),
    (branch(per_example={}), '["per_example"]["clip"] is None: a positive number, such as 1.0, or'),
    (branch(per_example={"clip": 0}), '["per_example"]["clip"] is 0: a positive number'),
    (branch(per_example={"clip": 1, "noise": -1}), '["noise"] is -1: a number of at least 0'),
    (
        branch(per_example={"clip": 1, "nois": 1}),
        "unknown key 'nois': allowed are 'clip', 'noise'. Did you mean 'noise'?",
    ),
    (branch(per_example={"clip": 1}, loss=None), 'no loss of an example: "loss" is None'),
    (
        branch(per_example={"clip": 1}, ascend=0.1),
        'both "per_example" and "ascend": grad',
    ),
    (
        branch(per_example={"clip": 1}, objective=nothing),
        'both "per_example" and "objective": an objective is of a batch, and may mix its examples',
    ),
    (branch(inference=1), 'config["gate"][True]["inference"] is 1: True, False, a list of layers'),
    (
        branch(inference=True, update_statistics=True),
        '"update_statistics": True: leave one out, or name the layers that are to run in '
        "inference mode",
    ),
    (branch(repeat=True), 'config["gate"][True]["repeat"] is True'),
    (branch(gradients="clip"), 'config["gate"][True]["gradients"] is \'clip\': a callable is'),
    (branch(update_statistics=None), '["update_statistics"] is None: True or False is needed'),
    (branch(variables=nothing, excluded_variables=nothing), 'has both "variables" and'),
    (
        branch(variables=[]),
        'config["gate"][True]["variables"] is []: a function of the model, a glob',
    ),
    (branch(variables=[3]), 'config["gate"][True]["variables"] is [3]: a function'),
    (branch(regularize=1), 'config["gate"][True]["regularize"] is 1: True, False, a list'),
    (
        branch(clipping=(0.1, -0.1)),
        'config["gate"][True]["clipping"] is (0.1, -0.1): the lower '
        "bound must be below the upper one. Did you mean (-0.1, 0.1)?",
    ),
    (branch(clipping=(1, 1)), "the lower bound must be below the upper one."),
    (branch(clipping={"globl_norm": 1, "x": 2}), "Did you mean 'global_norm'?"),
    (branch(clipping=(0, float("inf"))), "both bounds must be finite numbers"),
    (branch(clipping=("a", 1)), "both bounds must be finite numbers"),
    (branch(clipping=0.1), "a pair (lo, hi), e.g. (-0.1, 0.1), "),
    (branch(clipping=0.1), 'Did you mean {"norm": 0.1} or (-0.1, 0.1)?'),
    (branch(clipping={"nrm": 1.0}), "unknown key 'nrm': allowed are 'norm' and 'global_norm'. Did"),
    (branch(clipping={"norm": 1.0, "global_norm": 1}), 'one of "norm" and "global_norm" is needed'),
    (branch(clipping={"norm": 0}), '["clipping"]["norm"] is 0: a positive number is needed'),
    (branch(clipping={"norm": -0.5}), "is -0.5: a positive number is needed"),
    (branch(clipping={"norm": -1}), '["clipping"]["norm"] is -1: a positive number is needed'),
    (branch(loss="mean_squared_eror"), "Did you mean 'mean_squared_error'?"),
    (branch(loss=3), 'config["gate"][True]["loss"] is 3'),
    (branch(loss=True), 'config["gate"][True]["loss"] is True'),
    (branch(loss=keras.losses.Huber), "an instance is needed, e.g. Huber()"),
    (branch(loss=[None, None]), "has no loss for any output"),
    (branch(loss=["mse", 3]), 'config["gate"][True]["loss"][1] is 3'),
]


@pytest.mark.parametrize(("config", "message"), BAD)
def test_a_bad_config_is_refused_at_construction(config: Any, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        LoopControllerCallback(config)
    assert message in str(error.value)


def test_bounds_that_are_equal_have_no_closest_spelling() -> None:
    with pytest.raises(ConfigError) as error:
        LoopControllerCallback(branch(clipping=(1, 1)))
    assert "Did you mean" not in str(error.value)


@pytest.mark.parametrize(
    ("async_config", "message"),
    [
        ({"stop": {"callback": cond}}, 'async_config["stop"] has no "cond"'),
        ({"stop": {"cond": cond}}, '"model", "callback" or both are needed'),
        ({"stop": {"cond": cond, "modle": cond}}, "Did you mean 'model'?"),
        ({"stop": {"cond": cond, "model": cond, "when": "epoch"}}, "Did you mean 'epoch_end'?"),
        ({"stop": {"cond": cond, "model": cond, "reset_optimizer": 1}}, "True or False is needed"),
        ({"stop": {"cond": cond, "model": 1}}, 'async_config["stop"]["model"] is 1'),
        (3, "async_config is 3: a dict is needed"),
    ],
)
def test_a_bad_async_config_is_refused(async_config: Any, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        LoopControllerCallback(branch(), async_config)
    assert message in str(error.value)


STRANGER = keras.Variable(1.0, name="stranger")

UNFIT = [
    (branch(variables=nothing), 'config["gate"][True]["variables"] leaves no variable'),
    (branch(excluded_variables=lambda m: m.trainable_variables), "leaves no variable"),
    (branch(variables=lambda m: m.layers[0].kernel), "a list of the model's variables is needed"),
    (branch(variables=lambda m: [STRANGER]), "which is not a variable of model"),
    (branch(excluded_variables=lambda m: [STRANGER]), 'config["gate"][True]["excluded_variables"]'),
    (branch(variables=lambda m: m.non_trainable_variables), "which is not trainable"),
    ({"count": {"cond": cond, True: {}}}, "'count' shadows an attribute of model"),
    ({"mae": {"cond": cond, True: {}}}, "'mae' is already a name in the logs of fit"),
    ({"a": {"cond": cond, True: {}}, "loss_a": {"cond": cond, True: {}}}, "'loss_a' is a name in"),
]


@pytest.mark.parametrize(("unfit", "way"), grid(UNFIT, ["attach", "fit"]))
def test_a_plan_that_does_not_fit_leaves_the_model_untouched(
    unfit: tuple[Any, str], way: str, model: keras.Model, data: tuple[Any, Any]
) -> None:
    config, message = unfit
    model.layers[1].bias.trainable = False
    model.count = 3
    model.compile("sgd", "mse", metrics=[keras.metrics.MeanAbsoluteError(name="mae")])
    model.evaluate(*data, verbose=0)  # metrics exist from here on
    before, weights = set(vars(model)), model.get_weights()
    callback = LoopControllerCallback(config)
    control = {
        "attach": lambda: callback.attach(model),
        "fit": lambda: model.fit(*data, verbose=0, callbacks=[callback]),
    }
    with pytest.raises(ConfigError) as error:
        control[way]()
    assert message in str(error.value)
    of_keras = {"history", "_eval_epoch_iterator"}  # set by any fit
    assert set(vars(model)) - of_keras == before - of_keras
    assert not model.optimizer.built
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("outcome", [None, 1, "yes", [True], np.array([True]), tf.constant(1)])
def test_a_condition_must_return_a_bool(
    outcome: Any, model: keras.Model, data: tuple[Any, Any]
) -> None:
    callback = LoopControllerCallback({"gate": {"cond": lambda self: outcome, True: {}}})
    with pytest.raises(ConfigError, match=r'config\["gate"\]\["cond"\] returned'):
        model.fit(*data, verbose=0, callbacks=[callback])
    assert not hasattr(model, "control_variables")


@pytest.mark.parametrize("outcome", [True, np.True_, tf.constant(True)])
def test_booleans_of_numpy_and_tensorflow_are_bools(
    outcome: Any, model: keras.Model, data: tuple[Any, Any]
) -> None:
    callback = LoopControllerCallback({"gate": {"cond": lambda self: outcome, True: {}}})
    model.fit(*data, verbose=0, callbacks=[callback])
    assert callback.history[-1]["gate"] is True


def test_unbuilt_and_uncompiled_models_are_refused() -> None:
    callback = LoopControllerCallback(branch())
    unbuilt = keras.Sequential([keras.layers.Dense(1)])
    with pytest.raises(ConfigError, match="is not compiled"):
        callback.attach(unbuilt)
    unbuilt.compile("sgd", "mse")
    with pytest.raises(ConfigError, match="has no variables yet"):
        callback.attach(unbuilt)
    frozen = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, trainable=False)])
    frozen.compile("sgd", "mse")
    with pytest.raises(ConfigError, match="has no trainable variable"):
        callback.attach(frozen)


def test_a_metric_that_is_named_like_an_action_is_found_when_fit_begins(
    model: keras.Model, data: tuple[Any, Any]
) -> None:
    weights = model.get_weights()
    callback = LoopControllerCallback({"mae": {"cond": cond, True: {}}})
    with pytest.raises(ConfigError, match="'mae' is already a name in the logs of fit"):
        model.fit(*data, verbose=0, callbacks=[callback])
    assert not hasattr(model, "control_variables")
    assert not hasattr(model, "mae_on")
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)

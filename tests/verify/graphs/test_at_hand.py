"""Loss objects that a step's function has at hand, wherever it has them from."""

from __future__ import annotations

import functools
from typing import Any

import keras
import tensorflow as tf

from loopctl import LoopControllerCallback, when
from verify.graphs.at_hand import losses_at_hand, optimizers_at_hand

HUBER = keras.losses.Huber(2.0)
POISSON = keras.losses.Poisson()


def by_global(y: Any, prediction: Any) -> Any:
    return HUBER(y, prediction)


def by_global_within(y: Any, prediction: Any) -> Any:
    def judged() -> Any:
        return HUBER(y, prediction)

    return tf.cond(tf.reduce_any(y > 0), judged, lambda: POISSON(y, prediction))


def outer(loss: Any) -> Any:
    inner = tf.function(lambda y, prediction: loss["head"](y, prediction))
    return tf.function(lambda y, prediction: inner(y, prediction))


class Trainer(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.losses = [POISSON]

    @tf.function
    def step(self, y: Any, prediction: Any) -> Any:
        return self.losses[0](y, prediction)


def test_globals_closures_and_what_a_method_is_of() -> None:
    assert losses_at_hand(by_global, None) == (HUBER,)
    assert {*losses_at_hand(by_global_within, None)} == {HUBER, POISSON}
    assert losses_at_hand(outer({"head": POISSON}), None) == (POISSON,)
    trainer = Trainer()
    assert losses_at_hand(trainer.step, None) == (POISSON,)
    bound = functools.partial(lambda loss, y, prediction: loss(y, prediction), HUBER)
    assert losses_at_hand(bound, None) == (HUBER,)


def test_attributes_of_a_model() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.adversarial = POISSON
    assert POISSON in losses_at_hand(model, model)


def fourth(y: Any, prediction: Any) -> Any:
    return keras.ops.mean((y - prediction) ** 4, -1)


def test_losses_of_a_config() -> None:
    for loss in (HUBER, fourth):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        config = {"odd": {"cond": when.always, True: {"loss": loss}}}
        LoopControllerCallback(config).attach(model)
        assert loss in losses_at_hand(model.odd_on, model)


def test_what_has_no_function_of_python_has_none() -> None:
    assert losses_at_hand(tf.Graph(), None) == ()
    assert losses_at_hand(None, None) == ()


# -- optimizers ----------------------------------------------------------------------------------


def small() -> keras.Model:
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])


def built(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    optimizer.build(small().trainable_variables)
    return optimizer


SGD = built(keras.optimizers.SGD(0.1))


class Optimized(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.optimizers = {"generator": SGD}

    @tf.function
    def step(self, gradients: Any) -> None:
        self.optimizers["generator"].apply(gradients)


def test_optimizers_in_closures_globals_and_what_a_method_is_of() -> None:
    held = {"generator": SGD}
    assert optimizers_at_hand(lambda gradients: SGD.apply(gradients), None) == (SGD,)
    assert optimizers_at_hand(lambda gradients: held["generator"].apply(gradients), None) == (SGD,)
    assert optimizers_at_hand(Optimized().step, None) == (SGD,)
    bound = functools.partial(lambda optimizer, gradients: optimizer.apply(gradients), SGD)
    assert optimizers_at_hand(bound, None) == (SGD,)


def test_optimizers_of_a_model_come_first() -> None:
    model = small()
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    model.second = SGD
    assert optimizers_at_hand(lambda gradients: None, model) == (model.optimizer, SGD)


def test_an_optimizer_that_was_not_built_has_updated_nothing() -> None:
    fresh = keras.optimizers.SGD(0.1)
    assert optimizers_at_hand(lambda gradients: fresh.apply(gradients), None) == ()


def test_optimizers_that_another_one_hands_its_gradients_to() -> None:
    inner = keras.optimizers.Adam(0.1)
    scaling = built(keras.optimizers.LossScaleOptimizer(inner))
    assert optimizers_at_hand(lambda gradients: scaling.apply(gradients), None) == (inner,)

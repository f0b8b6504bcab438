"""Twins of the rules about what is made of gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tests.verify.rules.trained_twins import right
from tests.verify.rules.twin import (
    MSE,
    Make,
    Target,
    Twins,
    by_hand,
    compiled,
    descend,
    network,
)

SGD, Adam = keras.optimizers.SGD, keras.optimizers.Adam
Treat = Callable[[Any], Any]


def trained_by(optimizer: Callable[[], Any], keras_own: bool = False) -> Make:
    def make() -> Target:
        return compiled(optimizer=optimizer()) if keras_own else by_hand(optimizer=optimizer())

    return make


def treated(treat: Treat) -> Make:
    return lambda: by_hand(treat=lambda gradients: [treat(g) for g in gradients])


def dropped(treat: Treat) -> Make:
    def both(gradients: list[Any]) -> list[Any]:
        for gradient in gradients:
            treat(gradient)
        return gradients

    return lambda: by_hand(treat=both)


def decayed(share: float, among: int | None = None) -> Make:
    """All variables, or the first ones alone, are trained; each gets `share` of itself added."""

    def make() -> Target:
        net = network()

        def apply(gradients: list[Any], variables: list[Any]) -> None:
            for variable in net.trainable_variables:
                variable.assign_add(share * variable)
            descend(gradients, variables)

        return by_hand(net, apply=apply, variables=lambda model: model.trainable_variables[:among])

    return make


def ascends(gradients: list[Any], variables: list[Any]) -> None:
    descend(gradients, variables, -0.1)


def scaled(undo: bool = True, early: bool = False, multiply: bool = True) -> Make:
    def make() -> Target:
        scale = tf.Variable(1024.0, trainable=False)

        def loss(y: Any, p: Any) -> Any:
            return MSE(y, p) * scale if multiply else MSE(y, p)

        def treat(gradients: list[Any]) -> list[Any]:
            if early:
                gradients = [tf.clip_by_value(g, -0.1, 0.1) for g in gradients]
            made = [g / scale if undo else g for g in gradients]
            finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(g)) for g in made])
            scale.assign(scale * tf.where(finite, 1.0, 0.5))
            return made if early else [tf.clip_by_value(g, -0.1, 0.1) for g in made]

        return by_hand(loss=loss, treat=treat)

    return make


def accumulated(empty: Any = tf.zeros_like, used: bool = True) -> Make:
    def make() -> Target:
        net = network()
        sums = [tf.Variable(tf.zeros(v.shape), trainable=False) for v in net.trainable_variables]
        calls = tf.Variable(0, trainable=False)

        def apply(gradients: list[Any], variables: list[Any]) -> None:
            for total, gradient in zip(sums, gradients, strict=True):
                total.assign_add(gradient)
            calls.assign_add(1)

            def update() -> int:
                descend([total / 2.0 for total in sums] if used else gradients, variables)
                for total in sums:
                    if empty is not None:
                        total.assign(empty(total))
                return 0

            tf.cond(tf.equal(calls % 2, 0), update, lambda: 0)

        return by_hand(net, apply=apply)

    return make


def counted(more: int) -> Make:
    """Adam, whose `iterations` are counted so many times more."""

    def make() -> Target:
        net, adam = network(), Adam(0.1)

        def apply(gradients: list[Any], variables: list[Any]) -> None:
            adam.apply(gradients, variables)
            for _ in range(more):
                adam.iterations.assign_add(1)

        return by_hand(net, apply=apply, optimizer=adam)

    return make


def not_counted() -> Target:
    net, adam = network(), Adam(0.1)

    def apply(gradients: list[Any], variables: list[Any]) -> None:
        for gradient, variable in zip(gradients, variables, strict=True):
            adam.update_step(gradient, variable, tf.constant(0.1))

    return by_hand(net, apply=apply, optimizer=adam)


def beside() -> Target:
    """A descent by hand, at the rate of an optimizer that is at hand and not used."""
    net, sgd = network(), SGD(0.1)

    def apply(gradients: list[Any], variables: list[Any]) -> None:
        if sgd.built:
            descend(gradients, variables)

    return by_hand(net, apply=apply, optimizer=sgd)


def scheduled() -> Target:
    """Goes by a count that nothing counts."""
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    net, sgd = network(), SGD(rate)

    def apply(gradients: list[Any], variables: list[Any]) -> None:
        for gradient, variable in zip(gradients, variables, strict=True):
            sgd.update_step(gradient, variable, rate(sgd.iterations))

    return by_hand(net, apply=apply, optimizer=sgd)


TWINS = (
    Twins("V201", right, (trained_by(lambda: SGD(0.0)), trained_by(lambda: Adam(0.0), True))),
    Twins(
        "V202",
        lambda: by_hand(apply=descend),
        (
            lambda: by_hand(apply=ascends),
            lambda: by_hand(loss=lambda y, p: -MSE(y, p)),
            treated(lambda g: -g),
        ),
    ),
    Twins("V203", treated(tf.sign), (treated(tf.abs), treated(lambda g: g * g))),
    Twins(
        "V204",
        treated(lambda g: tf.clip_by_norm(g, 1.0)),
        (
            dropped(lambda g: tf.clip_by_norm(g, 1.0)),
            dropped(lambda g: tf.clip_by_value(g, -1.0, 1.0)),
        ),
    ),
    Twins(
        "V205",
        treated(lambda g: tf.clip_by_value(g, -0.1, 0.1)),
        (
            treated(lambda g: tf.clip_by_value(g, 0.1, 1.0)),
            treated(lambda g: tf.minimum(tf.maximum(g, -1.0), -0.1)),
        ),
    ),
    Twins("V206", decayed(-0.01), (decayed(0.01),)),
    Twins("V207", scaled(), (scaled(undo=False), scaled(multiply=False))),
    Twins("V208", accumulated(), (accumulated(empty=None), accumulated(empty=tf.ones_like))),
    Twins("V209", counted(0), (counted(1), not_counted)),
    Twins("V209", beside, (scheduled,)),
    Twins(
        "V210",
        trained_by(lambda: SGD(0.1, momentum=0.9)),
        (
            trained_by(lambda: SGD(0.1, momentum=1.0)),
            trained_by(lambda: SGD(0.1, momentum=1.0), True),
        ),
    ),
    Twins(
        "V211",
        trained_by(lambda: SGD(0.1, weight_decay=0.1)),
        (
            trained_by(lambda: SGD(0.1, weight_decay=20.0)),
            trained_by(lambda: keras.optimizers.AdamW(1.0, weight_decay=1.0), True),
        ),
    ),
    Twins("V212", decayed(-0.02), (decayed(-0.01, 2),)),
    Twins("V213", accumulated(tf.zeros_like), (accumulated(used=False),)),
    Twins("V214", scaled(True), (scaled(early=True),)),
)

"""Twins of the rules about what a step trains at all."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.verify.rules.twin import (
    MSE,
    Make,
    Target,
    Twins,
    built,
    by_hand,
    compiled,
    descend,
    network,
)


def right() -> Target:
    return by_hand()


def all_frozen() -> Target:
    net = network()
    net.trainable = False
    return compiled(net)


def not_applied() -> Target:
    return by_hand(apply=lambda gradients, variables: None)


def times_zero() -> Target:
    return by_hand(treat=lambda gradients: [0.0 * g for g in gradients], apply=descend)


def reset(after: bool) -> Make:
    """A kernel is set to zeros before, or after, its update."""

    def make() -> Target:
        net = network()
        kernel = net.get_layer("head").kernel

        def zeros(*_: Any) -> None:
            kernel.assign(tf.zeros_like(kernel))

        if after:
            return by_hand(net, after=zeros)
        return by_hand(net, call=lambda model, x: (zeros(), model(x))[1])

    return make


def taken_back() -> Target:
    """Each variable is put back to what it was: a probing step that never ends."""

    def apply(gradients: list[Any], variables: list[Any]) -> None:
        for gradient, variable in zip(gradients, variables, strict=True):
            step = 0.1 * gradient
            variable.assign_sub(step)
            variable.assign_add(step)

    return by_hand(apply=apply)


def chosen(flag: Any) -> Make:
    def make() -> Target:
        def apply(gradients: list[Any], variables: list[Any]) -> None:
            def update() -> int:
                descend(gradients, variables)
                return 0

            tf.cond(flag(), update, lambda: 0)

        return by_hand(apply=apply)

    return make


SWITCH = tf.Variable(True, trainable=False)


def twice() -> Target:
    def apply(gradients: list[Any], variables: list[Any]) -> None:
        descend(gradients, variables)
        descend(gradients, variables)

    return by_hand(apply=apply)


def by_two_optimizers() -> Target:
    net = network()
    other = built(keras.optimizers.Adam(), net.trainable_variables)
    first = built(keras.optimizers.SGD(), net.trainable_variables)

    def apply(gradients: list[Any], variables: list[Any]) -> None:
        first.apply(gradients, variables)
        other.apply(gradients, variables)

    return by_hand(net, apply=apply)


def square(order: tuple[int, ...]) -> Make:
    """Two layers of one shape, with gradients in some order."""

    def make() -> Target:
        layers = [keras.layers.Dense(4, "tanh") for _ in range(2)]
        net = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(1)])
        return by_hand(net, treat=lambda g: [g[i] for i in order])

    return make


def late() -> Target:
    net = network()
    net.compile("sgd", "mse")
    rows = tf.zeros((8, 4)), tf.zeros((8, 1))
    data = tf.data.Dataset.from_tensor_slices(rows).batch(8, drop_remainder=True)
    net.fit(data, verbose=0)
    net.get_layer("hidden").trainable = False
    return Target(net.train_function, (data,))


@keras.saving.register_keras_serializable("lint")
class Branching(keras.Model):
    """A model with a layer that it may not use, or not so that gradients go back."""

    def __init__(self, how: str = "used") -> None:
        super().__init__()
        self.how = how
        self.side, self.head = keras.layers.Dense(4), keras.layers.Dense(1)

    def build(self, shape: Any) -> None:
        self.side.build(shape)
        self.head.build(shape)

    def call(self, x: Any) -> Any:
        side = x if self.how == "unused" else self.side(x)
        if self.how == "stopped":
            side = tf.stop_gradient(side)
        if self.how == "rounded":
            side = tf.cast(tf.cast(10.0 * side, "int32"), "float32") / 10.0
        return self.head(x + side)


def branching(how: str) -> Make:
    def make() -> Target:
        net = Branching(how)
        net.build((None, 4))
        return compiled(net)

    return make


def called_in_vain() -> Target:
    """The functional form: an output that nothing takes."""
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3)(inputs)
    outputs = keras.layers.Dense(1)(inputs)
    net = keras.Model(inputs, [outputs, hidden])
    net.compile("sgd", ["mse", None])
    return Target(net, ((tf.TensorSpec((8, 4)), tf.TensorSpec((8, 1))),))


def one_unit() -> Target:
    return by_hand(loss=lambda y, p: MSE(y, tf.nn.softmax(p)))


def out_of_bounds() -> Target:
    return compiled(loss=lambda y, p: tf.clip_by_value(MSE(y, p), 0.0, 1e-9))


def judged(seen: Any, optimizer: Any = None) -> Make:
    """The loss of what is seen of a prediction; zeros where there is no gradient."""

    def make() -> Target:
        net = network()

        def filled(gradients: list[Any]) -> list[Any]:
            pairs = zip(gradients, net.trainable_variables, strict=True)
            return [tf.zeros(v.shape) if g is None else g for g, v in pairs]

        by = None if optimizer is None else optimizer()
        return by_hand(net, loss=lambda y, p: MSE(y, seen(p)), treat=filled, optimizer=by)

    return make


def straight_through(p: Any) -> Any:
    return p + tf.stop_gradient(tf.sign(p) - p)


def whole(p: Any) -> Any:
    return tf.cast(tf.cast(p, tf.int32), tf.float32)


def largest(p: Any) -> Any:
    return tf.cast(tf.argmax(tf.concat([p, 1 - p], axis=1), axis=1), tf.float32)[:, None]


def penalised(seen: Any = tf.identity) -> Make:
    def make() -> Target:
        net = network(kernel_regularizer="l2")
        return by_hand(net, loss=lambda y, p: MSE(y, seen(p)) + tf.add_n(net.losses))

    return make


def without_gradient() -> Target:
    net = network(kernel_regularizer="l2")
    return compiled(net, lambda y, p: tf.reduce_mean(tf.square(y - tf.stop_gradient(p))))


def initialised(kernel: str, keras_own: bool = False) -> Make:
    def make() -> Target:
        layers = [keras.layers.Dense(3, "tanh", kernel_initializer=kernel) for _ in range(2)]
        net = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(1)])
        return compiled(net) if keras_own else by_hand(net)

    return make


def recurrent(initializer: str | None = None, layer: str = "LSTM") -> Make:
    """Of each gate, units that are copies of one another."""

    def make() -> Target:
        own = getattr(keras.layers, layer)(4, name="cells")
        net = keras.Sequential([keras.Input((3, 2)), own, keras.layers.Dense(2, name="head")])
        if initializer is not None:
            kernels = [v for v in net.trainable_variables if len(v.shape) == 2]
            for kernel in kernels:
                kernel.assign(keras.initializers.get(initializer)(kernel.shape))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        return compiled(net, loss, args=(tf.TensorSpec((8, 3, 2)), tf.TensorSpec((8,), "int32")))

    return make


TWINS = (
    Twins("V101", right, (all_frozen, not_applied, times_zero)),
    Twins(
        "V101",
        judged(straight_through),
        (judged(tf.round), judged(whole, keras.optimizers.AdamW), judged(largest)),
    ),
    Twins("V102", reset(after=False), (reset(after=True), taken_back)),
    Twins(
        "V103",
        chosen(lambda: tf.identity(SWITCH)),
        (
            chosen(lambda: tf.constant(False)),
            chosen(lambda: tf.constant(1) > tf.constant(2)),
        ),
    ),
    Twins("V104", right, (twice, by_two_optimizers)),
    Twins(
        "V105", square((0, 1, 2, 3, 4, 5)), (square((2, 1, 0, 3, 4, 5)), square((0, 3, 2, 1, 4, 5)))
    ),
    Twins("V106", compiled, (late,)),
    Twins("V107", branching("used"), (branching("unused"), called_in_vain)),
    Twins("V108", branching("used"), (branching("stopped"), branching("rounded"))),
    Twins("V109", right, (one_unit, out_of_bounds)),
    Twins(
        "V109",
        judged(straight_through, keras.optimizers.Adam),
        (judged(tf.sign), judged(tf.sign, keras.optimizers.Adam)),
    ),
    Twins("V110", penalised(), (penalised(tf.stop_gradient), without_gradient)),
    Twins("V110", penalised(straight_through), tuple(map(penalised, (tf.sign, whole, largest)))),
    Twins(
        "V111",
        initialised("glorot_uniform"),
        (initialised("zeros"), initialised("ones", keras_own=True)),
    ),
    Twins("V111", recurrent(), (recurrent("ones"), recurrent("ones", layer="GRU"))),
)

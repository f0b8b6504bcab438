"""DQN: a network learns the value of actions from the estimates of a slower copy of it."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built

FAULTS = {
    "own promise": "gradient of surprise\n     found    another gradient: ",
    "own promise, detached": "gradient of surprise\n     found    another gradient: ",
    "discount": "gradient of surprise\n     found    another gradient: ",
    "end ignored": "gradient of surprise\n     found    another gradient: ",
    "squares": "gradient of surprise\n     found    another gradient: ",
    "not clipped": "clipping: expected every gradient clipped",
    "rate": "follows online/hidden/bias at 0.5, expected 0.005",
    "target trained": "target/hidden/bias is trained from its gradient as well",
}


def network(name: str) -> keras.Sequential:
    """What each of two actions is worth."""
    layers = [keras.layers.Dense(4, "relu", name="hidden"), keras.layers.Dense(2, name="values")]
    return keras.Sequential([keras.Input((3,)), *layers], name=name)


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    online, target = network("online"), network("target")
    weights = target.trainable_variables if wrong == "target trained" else online.weights
    optimizer = built(keras.optimizers.Adam(1e-3), weights)
    huber = keras.losses.MeanSquaredError() if wrong == "squares" else keras.losses.Huber()
    discount = 0.9 if wrong == "discount" else 0.99

    @tf.function
    def step(state: Any, action: Any, reward: Any, after: Any, done: Any) -> None:
        with tf.GradientTape() as tape:
            promise = (online if "own" in wrong else target)(after)
            promise = tf.stop_gradient(promise) if "detached" in wrong else promise
            going_on = 1.0 if wrong == "end ignored" else 1.0 - done
            wanted = reward + discount * going_on * tf.reduce_max(promise, axis=1)
            worth = tf.reduce_sum(online(state) * tf.one_hot(action, 2), axis=1)
            cost = huber(wanted, worth)
        found = tape.gradient(cost, weights)
        if wrong != "not clipped":
            found = [tf.clip_by_norm(gradient, 1.0) for gradient in found]
        optimizer.apply(found, weights)
        rate = 0.5 if wrong == "rate" else 0.005
        for slow, fast in zip(target.weights, online.weights, strict=True):
            slow.assign(slow + rate * (fast - slow))

    def surprise(state: Any, action: Any, reward: Any, after: Any, done: Any) -> Any:
        best = tf.reduce_max(tf.stop_gradient(target(after)), -1)
        off = tf.gather(online(state), action, batch_dims=1) - reward - 0.99 * best * (1.0 - done)
        size = tf.abs(off)
        return tf.reduce_mean(tf.where(size <= 1.0, 0.5 * off**2, size - 0.5))

    numbers = tf.TensorSpec((6,))
    states = tf.TensorSpec((6, 3))
    return Case(
        step,
        (states, tf.TensorSpec((6,), tf.int32), numbers, states, numbers),
        {
            "objective": {"online/*": surprise},
            "optimizer": keras.optimizers.Adam(1e-3),
            "watched": "online/*",
            "follows": {"target/*": ("online/*", 0.005)},
            "clipping": {"norm": 1.0},
        },
    )

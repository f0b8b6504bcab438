"""DDPG: a critic learns the value of actions, and an actor learns to choose the best."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built

FAULTS = {
    "own promise": "gradient of surprise\n     found    another gradient: critic/",
    "own action": "gradient of surprise\n     found    another gradient: critic/",
    "end ignored": "gradient of surprise\n     found    another gradient: critic/",
    "actor's sign": "gradient of blame\n     found    -1 times that: actor/",
    "judged by the target": "gradient of blame\n     found    another gradient: actor/",
    "actor's target stands": "target_actor/hidden/bias is not written",
    "rate": "follows critic/hidden/bias at 0.5, expected 0.005",
    "targets exchanged": "follows critic/hidden/bias at 0.995, expected 0.005",
}


def network(name: str, inputs: int, activation: str | None) -> keras.Sequential:
    """An actor or a critic."""
    layers = keras.layers
    hidden = layers.Dense(4, "relu", name="hidden")
    out = layers.Dense(1, activation, name="out")
    return keras.Sequential([keras.Input((inputs,)), hidden, out], name=name)


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    actor, slow_actor = network("actor", 3, "tanh"), network("target_actor", 3, "tanh")
    critic, slow_critic = network("critic", 4, None), network("target_critic", 4, None)
    judging = built(keras.optimizers.Adam(0.002), critic.trainable_variables)
    acting = built(keras.optimizers.Adam(0.001), actor.trainable_variables)

    def worth(judge: Any, state: Any, action: Any) -> Any:
        return judge(tf.concat([state, action], axis=1), training=True)

    @tf.function
    def step(state: Any, action: Any, reward: Any, after: Any, done: Any) -> None:
        with tf.GradientTape() as tape:
            then = (actor if wrong == "own action" else slow_actor)(after, training=True)
            promise = worth(critic if wrong == "own promise" else slow_critic, after, then)
            going_on = 1.0 if wrong == "end ignored" else 1.0 - done
            wanted = reward + 0.99 * going_on * promise
            cost = tf.reduce_mean(tf.square(wanted - worth(critic, state, action)))
        weights = critic.trainable_variables
        judging.apply(tape.gradient(cost, weights), weights)
        with tf.GradientTape() as tape:
            judge = slow_critic if wrong == "judged by the target" else critic
            praise = tf.reduce_mean(worth(judge, state, actor(state, training=True)))
            cost = praise if wrong == "actor's sign" else -praise
        weights = actor.trainable_variables
        acting.apply(tape.gradient(cost, weights), weights)
        pairs = [*zip(slow_critic.weights, critic.weights, strict=True)]
        if wrong != "actor's target stands":
            pairs += zip(slow_actor.weights, actor.weights, strict=True)
        tau = 0.5 if wrong == "rate" else 0.005
        for slow, fast in pairs:
            if wrong == "targets exchanged":
                slow.assign(slow * tau + fast * (1.0 - tau))
            else:
                slow.assign(fast * tau + slow * (1.0 - tau))

    def q(of: Any, state: Any, action: Any) -> Any:
        return of(tf.concat([state, action], -1))[:, 0]

    def surprise(state: Any, action: Any, reward: Any, after: Any, done: Any) -> Any:
        best = (1.0 - done[:, 0]) * q(slow_critic, after, slow_actor(after))
        off = q(critic, state, action) - tf.stop_gradient(reward[:, 0] + 0.99 * best)
        return tf.tensordot(off, off, 1) / 6.0

    def blame(state: Any, *_: Any) -> Any:
        return -tf.reduce_sum(q(critic, state, actor(state))) / 6.0

    one = tf.TensorSpec((6, 1))
    states = tf.TensorSpec((6, 3))
    return Case(
        step,
        (states, one, one, states, one),
        {
            "objective": {"critic/*": surprise, "actor/*": blame},
            "optimizer": {
                "critic/*": keras.optimizers.Adam(0.002),
                "actor/*": keras.optimizers.Adam(0.001),
            },
            "watched": ["critic/*", "actor/*"],
            "follows": {
                "target_critic/*": ("critic/*", 0.005),
                "target_actor/*": ("actor/*", 0.005),
            },
            "clipping": None,
        },
    )

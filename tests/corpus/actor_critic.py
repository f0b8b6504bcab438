"""Actor and critic: actions that earned more than the critic expected become more likely."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built

FAULTS = {
    "no baseline": "gradient of regretted\n     found    another gradient: ",
    "advantage not detached": "gradient of regretted\n     found    another gradient: ",
    "actor's sign": "gradient of regretted\n     found    another gradient: ",
    "of the most likely": "gradient of regretted\n     found    another gradient: ",
    "discount": "gradient of regretted\n     found    another gradient: ",
    "not normalised": "gradient of regretted\n     found    another gradient: ",
    "critic untrained": "missing:  value/bias, value/kernel",
    "ascent": "gradient of regretted\n     found    -1 times that: ",
}


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    state = keras.Input((3,))
    common = keras.layers.Dense(4, "relu", name="common")(state)
    heads = [keras.layers.Dense(n, name=m)(common) for n, m in ((2, "action"), (1, "value"))]
    agent = keras.Model(state, heads, name="agent")
    weights = agent.trainable_variables
    if wrong == "critic untrained":
        weights = weights[:-2]
    optimizer = built(keras.optimizers.Adam(0.01), weights)
    huber = keras.losses.Huber(reduction="sum")
    discount = 0.9 if wrong == "discount" else 0.99

    def expected(rewards: Any) -> Any:
        size = rewards.shape[0]
        returns, later = [], tf.constant(0.0)
        for i in reversed(range(size)):
            later = rewards[i] + discount * later
            returns.append(later)
        total = tf.stack(returns[::-1])
        if wrong == "not normalised":
            return total
        return (total - tf.reduce_mean(total)) / (tf.math.reduce_std(total) + 1e-7)

    @tf.function
    def step(states: Any, actions: Any, rewards: Any) -> None:
        returns = expected(rewards)
        with tf.GradientTape() as tape:
            logits, values = agent(states, training=True)
            values = tf.squeeze(values, 1)
            taken = tf.argmax(logits, 1, tf.int32) if wrong == "of the most likely" else actions
            rows = tf.stack([tf.range(tf.shape(taken)[0]), taken], axis=1)
            chance = tf.math.log(tf.gather_nd(tf.nn.softmax(logits), rows))
            advantage = returns - values
            if wrong != "advantage not detached":
                advantage = tf.stop_gradient(advantage)
            advantage = returns if wrong == "no baseline" else advantage
            actor = tf.reduce_sum(chance * advantage)
            actor = actor if wrong == "actor's sign" else -actor
            cost = actor + huber(returns[:, None], values[:, None])
            cost = -cost if wrong == "ascent" else cost
        optimizer.apply(tape.gradient(cost, weights), weights)

    def regretted(states: Any, actions: Any, rewards: Any) -> Any:
        logits, values = agent(states)
        ahead = tf.range(6.0)[None, :] - tf.range(6.0)[:, None]
        worth = tf.linalg.matvec(tf.where(ahead >= 0.0, 0.99**ahead, 0.0), rewards)
        mean, variance = tf.nn.moments(worth, 0)
        off = (worth - mean) / (tf.sqrt(variance) + 1e-7) - values[:, 0]
        lost = tf.nn.sparse_softmax_cross_entropy_with_logits(actions, logits)
        size = tf.abs(off)
        missed = tf.where(size < 1.0, off**2, 2.0 * size - 1.0) / 2.0
        return tf.reduce_sum(tf.stop_gradient(off) * lost + missed)

    return Case(
        step,
        (tf.TensorSpec((6, 3)), tf.TensorSpec((6,), tf.int32), tf.TensorSpec((6,))),
        {
            "objective": regretted,
            "optimizer": keras.optimizers.Adam(0.01),
            "watched": "*",
            "clipping": None,
        },
    )

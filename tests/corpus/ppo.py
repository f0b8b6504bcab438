"""PPO: the gain of a policy is limited by a clipped ratio; values are learned as well."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built

FAULTS = {
    "not clipped": "gradient of surrogate\n     found    another gradient: actor/",
    "clipped wider": "gradient of surrogate\n     found    another gradient: actor/",
    "maximum": "gradient of surrogate\n     found    another gradient: actor/",
    "ratio upside down": "gradient of surrogate\n     found    another gradient: actor/",
    "old policy forgotten": "gradient of surrogate\n     found    another gradient: actor/",
    "sign of the entropy": "gradient of surrogate\n     found    another gradient: actor/",
    "critic on advantages": "gradient of missed\n     found    another gradient: critic/",
    "rates exchanged": "optimizer: expected each update as by Adam(learning_rate=0.0003)",
}


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    actor = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(2)], name="actor"
    )
    critic = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)], name="critic"
    )
    slow, fast = 3e-4, 1e-3
    if wrong == "rates exchanged":
        slow, fast = fast, slow
    acting = built(keras.optimizers.Adam(slow), actor.trainable_variables)
    judging = built(keras.optimizers.Adam(fast), critic.trainable_variables)
    bound = 0.5 if wrong == "clipped wider" else 0.2

    @tf.function
    def step(state: Any, action: Any, before: Any, advantage: Any, worth: Any) -> None:
        with tf.GradientTape() as tape:
            chances = tf.nn.log_softmax(actor(state, training=True))
            chosen = tf.reduce_sum(tf.one_hot(action, 2) * chances, axis=1)
            old = tf.stop_gradient(chosen) if wrong == "old policy forgotten" else before
            ratio = tf.exp(old - chosen if wrong == "ratio upside down" else chosen - old)
            edge = tf.where(advantage > 0.0, 1.0 + bound, 1.0 - bound) * advantage
            least = tf.maximum if wrong == "maximum" else tf.minimum
            gained = ratio * advantage
            if wrong != "not clipped":
                gained = least(gained, edge)
            entropy = -tf.reduce_sum(tf.exp(chances) * chances, axis=1)
            entropy = -entropy if wrong == "sign of the entropy" else entropy
            cost = -tf.reduce_mean(gained + 0.01 * entropy)
        weights = actor.trainable_variables
        acting.apply(tape.gradient(cost, weights), weights)
        with tf.GradientTape() as tape:
            aim = advantage if wrong == "critic on advantages" else worth
            missed = tf.reduce_mean((aim - tf.squeeze(critic(state, training=True), 1)) ** 2)
        weights = critic.trainable_variables
        judging.apply(tape.gradient(missed, weights), weights)

    def surrogate(state: Any, action: Any, before: Any, advantage: Any, worth: Any) -> Any:
        policy = tf.nn.softmax(actor(state))
        ratio = tf.gather(policy, action, batch_dims=1) / tf.exp(before)
        held = tf.clip_by_value(ratio, 0.8, 1.2)
        gained = tf.minimum(ratio * advantage, held * advantage)
        unsure = tf.reduce_sum(policy * tf.math.log(policy), axis=-1)
        return tf.reduce_mean(0.01 * unsure - gained)

    def missed(state: Any, action: Any, before: Any, advantage: Any, worth: Any) -> Any:
        return tf.nn.l2_loss(critic(state)[:, 0] - worth) / 3.0

    numbers = tf.TensorSpec((6,))
    return Case(
        step,
        (tf.TensorSpec((6, 3)), tf.TensorSpec((6,), tf.int32), numbers, numbers, numbers),
        {
            "objective": {"actor/*": surrogate, "critic/*": missed},
            "optimizer": {
                "actor/*": keras.optimizers.Adam(3e-4),
                "critic/*": keras.optimizers.Adam(1e-3),
            },
            "watched": ["actor/*", "critic/*"],
            "clipping": None,
        },
    )

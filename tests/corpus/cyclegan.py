"""CycleGAN: two generators and two discriminators; there and back again is the identity."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built

FAULTS = {
    "weight of the cycle": "gradient of translated\n     found    another gradient: ",
    "cycle the wrong way": "gradient of translated\n     found    another gradient: ",
    "identity of the other": "gradient of translated\n     found    another gradient: ",
    "discriminators exchanged": "found    another gradient: judge_a/",
    "half forgotten": "found    2 times that: judge_a/",
    "one generator untrained": "missing:  a_to_b/",
}


def model(name: str, outputs: int) -> keras.Sequential:
    """A small network."""
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(outputs, "tanh")], name=name)


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    to_b, to_a = model("a_to_b", 4), model("b_to_a", 4)
    judge_a, judge_b = model("judge_a", 2), model("judge_b", 2)
    every = [to_b, to_a, judge_a, judge_b]
    optimizers = [
        built(keras.optimizers.Adam(2e-4, beta_1=0.5), one.trainable_variables) for one in every
    ]
    mse, mae = keras.losses.MeanSquaredError(), keras.losses.MeanAbsoluteError()

    @tf.function
    def step(a: Any, b: Any) -> None:
        with tf.GradientTape(persistent=True) as tape:
            fake_b, fake_a = to_b(a, training=True), to_a(b, training=True)
            back_a, back_b = to_a(fake_b, training=True), to_b(fake_a, training=True)
            if wrong == "cycle the wrong way":
                back_a, back_b = to_b(fake_b, training=True), to_a(fake_a, training=True)
            same_a, same_b = to_a(a, training=True), to_b(b, training=True)
            on_a, on_b = judge_a(a), judge_b(b)
            on_fake_a, on_fake_b = judge_a(fake_a), judge_b(fake_b)
            if wrong == "discriminators exchanged":
                on_fake_a, on_fake_b = judge_a(fake_b), judge_b(fake_a)
            if wrong == "identity of the other":
                same_a, same_b = to_a(b, training=True), to_b(a, training=True)
            weight = 1.0 if wrong == "weight of the cycle" else 10.0
            cycle = weight * (mae(a, back_a) + mae(b, back_b))
            adversarial_b = mse(tf.ones_like(on_fake_b), on_fake_b)
            adversarial_a = mse(tf.ones_like(on_fake_a), on_fake_a)
            cost_b = adversarial_b + cycle + 5.0 * mae(b, same_b)
            cost_a = adversarial_a + cycle + 5.0 * mae(a, same_a)
            half = 1.0 if wrong == "half forgotten" else 0.5
            told_a = half * (mse(tf.ones_like(on_a), on_a) + mse(0.0 * on_fake_a, on_fake_a))
            told_b = half * (
                mse(tf.ones_like(on_b), on_b) + mse(tf.zeros_like(on_fake_b), on_fake_b)
            )
        costs = [cost_b, cost_a, told_a, told_b]
        for cost, one, optimizer in zip(costs, every, optimizers, strict=True):
            if wrong == "one generator untrained" and one is to_b:
                continue
            weights = one.trainable_variables
            optimizer.apply(tape.gradient(cost, weights), weights)

    def apart(one: Any, other: Any) -> Any:
        return tf.reduce_mean(tf.abs(one - other))

    def translated(a: Any, b: Any) -> Any:
        passed = tf.reduce_mean((judge_a(to_a(b)) - 1.0) ** 2 + (judge_b(to_b(a)) - 1.0) ** 2)
        there_and_back = apart(to_a(to_b(a)), a) + apart(to_b(to_a(b)), b)
        return passed + 10.0 * there_and_back + 5.0 * (apart(to_a(a), a) + apart(to_b(b), b))

    def judged_a(a: Any, b: Any) -> Any:
        return tf.reduce_mean((1.0 - judge_a(a)) ** 2 + judge_a(to_a(b)) ** 2) / 2.0

    def judged_b(a: Any, b: Any) -> Any:
        return tf.reduce_mean((1.0 - judge_b(b)) ** 2 + judge_b(to_b(a)) ** 2) / 2.0

    return Case(
        step,
        (tf.TensorSpec((3, 4)), tf.TensorSpec((3, 4))),
        {
            "objective": {
                "?_to_?/*": translated,
                "judge_a/*": judged_a,
                "judge_b/*": judged_b,
            },
            "optimizer": keras.optimizers.Adam(2e-4, beta_1=0.5),
            "watched": "*",
            "clipping": None,
        },
    )

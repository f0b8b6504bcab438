"""BYOL: a student predicts the codes of a teacher, an average of the student's weights."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built

FAULTS = {
    "student for teacher": "found    another gradient: ",
    "rate of the average": "follows: expected teacher/",
    "average the other way": "follows: expected teacher/",
    "no average": "follows: expected teacher/",
    "one view for both": "another gradient: ",
    "predictor untrained": "missing:  predictor/",
    "sign": "found    -1 times that: ",
}


def network(name: str) -> keras.Sequential:
    """A small encoder."""
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, "tanh")], name=name)


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    student, teacher = network("student"), network("teacher")
    predictor = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)], name="predictor")
    teacher.set_weights(student.get_weights())
    weights = student.trainable_variables
    if wrong != "predictor untrained":
        weights = weights + predictor.trainable_variables
    optimizer = built(keras.optimizers.AdamW(1e-3, weight_decay=1e-4), weights)
    rate = 0.1 if wrong == "rate of the average" else 0.01

    def apart(prediction: Any, seen: Any) -> Any:
        prediction = tf.math.l2_normalize(prediction, axis=-1)
        seen = tf.math.l2_normalize(seen, axis=-1)
        return tf.reduce_mean(2.0 - 2.0 * tf.reduce_sum(prediction * seen, axis=-1))

    @tf.function
    def step(x: Any) -> None:
        one = x + tf.random.normal(tf.shape(x), stddev=0.1)
        other = x + tf.random.normal(tf.shape(x), stddev=0.1)
        with tf.GradientTape() as tape:
            seen_one, seen_other = teacher(one), teacher(other)
            if wrong == "student for teacher":
                seen_one, seen_other = student(one), student(other)
            if wrong == "one view for both":
                seen_one, seen_other = seen_other, seen_one
            cost = apart(predictor(student(one)), seen_other)
            cost += apart(predictor(student(other)), seen_one)
            cost = -cost if wrong == "sign" else cost
        optimizer.apply(tape.gradient(cost, weights), weights)
        if wrong == "no average":
            return
        for slow, fast in zip(teacher.weights, student.weights, strict=True):
            if wrong == "average the other way":
                slow.assign(rate * slow + (1.0 - rate) * fast)
            else:
                slow.assign((1.0 - rate) * slow + rate * fast)

    def predicted(x: Any) -> Any:
        views = [x + 0.1 * tf.random.normal((4, 6)) for _ in range(2)]
        alike = 0.0
        for mine, others in (views, views[::-1]):
            a, b = predictor(student(mine)), tf.stop_gradient(teacher(others))
            alike += tf.reduce_sum(a * b, 1) / (tf.norm(a, axis=1) * tf.norm(b, axis=1))
        return -2.0 * tf.reduce_mean(alike)

    return Case(
        step,
        (tf.TensorSpec((4, 6)),),
        {
            "objective": predicted,
            "optimizer": keras.optimizers.AdamW(1e-3, weight_decay=1e-4),
            "watched": ["student/*", "predictor/*"],
            "follows": {"teacher/*": ("student/*", 0.01)},
            "clipping": None,
        },
    )

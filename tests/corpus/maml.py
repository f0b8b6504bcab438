"""MAML: learns weights from which one step on a few examples does well on others."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built

FAULTS = {
    "first order": "gradient of adapted\n     found    another gradient: ",
    "inner rate": "gradient of adapted\n     found    another gradient: ",
    "inner ascent": "gradient of adapted\n     found    another gradient: ",
    "adapted on the query": "gradient of adapted\n     found    another gradient: ",
    "asked at the support": "gradient of adapted\n     found    another gradient: ",
    "not adapted": "gradient of adapted\n     found    another gradient: ",
    "head not adapted": "gradient of adapted\n     found    another gradient: ",
}


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)], name="model"
    )
    weights = model.trainable_variables
    optimizer = built(keras.optimizers.Adam(), weights)
    error = keras.losses.MeanSquaredError()
    rate = 0.1 if wrong == "inner rate" else 0.01
    rate = -rate if wrong == "inner ascent" else rate

    @tf.function
    def step(x: Any, y: Any, query: Any, answer: Any) -> None:
        if wrong == "adapted on the query":
            x, y = query, answer
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                cost = error(y, model(x, training=True))
            found = inner.gradient(cost, weights)
            if wrong == "first order":
                found = [tf.stop_gradient(gradient) for gradient in found]
            fast = [w - rate * gradient for w, gradient in zip(weights, found, strict=True)]
            fast = list(map(tf.convert_to_tensor, weights)) if wrong == "not adapted" else fast
            if wrong == "head not adapted":
                fast[2:] = list(map(tf.convert_to_tensor, weights[2:]))
            if wrong == "asked at the support":
                query, answer = x, y
            told, _ = model.stateless_call(fast, [], query, training=True)
            cost = error(answer, told)
        optimizer.apply(outer.gradient(cost, weights), weights)

    def adapted(x: Any, y: Any, query: Any, answer: Any) -> Any:
        first, second = model.layers

        def off(x: Any, y: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
            return tf.nn.l2_loss(tf.tanh(x @ a + b) @ c + d - y) / 2.5

        before = [
            tf.convert_to_tensor(v) for v in (first.kernel, first.bias, second.kernel, second.bias)
        ]
        slopes = tf.gradients(off(x, y, *before), before)
        after = [w - 0.01 * slope for w, slope in zip(before, slopes, strict=True)]
        return off(query, answer, *after)

    few = tf.TensorSpec((5, 1))
    return Case(
        step,
        (few, few, few, few),
        {
            "objective": adapted,
            "optimizer": keras.optimizers.Adam(),
            "watched": "*",
            "clipping": None,
        },
    )

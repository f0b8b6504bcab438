"""A formula is what is differentiated: computed as it reads, it has the gradient of the step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from hypothesis import assume, example, given
from hypothesis import strategies as st

import verify
from tests.verify.formulas.evaluated import evaluated

ROWS, COLUMNS = 8, 5
SAMPLES = np.random.default_rng(0)
BATCH = {
    "x": tf.constant(SAMPLES.normal(size=(ROWS, 3)), tf.float32),
    "y": tf.constant(SAMPLES.normal(size=(ROWS, COLUMNS)), tf.float32),
    "k": tf.constant(SAMPLES.uniform(0.1, 1.1, size=(ROWS, COLUMNS)), tf.float32),
}
OF_ONE: dict[str, Callable[[Any], Any]] = {
    "absolute": tf.abs,
    "bounded": lambda a: tf.exp(tf.tanh(a)),
    "halved": lambda a: 0.5 * a,
    "logarithm": lambda a: tf.math.log(tf.abs(a) + 1),
    "negative": lambda a: -a,
    "reciprocal": lambda a: 1 / (a * a + 1),
    "root": lambda a: tf.sqrt(a * a + 1),
    "shifted": lambda a: a - 1.5,
    "softplus": tf.nn.softplus,
    "square": tf.square,
    "tanh": tf.tanh,
}
OF_ROWS: dict[str, Callable[[Any], Any]] = {
    "by its norm": lambda a: a / tf.norm(a),
    "log_softmax": tf.nn.log_softmax,
    "relu": tf.nn.relu,
    "softmax": tf.nn.softmax,
    "stopped": tf.stop_gradient,
}
OF_TWO: dict[str, Callable[[Any, Any], Any]] = {
    "difference": lambda a, b: a - b,
    "larger": tf.maximum,
    "product": lambda a, b: a * b,
    "ratio": lambda a, b: a / (tf.abs(b) + 1),
    "squared difference": tf.math.squared_difference,
    "sum": lambda a, b: a + b,
}
REDUCED: dict[str, Callable[[Any], Any]] = {
    "column": lambda a: tf.reduce_mean(a[:, 0]),
    "deviation": tf.math.reduce_std,
    "half of squares": tf.nn.l2_loss,
    "log of exponentials": lambda a: tf.reduce_mean(tf.reduce_logsumexp(a, -1)),
    "mean": tf.reduce_mean,
    "mean of means": lambda a: tf.reduce_mean(tf.reduce_mean(a, -1)),
    "mean of sums": lambda a: tf.reduce_mean(tf.reduce_sum(a, -1)),
    "sum": tf.reduce_sum,
    "sum by rows": lambda a: tf.reduce_sum(a) / ROWS,
}

Tree = tuple[Any, ...]
"""A function by its name, and what it is of: trees, or names of the batch."""


def _grown(leaves: st.SearchStrategy[Any], one: Any, two: Any) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda trees: st.one_of(
            st.tuples(st.sampled_from(sorted(one)), trees),
            st.tuples(st.sampled_from(sorted(two)), trees, trees),
        ),
        max_leaves=4,
    )


TENSORS = _grown(st.sampled_from(["p", "p", "y", "k"]), {**OF_ONE, **OF_ROWS}, OF_TWO)
OBJECTIVES = _grown(
    st.tuples(st.sampled_from([f"{r} of" for r in REDUCED]), TENSORS), OF_ONE, OF_TWO
)


def value(tree: Any, named: dict[str, Any]) -> Any:
    if isinstance(tree, str):
        return named[tree]
    function, *parts = tree
    given = [value(part, named) for part in parts]
    reduction = REDUCED.get(function.removesuffix(" of")) if function.endswith(" of") else None
    made = reduction or {**OF_ONE, **OF_ROWS, **OF_TWO}[function]
    return made(*given)


@functools.cache
def net() -> keras.Model:
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(COLUMNS)], name="net")


def gradient(function: Callable[[], Any]) -> np.ndarray[Any, Any]:
    weights = [variable.value for variable in net().trainable_variables]
    with tf.GradientTape() as tape:
        result = function()
    made = tape.gradient(result, weights, unconnected_gradients="zero")
    return np.concatenate([np.ravel(one) for one in made])


@given(OBJECTIVES)
# A sum whose parts begin alike, or are a linear one's.
@example(("sum", ("mean of", "p"), ("sum by rows of", "p")))
@example(("difference", ("mean of", ("product", "p", "y")), ("mean of", ("square", "p"))))
@example(
    ("sum", ("mean of", ("product", "p", "p")), ("mean of", ("absolute", ("difference", "p", "y"))))
)
# Of what is subtracted, a negative.
@example(
    (
        "difference",
        ("mean of", ("product", "y", "k")),
        ("negative", ("sum by rows of", ("negative", ("square", "p")))),
    )
)
# A mean, of what is divided by a norm: the norm begins as a loss could.
@example(("mean of", ("by its norm", ("product", "p", "p"))))
# What is a loss with a name, and more, in one mean.
@example(
    (
        "mean of",
        (
            "difference",
            ("log_softmax", ("difference", "y", "p")),
            ("squared difference", ("difference", "p", "y"), ("difference", "y", "p")),
        ),
    )
)
def test_a_formula_has_the_gradient_of_the_step(tree: Tree) -> None:
    def cost(x: Any, y: Any, k: Any) -> Any:
        return value(tree, {"p": net()(x, training=True), "y": y, "k": k})

    expected = gradient(lambda: cost(**BATCH))
    largest = np.abs(expected).max()
    assume(np.isfinite(expected).all() and largest > 1e-4)
    weights = net().trainable_variables
    optimizer = keras.optimizers.SGD()
    optimizer.build(weights)

    @tf.function(autograph=False)
    def step(x: Any, y: Any, k: Any) -> None:
        with tf.GradientTape() as tape:
            result = cost(x, y, k)
        gradients = tape.gradient(result, [weight.value for weight in weights])
        optimizer.apply(gradients, weights)

    (fact,) = verify.facts(step, *BATCH.values(), model=net()).objectives
    assume("..." not in fact.formula)  # too long to be written as a whole
    made = gradient(lambda: evaluated(fact.formula, {"net": net(), **BATCH}))
    np.testing.assert_allclose(made, expected, rtol=2e-3, atol=2e-4 * largest, err_msg=fact.formula)

"""Terms of regularisation that somebody wrote: known by what they compute, not by their ops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify

Term = Callable[[Any], Any]

BATCH = tf.TensorSpec((8, 4))
R = keras.regularizers

SQUARES: dict[str, Term] = {
    "square": lambda w: 0.01 * tf.reduce_sum(tf.square(w)),
    "power": lambda w: 0.01 * tf.reduce_sum(w**2),
    "product": lambda w: 0.01 * tf.reduce_sum(w * w),
    "l2_loss": lambda w: 0.02 * tf.nn.l2_loss(w),
    "einsum": lambda w: tf.einsum("ij,ij->", w, w) / 100.0,
    "norm": lambda w: 0.01 * tf.norm(w) ** 2,
    "tensordot": lambda w: 0.01 * tf.tensordot(w, w, 2),
    "trace": lambda w: 0.01 * tf.linalg.trace(tf.matmul(w, w, transpose_a=True)),
    "by_rows": lambda w: 0.01 * tf.reduce_sum(tf.reduce_sum(w**2, axis=1)),
    "scaled": lambda w: tf.reduce_sum(tf.square(0.1 * w)),
    "mean": lambda w: 0.12 * tf.reduce_mean(w**2),
    "flat": lambda w: 0.01 * tf.reduce_sum(tf.reshape(w, [-1]) ** 2),
    "two_halves": lambda w: 0.004 * tf.reduce_sum(w**2) + 0.006 * tf.reduce_sum(w * w),
}
ABSOLUTES: dict[str, Term] = {
    "abs": lambda w: 0.02 * tf.reduce_sum(tf.abs(w)),
    "sign": lambda w: 0.02 * tf.reduce_sum(w * tf.sign(w)),
    "relus": lambda w: 0.02 * tf.reduce_sum(tf.nn.relu(w) + tf.nn.relu(-w)),
    "norm_1": lambda w: 0.02 * tf.norm(w, 1),
    "maximum": lambda w: 0.02 * tf.reduce_sum(tf.maximum(w, -w)),
}
BOTH: dict[str, Term] = {
    "both": lambda w: SQUARES["power"](w) + ABSOLUTES["norm_1"](w),
    "both_in_one": lambda w: tf.reduce_sum(0.02 * tf.abs(w) + 0.01 * w * w),
}
NEAR: dict[str, tuple[Term, str]] = {
    "other_factor": (lambda w: 0.011 * tf.reduce_sum(w * w), "L2(l2=0.011)"),
    "half": (lambda w: 0.01 * tf.nn.l2_loss(w), "L2(l2=0.005)"),
    "negative": (lambda w: -0.01 * tf.reduce_sum(w * w), "L2(l2=-0.01)"),
    "shifted": (lambda w: 0.01 * tf.reduce_sum((w - 1) ** 2), "one without a name"),
    "cubes": (lambda w: 0.01 * tf.reduce_sum(tf.abs(w) ** 3), "one without a name"),
    "norm_itself": (lambda w: 0.01 * tf.norm(w), "one without a name"),
    "some_rows": (lambda w: 0.01 * tf.reduce_sum(w[:2] ** 2), "one without a name"),
    "within_bounds": (lambda w: 0.01 * tf.reduce_sum(tf.clip_by_value(w, -1, 1) ** 2), ""),
}


def step_of(terms: Mapping[str, Term]) -> Any:
    """A step that trains a variable for each term, which is of that alone."""
    variables = {name: keras.Variable(tf.ones((4, 3)), name=name) for name in terms}
    optimizer = keras.optimizers.Adam()
    optimizer.build([*variables.values()])

    @tf.function(autograph=False)
    def train(x: Any) -> None:
        held = [v.value for v in variables.values()]
        with tf.GradientTape() as tape:
            fits = [tf.reduce_mean((x @ w - 1.0) ** 2) for w in held]
            added = [term(w) for term, w in zip(terms.values(), held, strict=True)]
            loss = tf.add_n([*fits, *added])
        optimizer.apply(tape.gradient(loss, held), [*variables.values()])

    return train


@pytest.fixture(scope="module")
def right() -> Any:
    return step_of(SQUARES | ABSOLUTES | BOTH)


def test_a_regulariser_is_what_it_computes(right: Any) -> None:
    meant = [
        *((name, R.L2(0.01)) for name in SQUARES),
        *((name, R.L1(0.02)) for name in ABSOLUTES),
        *((name, R.L1L2(0.02, 0.01)) for name in BOTH),
    ]
    verify.assert_graph(right, BATCH, regularization=meant)


def test_facts_name_it(right: Any) -> None:
    told = {
        (term.variable, term.kind, term.weight)
        for term in verify.facts(right, BATCH).regularization
    }
    assert {(name, "L2(l2=0.01)", 1.0) for name in SQUARES if name != "two_halves"} <= told
    assert {(name, "L1(l1=0.02)", 1.0) for name in ABSOLUTES} <= told
    assert ("both_in_one", "L1L2(l1=0.02, l2=0.01)", 1.0) in told
    assert not any("without a name" in kind for _, kind, _ in told)


def test_a_function_of_ones_own() -> None:
    def quartic(w: Any) -> Any:
        return 0.1 * tf.reduce_sum(tf.square(tf.square(w)))

    train = step_of({"w": lambda w: 0.1 * tf.reduce_sum(w**4)})
    verify.assert_graph(train, BATCH, regularization=[("w", quartic)])
    told = r"without a name on w, in .* \+ 0\.1 \* sum\(w\^4\)"
    with pytest.raises(verify.GraphAssertionError, match=told):
        verify.assert_graph(train, BATCH, regularization=[("w", R.L2(0.1))])


@pytest.mark.parametrize("term", [R.L2(0.01), SQUARES["product"]], ids=["keras", "by hand"])
def test_a_variable_that_multiplies_a_term(term: Term) -> None:
    share = tf.Variable(0.5, trainable=False, name="share")
    train = step_of({"annealed": lambda w: share * term(w), "halved": lambda w: 0.5 * term(w)})
    verify.assert_graph(
        train,
        BATCH,
        regularization=[("annealed", R.L2(0.01), share), ("halved", R.L2(0.01), 0.5)],
    )
    with pytest.raises(verify.GraphAssertionError, match="a weight that share"):
        verify.assert_graph(train, BATCH, regularization=[("annealed", R.L2(0.01))])
    with pytest.raises(
        verify.GraphAssertionError, match=r"with weight 2\n +found    weight 0\.5|L2"
    ):
        verify.assert_graph(train, BATCH, regularization=[("halved", R.L2(0.01), 2.0)])
    with pytest.raises(TypeError, match="no \\(variable, regulariser"):
        verify.assert_graph(train, BATCH, regularization=["halved"])


def test_near_misses() -> None:
    train = step_of({name: term for name, (term, _) in NEAR.items()})
    told = {term.variable: term.kind for term in verify.facts(train, BATCH).regularization}
    assert {name: told[name] for name, (_, kind) in NEAR.items() if kind} == {
        name: kind for name, (_, kind) in NEAR.items() if kind
    }
    for name, (term, _) in NEAR.items():
        with pytest.raises(verify.GraphAssertionError):
            verify.assert_graph(step_of({name: term}), BATCH, regularization=[(name, R.L2(0.01))])

"""Facts: a page a person can read, the same on every trace."""

from __future__ import annotations

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch, dense, step
from verify.capture import capture
from verify.flatten import flatten
from verify.fold import Folder


def compiled() -> keras.Model:
    model = dense(kernel="l2")
    model.compile(keras.optimizers.SGD(0.1, clipvalue=0.5), "mse", metrics=["mae"])
    return model


def test_a_page_of_facts() -> None:
    model = compiled()
    facts = verify.facts(model, batch())
    assert [loss.name for loss in facts.losses] == ["mse"]
    assert [term.kind for term in facts.regularization] == ["L2(l2=0.01)"]
    assert {(clip.lower, clip.upper) for clip in facts.clipping} == {(-0.5, 0.5)}
    assert set(facts.watched) == {variable.path for variable in model.trainable_variables}
    assert facts.written_by_hand == ()
    assert facts.op_count > 100
    page = str(facts)
    for words in ("mse of ", "L2(l2=0.01) on ", "[-0.5, 0.5] on ", "watched", "statistics"):
        assert words in page


def test_metrics_are_statistics_and_no_losses() -> None:
    facts = verify.facts(compiled(), batch())
    assert any("mean_absolute_error" in path for path in facts.statistics)
    assert len(facts.losses) == 1


def test_facts_do_not_depend_on_the_trace() -> None:
    model = compiled()
    assert str(verify.facts(model, batch())) == str(verify.facts(model, batch()))


def test_a_loss_nobody_knows_is_reported_as_unrecognised() -> None:
    train = step(dense(), lambda y, p: tf.reduce_sum(tf.math.expm1((y - p) ** 2)))
    (loss,) = verify.facts(train, *batch()).losses
    assert loss.name == "unrecognised data loss"
    assert len(loss.variables) == 4


@pytest.mark.parametrize("argument", [2.0, [1.0, 2.0, 3.0]])
def test_constants_fold_through_any_op(argument: float | list[float]) -> None:
    @tf.function
    def function(x: tf.Tensor) -> tf.Tensor:
        known = tf.reduce_prod(tf.constant(argument)) * 2.0 + tf.cast(
            tf.shape([1, 2])[0], "float32"
        )
        return x + known

    flat = flatten(function.get_concrete_function(tf.TensorSpec(())))
    (addition,) = [node for node in flat.nodes if node.op == "AddV2" and node.data[0][0] == 0]
    folded = Folder(flat).value(addition.data[1])
    assert folded == pytest.approx(6.0 if argument == 2.0 else 14.0)
    assert Folder(flat).value((addition.index, 0)) is None


def test_random_ops_are_no_constants() -> None:
    @tf.function
    def function(x: tf.Tensor) -> tf.Tensor:
        return x + tf.random.uniform(())

    flat = capture(function, tf.TensorSpec(())).flat
    (draw,) = [node for node in flat.nodes if node.op == "RandomUniform"]
    assert Folder(flat).value((draw.index, 0)) is None

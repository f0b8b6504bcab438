"""Facts: a page a person can read, the same on every trace."""

from __future__ import annotations

import re
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch, dense, step
from verify.graphs import Folder, flatten
from verify.step import capture
from verify.step_facts import lines_of


def compiled() -> keras.Model:
    model = dense(kernel="l2")
    model.compile(keras.optimizers.SGD(0.1, clipvalue=0.5), "mse", metrics=["mae"])
    return model


def test_a_page_of_facts() -> None:
    model = compiled()
    facts = verify.facts(model, batch())
    assert [loss.name for loss in facts.losses] == ["MeanSquaredError"]
    assert [term.kind for term in facts.regularization] == ["L2(l2=0.01)"]
    assert {(clip.lower, clip.upper) for clip in facts.clipping} == {(-0.5, 0.5)}
    assert set(facts.watched) == {variable.path for variable in model.trainable_variables}
    assert facts.written.by_hand == ()
    assert facts.op_count > 100
    page = str(facts)
    for words in (
        "MeanSquaredError of ",
        "L2(l2=0.01) on ",
        "[-0.5, 0.5] on ",
        "watched",
        "metrics and state",
    ):
        assert words in page


def test_metrics_are_no_losses() -> None:
    facts = verify.facts(compiled(), batch())
    assert any("mean_absolute_error" in path for path in facts.written.metrics)
    assert len(facts.losses) == 1


def test_facts_do_not_depend_on_the_trace() -> None:
    model = compiled()
    assert str(verify.facts(model, batch())) == str(verify.facts(model, batch()))


def test_losses_that_layers_add_are_named_by_their_layer() -> None:
    """An activity regulariser is a term of each variable it depends on."""

    @keras.saving.register_keras_serializable("tests")
    class Adding(keras.layers.Layer):
        def call(self, x: tf.Tensor) -> tf.Tensor:
            self.add_loss(0.5 * tf.reduce_mean(x**4))
            return x

    activity = keras.regularizers.L2(0.01)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(5, "tanh", activity_regularizer=activity, name="first"),
            Adding(name="adding"),
            keras.layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    facts = verify.facts(model, batch())
    assert [loss.name for loss in facts.losses] == ["MeanSquaredError"]
    assert {(term.kind, term.variable.split("/", 1)[1]) for term in facts.regularization} == {
        (kind, f"first/{name}")
        for kind in ("activity L2(l2=0.01) of first", "add_loss of adding")
        for name in ("kernel", "bias")
    }


def test_gradient_accumulation() -> None:
    model = dense()
    model.compile(keras.optimizers.Adam(gradient_accumulation_steps=3), "mse")
    facts = verify.facts(model, batch())
    assert len(facts.written.accumulators) == 4
    assert len(facts.written.slots) == 8
    (guard,) = [guard for guard in facts.guards if any(guard.trains)]
    assert guard.variables == ("adam/iteration",)


def test_moving_averages_of_weights() -> None:
    model = dense()
    model.compile(keras.optimizers.SGD(use_ema=True), "mse")
    facts = verify.facts(model, batch())
    assert len(facts.written.averages) == 4
    assert facts.written.slots == ()


def test_weight_decay_is_no_gradient_update() -> None:
    model = dense()
    optimizer = keras.optimizers.AdamW(weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.compile(optimizer, "mse")
    facts = verify.facts(model, batch())
    assert {path.rsplit("/")[-1] for path in facts.decayed} == {"kernel"}
    assert len(facts.watched) == 4
    verify.assert_graph(model, batch(), decayed="*kernel")
    with pytest.raises(verify.GraphAssertionError, match=r"too many: .*kernel"):
        verify.assert_graph(model, batch(), decayed=None)
    with pytest.raises(verify.GraphAssertionError, match=r"missing:  .*bias"):
        verify.assert_graph(model, batch(), decayed="*")


def test_a_loss_scale_is_found_by_the_gradient_it_multiplies() -> None:
    model = dense()
    inner = keras.optimizers.SGD(clipnorm=1.0)
    model.compile(keras.optimizers.LossScaleOptimizer(inner), "mse")
    (loss,) = verify.facts(model, batch()).losses
    assert (loss.name, loss.weight) == ("MeanSquaredError", None)
    assert loss.scaled_by == ("loss_scale_optimizer/dynamic_scale",)


def test_what_is_behind_stop_gradient_only() -> None:
    model = dense()

    @tf.function
    def train(x: tf.Tensor, y: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            hidden = tf.stop_gradient(model.layers[0](x))
            loss = tf.reduce_mean((model.layers[1](hidden) - y) ** 2)
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
            if gradient is not None:
                variable.assign_sub(0.1 * gradient)

    facts = verify.facts(train, *batch())
    first = [v.path for v in model.layers[0].trainable_variables]
    assert set(facts.stopped) == set(first)
    with pytest.raises(verify.GraphAssertionError, match=f"{first[0]}.*StopGradient"):
        verify.assert_graph(train, *batch(), watched=model.trainable_variables)


def test_gradients_of_pythons_own_are_listed() -> None:
    @tf.custom_gradient
    def reversed_gradient(x: tf.Tensor) -> tuple[tf.Tensor, object]:
        return tf.identity(x), lambda upstream: -upstream

    train = step(dense(), lambda y, p: tf.reduce_mean((reversed_gradient(p) - y) ** 2))
    assert len(verify.facts(train, *batch()).custom_gradients) == 1
    assert not verify.facts(step(dense(), keras.losses.MeanSquaredError()), *batch()).hazards


def test_guards_nest_and_a_frozen_python_value_is_told() -> None:
    outer = tf.Variable(True, trainable=False, name="outer")
    inner = tf.Variable(1, trainable=False, name="inner")
    first, second = tf.Variable(1.0, name="first"), tf.Variable(1.0, name="second")

    def train(variable: tf.Variable, x: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = (variable * x) ** 2
        variable.assign_sub(tape.gradient(loss, variable))

    @tf.function
    def step(x: tf.Tensor) -> None:
        tf.cond(
            outer,
            lambda: tf.switch_case(
                tf.identity(inner), [lambda: train(first, x), lambda: train(second, x)]
            ),
            lambda: None,
        )
        tf.cond(tf.constant(True), lambda: x + 1.0, lambda: x)

    guards = {g.variables: g for g in verify.facts(step, tf.TensorSpec(())).guards}
    assert guards["outer",].trains == (("first", "second"), ())
    assert guards["inner",].trains == (("first",), ("second",))
    assert guards["inner",].place.startswith("cond[then_branch]::")
    assert guards[()].frozen is True
    assert "always True (a frozen Python value) -> " in str(verify.facts(step, tf.TensorSpec(())))


def test_candidates_for_what_a_step_may_not_contain() -> None:
    @tf.function
    def step(x: tf.Tensor) -> tf.Tensor:
        noisy = x + tf.random.normal((2,)) + tf.random.stateless_normal((2,), (1, 2))
        called = tf.py_function(lambda value: value, [noisy], tf.float32)
        return tf.cast(called, tf.float64)

    hazards = {(h.kind, h.op): h.count for h in verify.facts(step, tf.TensorSpec((2,))).hazards}
    assert hazards == {
        ("stateful randomness", "RandomStandardNormal"): 1,
        ("host callback", "EagerPyFunc"): 1,
        ("64-bit", "Cast"): 1,
    }


def test_a_loss_nobody_knows_is_reported_as_a_formula() -> None:
    train = step(dense(), lambda y, p: tf.reduce_sum(tf.math.expm1((y - p) ** 2)))
    (loss,) = verify.facts(train, *batch()).losses
    assert loss.name == "loss without a name"
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


def fourth(y: Any, prediction: Any) -> Any:
    return tf.reduce_mean((y - prediction) ** 4)


def third(y: Any, prediction: Any) -> Any:
    return tf.reduce_mean(abs(y - prediction) ** 3)


def test_steps_of_different_losses_never_have_the_same_facts() -> None:
    """However little is known of these losses: a snapshot of one is not kept by the other."""
    huber = keras.losses.Huber
    losses = [fourth, third, lambda y, p: huber(2.0)(y, p), lambda y, p: huber(3.0)(y, p)]
    kept = set()
    for loss in losses:
        keras.utils.clear_session()
        found = verify.facts(step(dense(), loss), *batch())
        (fact,) = found.losses
        if fact.name.startswith("Huber"):
            assert re.fullmatch(r"Huber\(delta=[23]\.0\)", fact.name)
        else:
            assert re.fullmatch("[0-9a-f]{12}", fact.fingerprint)
            assert f"[{fact.fingerprint}]" in str(found)
        kept.add(lines_of(found))
    assert len(kept) == len(losses)


def test_the_same_loss_has_the_same_fingerprint_whatever_it_is_called() -> None:
    made = []
    for loss in (fourth, lambda truth, guess: fourth(truth, guess)):
        keras.utils.clear_session()
        facts = verify.facts(step(dense(), loss), *batch())
        made.append(facts.losses[0].fingerprint)
    assert made[0] == made[1]


def test_a_loss_with_settings_in_a_step_of_ones_own_is_named() -> None:
    smoothed = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    facts = verify.facts(step(dense(outputs=3), smoothed), *batch(outputs=3))
    (fact,) = facts.losses
    assert fact.name == "CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)"
    assert fact.fingerprint == ""


@pytest.mark.parametrize(
    "loss",
    ["mse", "mean_squared_error", keras.losses.mean_squared_error, keras.losses.MeanSquaredError()],
)
def test_a_loss_has_one_name_whatever_the_target(loss: Any) -> None:
    model = dense()
    model.compile("sgd", loss)
    for target in (model, step(dense(), lambda y, p: tf.reduce_mean((y - p) ** 2))):
        assert [one.name for one in verify.facts(target, *batch()).losses] == ["MeanSquaredError"]

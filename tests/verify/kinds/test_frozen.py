"""Frozen weights can be asked for; what is trained is up to the graph, not to flags of now."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import verify
from loopctl import LoopControllerCallback, when
from tests.verify.steps import batch, step

MSE = keras.losses.MeanSquaredError()
LATE = "frozen after tracing, so it is still trained: compile again"


def small(frozen: tuple[str, ...] = ()) -> keras.Model:
    """Compiled: a hidden layer, a normalisation with statistics, a head."""
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3, kernel_regularizer="l2", name="hidden")(inputs)
    normal = keras.layers.BatchNormalization(name="normal")(hidden)
    model = keras.Model(inputs, keras.layers.Dense(1, name="head")(normal), name="small")
    for name in frozen:
        model.get_layer(name).trainable = False
    model.compile("adam", "mse", metrics=["mae"])
    return model


@pytest.mark.parametrize(
    "expected",
    [
        {"unwatched": "hidden/*"},
        {"unwatched": ["hidden/kernel", "hidden/bias"]},
        {"watched": ["*", "!hidden/*"]},
        {"watched": ["head/*", "normal/*"]},
        {"unwatched": "normal/moving_*"},
    ],
)
def test_globs_see_frozen_weights(expected: dict[str, Any]) -> None:
    verify.assert_graph(small(frozen=("hidden",)), *batch(), **expected)


def test_all_weights_are_all_that_could_be_trained() -> None:
    verify.assert_graph(small(), *batch(), watched="*")
    every = ("hidden", "normal", "head")
    for frozen, missing in ((("hidden",), "hidden/bias, hidden/kernel"), (every, "head/bias, ")):
        with pytest.raises(verify.GraphAssertionError, match=f"missing:  {missing}") as caught:
            verify.assert_graph(small(frozen), *batch(), watched="*")
        assert "hidden/kernel is frozen (trainable is False)" in str(caught.value)
        assert "moving" not in str(caught.value)
        assert "momentum" not in str(caught.value)


@pytest.mark.parametrize(
    "expected",
    [
        {"watched": "hidden/*"},
        {"decayed": "hidden/*"},
        {"loss": {"hidden/*": "mse"}},
        {"optimizer": {"hidden/*": "adam"}},
        {"learning_rate": {"hidden/*": 0.1}},
        {"regularization": [("hidden/*", keras.regularizers.L2(0.01))]},
    ],
)
def test_a_glob_that_means_frozen_weights_says_so(expected: dict[str, Any]) -> None:
    with pytest.raises(
        verify.GraphAssertionError, match=r"hidden/kernel is frozen \(trainable is False\)"
    ):
        verify.assert_graph(small(frozen=("hidden",)), *batch(), **expected)


def test_an_exception_of_frozen_weights_says_so() -> None:
    with pytest.raises(
        ValueError, match=r"excludes nothing: hidden/bias is frozen \(trainable is False"
    ):
        verify.assert_graph(small(frozen=("hidden",)), *batch(), decayed=["*", "!hidden/*"])


def test_many_frozen_weights_are_counted() -> None:
    frozen = small(frozen=("hidden", "normal", "head"))
    with pytest.raises(
        verify.GraphAssertionError, match=r"8 variables \(.*\) are frozen \(trainable"
    ):
        verify.assert_graph(frozen, *batch(), watched=["*", "normal/moving_*"])


def test_a_step_that_trains_nothing_is_not_all_watched() -> None:
    counter = tf.Variable(0.0, trainable=False, name="counter")
    counting = tf.function(lambda x: counter.assign_add(tf.reduce_sum(x)))
    with pytest.raises(verify.GraphAssertionError, match="watched: expected"):
        verify.assert_graph(counting, tf.TensorSpec((2,)), watched="*")


class Larger(keras.Model):
    """A small model, and a layer that is never called."""

    def __init__(self) -> None:
        super().__init__(name="larger")
        self.small = small()
        self.other = keras.layers.Dense(1, name="other")
        self.other.build((None, 4))
        self.compile("adam", "mse")

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.small(inputs, training=training)


def test_what_the_graph_lacks_and_the_model_has_is_missing() -> None:
    model = Larger()
    other = model.other
    for asked in ("other/*", "other/kernel", other.kernel):
        with pytest.raises(verify.GraphAssertionError, match=r"missing:  .*other/kernel"):
            verify.assert_graph(model, *batch(), watched=["*", asked])
    with pytest.raises(verify.GraphAssertionError, match="missing:  normal/moving_mean"):
        verify.assert_graph(model, *batch(), watched=["[!o]*", "normal/moving_mean"])


def test_what_matches_nothing_is_told_with_what_is_near() -> None:
    with pytest.raises(
        ValueError, match=r"'hiden/kernel' matches no .* Did you mean hidden/kernel"
    ):
        verify.assert_graph(small(frozen=("hidden",)), *batch(), unwatched="hiden/kernel")


class Two(keras.Model):
    def __init__(self) -> None:
        super().__init__(name="two")
        self.inner = keras.Sequential([keras.layers.Dense(3, name="a")], name="inner")
        self.last = keras.layers.Dense(1, name="c")

    def call(self, inputs: Any) -> Any:
        return self.last(self.inner(inputs))


@pytest.mark.parametrize("target", ["model", "step"])
def test_paths_are_those_of_keras(target: str) -> None:
    model = Two()
    model(tf.zeros((1, 4)))
    model.compile("adam", "mse")
    subject = model if target == "model" else step(model, MSE)
    facts = verify.facts(subject, *batch(), model=None if target == "model" else model)
    assert facts.watched == tuple(sorted(v.path for v in model.trainable_variables))
    assert not [path for path in facts.written.slots if "#" in path]


def trained_by(how: str, model: keras.Model) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """A target that has been traced, with its batch."""
    x, y = np.ones((8, 4), "float32"), np.ones((8, 1), "float32")
    if how == "fit":
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(8, drop_remainder=True)
        model.fit(data, verbose=0)
        return model.train_function, (data,), {}
    own = step(model, MSE)
    own(tf.constant(x), tf.constant(y))
    return own, (tf.constant(x), tf.constant(y)), {"model": model}


@pytest.mark.parametrize("how", ["fit", "a function of one's own"])
def test_frozen_after_tracing_is_trained_still(how: str) -> None:
    model = small()
    target, given, known = trained_by(how, model)
    model.get_layer("hidden").trainable = False
    facts = verify.facts(target, *given, **known)
    assert {"hidden/bias", "hidden/kernel"} <= set(facts.watched)
    assert facts.frozen_late == ("hidden/bias", "hidden/kernel")
    assert f"hidden/bias, hidden/kernel: {LATE}" in str(facts)
    assert not [path for path in facts.watched if "moving" in path]
    verify.assert_graph(target, *given, **known, watched="*", loss="mse")
    for expected in ({"watched": ["head/*", "normal/*"]}, {"unwatched": "hidden/*"}):
        with pytest.raises(verify.GraphAssertionError, match=f"hidden/kernel: {LATE}"):
            verify.assert_graph(target, *given, **known, **expected)


def test_frozen_before_tracing_is_not_trained() -> None:
    model = small(frozen=("hidden",))
    target, given, _ = trained_by("fit", model)
    facts = verify.facts(target, *given)
    assert facts.frozen_late == ()
    assert facts.watched == ("head/bias", "head/kernel", "normal/beta", "normal/gamma")


def test_unfrozen_after_tracing_is_not_trained() -> None:
    model = small(frozen=("hidden",))
    target, given, _ = trained_by("fit", model)
    model.get_layer("hidden").trainable = True
    with pytest.raises(
        verify.GraphAssertionError, match="hidden/kernel: unfrozen after tracing, so it is not"
    ):
        verify.assert_graph(target, *given, watched="*")


def test_a_frozen_copy_that_follows_is_an_average() -> None:
    """A target network is frozen, read by the loss and written in every step, but not trained."""
    online, target = keras.layers.Dense(1, name="online"), keras.layers.Dense(1, name="target")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, [online(inputs), target(inputs)])
    target.trainable = False
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(online.trainable_variables)

    @tf.function
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = MSE(y + tf.stop_gradient(target(x)), online(x))
        gradients = tape.gradient(loss, online.trainable_variables)
        optimizer.apply(gradients, online.trainable_variables)
        for mine, theirs in zip(target.variables, online.variables, strict=True):
            mine.assign(0.9 * mine + 0.1 * theirs)

    facts = verify.facts(train, *batch(), model=model)
    assert facts.watched == ("online/bias", "online/kernel")
    assert facts.written.averages == ("target/bias", "target/kernel")
    assert facts.frozen_late == ()


def test_a_freeze_behind_attach_is_told() -> None:
    model = small()
    callback = LoopControllerCallback({"gate": {"cond": when.always, True: {}}})
    callback.attach(model)
    verify.assert_config(model, callback, batch())
    model.get_layer("hidden").trainable = False
    with pytest.raises(verify.GraphAssertionError, match=f"hidden/kernel: {LATE}"):
        verify.assert_config(model, callback, batch())


def test_fit_goes_on_with_the_graph_of_before_a_freeze() -> None:
    """A step that is traced anew has no say in what ``fit`` runs, until the model is compiled."""
    model = small()
    model.fit(tf.zeros((8, 4)), tf.zeros((8, 1)), verbose=0)
    model.get_layer("hidden").trainable = False
    for target in (model, model.train_step, model.train_function):
        assert verify.facts(target, *batch()).frozen_late == ("hidden/bias", "hidden/kernel")
        for expected in ({"unwatched": "hidden/*"}, {"watched": ["*", "!hidden/*"]}):
            with pytest.raises(verify.GraphAssertionError, match=LATE):
                verify.assert_graph(target, *batch(), **expected)
    model.compile("adam", "mse", metrics=["mae"])
    for target in (model, model.train_step):
        assert verify.facts(target, *batch()).frozen_late == ()
        verify.assert_graph(target, *batch(), unwatched="hidden/*")

"""Nothing is found in steps that are sound: the corpus, the samples of selfcheck, large models."""

from __future__ import annotations

from types import ModuleType

import keras
import pytest
import tensorflow as tf

import verify
from tests.corpus.test_corpus import EXAMPLES, named
from verify.selfcheck import FAULTS, KINDS, OPTIMIZERS
from verify.selfcheck.training import Training

RIGHT = {fault.correct: fault for fault in FAULTS}


@pytest.mark.parametrize("module", EXAMPLES, ids=named)
def test_the_corpus(module: ModuleType) -> None:
    case = module.case()
    assert not verify.lint(case.step, *case.batch)


@pytest.mark.parametrize("training", RIGHT, ids=lambda training: training.__name__)
def test_the_samples_of_selfcheck(training: type[Training]) -> None:
    fault = RIGHT[training]
    kind = next(kind for kind in KINDS if kind not in fault.but)
    made = training(KINDS[kind](), (fault.optimizers or tuple(OPTIMIZERS))[0])
    step = tf.function(made.step, autograph=False)
    assert not verify.lint(step, *made.batch, model=made.model)


@pytest.mark.parametrize("head", ["softmax", None])
@pytest.mark.parametrize("name", ["MobileNet", "MobileNetV2", "VGG16"])
def test_models_of_keras(name: str, head: str | None) -> None:
    make = getattr(keras.applications, name)
    model = make(weights=None, input_shape=(32, 32, 3), classes=5, classifier_activation=head)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=head is None)
    model.compile("adam", loss)
    batch = tf.TensorSpec((4, 32, 32, 3)), tf.TensorSpec((4,), "int32")
    assert not verify.lint(model, batch)


@pytest.mark.parametrize("scaled", [False, True])
def test_an_optimizer_that_adds_up_gradients(scaled: bool) -> None:
    optimizer = keras.optimizers.Adam(0.01, gradient_accumulation_steps=2)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(1)])
    model.compile(keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer, "mse")
    assert verify.lint(model, tf.TensorSpec((8, 3)), tf.TensorSpec((8, 1))) == ()


@pytest.mark.parametrize("number", [0.0, -1.0, 7.0])
@pytest.mark.parametrize("others", [False, True], ids=["equal", "within"])
def test_a_loss_of_those_examples_alone_whose_target_is_a_number(
    number: float, others: bool
) -> None:
    def loss(y: tf.Tensor, prediction: tf.Tensor) -> tf.Tensor:
        judged = tf.abs(y - number) < 1e-3 if others else tf.equal(y, number)
        return tf.reduce_mean(tf.where(judged, prediction**2, tf.zeros_like(prediction)))

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(1)])
    model.compile("adam", loss)
    assert verify.lint(model, tf.TensorSpec((8, 3)), tf.TensorSpec((8, 1))) == ()

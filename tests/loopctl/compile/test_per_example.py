"""Gradients of single examples: clipped one by one, added up, with noise."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from loopctl import ConfigError, LoopControllerCallback, when
from loopctl.compile import per_example
from tests.loopctl.compile.test_accumulation import SIZE, X, Y, assert_alike
from tests.loopctl.compile.twins import assert_trains_as_its_twin
from tests.oracle import eager
from tests.replicas import mirrored

WEIGHTS = np.random.default_rng(1).uniform(0, 2, len(X)).astype("float32")
BATCHES = [
    (X[i : i + SIZE], Y[i : i + SIZE], WEIGHTS[i : i + SIZE]) for i in range(0, len(X), SIZE)
]


def compiled(layers: list[Any], inputs: Any = (3,), **options: Any) -> keras.Model:
    model = keras.Sequential([keras.Input(inputs), *layers])
    model.compile(**{"optimizer": keras.optimizers.SGD(1.0), "loss": "mse", **options})
    return model


def build(optimizer: Any, **options: Any) -> keras.Model:
    keras.utils.set_random_seed(3)
    dense = keras.layers.Dense
    layers = [dense(4, "tanh", kernel_regularizer="l2", name="below"), dense(1, name="above")]
    return compiled(layers, optimizer=optimizer, **options)


def fitted(model: keras.Model, config: Any, batch: Any = (X, Y, WEIGHTS), **fit: Any) -> Any:
    callback = LoopControllerCallback(config) if isinstance(config, dict) else config
    options = {"batch_size": SIZE, "shuffle": False, "verbose": 0, **fit}
    model.fit(*batch[:2], sample_weight=[*batch, None][2], callbacks=[callback], **options)
    return callback


def config(cond: Any, clip: Any) -> dict[str, Any]:
    first = {"per_example": {"clip": 0.3}, "regularize": True, "clipping": {"norm": 0.1}}
    second = {"per_example": {"clip": clip}, "accumulate": 2, "variables": "*/above/*"}
    weighed = {"loss": "mae", "loss_weights": 0.5}
    more = {"per_example": {"clip": 0.2, "noise": 0}, **weighed, "repeat": 2}
    return {
        "all": {"cond": cond, True: {**first, "skip_nonfinite": True}, False: second},
        "more": {"cond": cond, False: more},
    }


CONFIG = config(when.batches % 3 < 1, when.linear(0.5, 0.1, over=6))
TWIN = config(lambda self: self.batches % 3 < 1, lambda self: max(0.5 - self.batches / 15, 0.1))


@pytest.mark.parametrize(
    ("replicas", "scaled", "options"),
    [
        (1, False, {}),
        (1, True, {"jit_compile": True, "steps_per_execution": 4}),
        (1, True, {"run_eagerly": True}),
        (2, True, {"steps_per_execution": 4}),
    ],
    ids=str,
)
def test_it_is_a_loop_over_examples(replicas: int, scaled: bool, options: Any) -> None:
    way = replicas, scaled, options
    callback = assert_trains_as_its_twin(build, fitted, (CONFIG, TWIN), BATCHES, way)
    if not options:
        assert "clip = value_of('clip')" in callback.source("all", False)


def outputs(y_true: Any, y_pred: Any) -> Any:
    """A loss whose gradients depend on no weight of a last layer."""
    return keras.ops.mean(y_pred, axis=-1)


def noises(branch: Any, replicas: int = 1, steps: int = 4) -> np.ndarray[Any, Any]:
    """What is added to a batch's mean gradient in each step, (steps, weights)."""
    x = np.random.default_rng(0).normal(size=(SIZE, 64)).astype("float32")
    found = []
    for noise in (branch["per_example"]["noise"], 0):
        keras.utils.set_random_seed(5)
        with mirrored().scope() if replicas == 2 else contextlib.nullcontext():
            # By XLA where there is one replica.
            dense = keras.layers.Dense(128)
            model = compiled([dense], (64,), loss=outputs, jit_compile=replicas == 1)
        rows = [np.concatenate([w.ravel() for w in model.get_weights()])]

        def keep(callback: Any, model: Any = model, rows: Any = rows) -> None:
            rows.append(np.concatenate([w.ravel() for w in model.get_weights()]))

        one = {**branch, "per_example": {**branch["per_example"], "noise": noise}}
        control = LoopControllerCallback(
            {"all": {"cond": when.always, True: one}},
            {"keep": {"cond": when.always, "callback": keep}},
        )
        model.fit(x, x, batch_size=SIZE, epochs=steps, verbose=0, callbacks=[control])
        found.append(-np.diff(rows, axis=0))
    return found[0] - found[1]


@pytest.mark.parametrize(
    ("branch", "replicas", "deviations"),
    [
        ({"per_example": {"clip": 0.5, "noise": 2.0}}, 1, [1.0] * 4),
        ({"per_example": {"clip": 0.5, "noise": 2.0}}, 2, [1.0] * 4),
        ({"per_example": {"clip": 0.5, "noise": 2.0}, "accumulate": 2}, 1, [0, 0.5, 0, 0.5]),
        (
            {"per_example": {"clip": 0.5, "noise": when.piecewise([2], [2, 4])}},
            1,
            [1.0, 1.0, 2.0, 2.0],
        ),
    ],
    ids=str,
)
def test_how_much_noise_there_is(branch: Any, replicas: int, deviations: list[float]) -> None:
    """In the mean over the examples: of the sum it is as many times that."""
    found = noises(branch, replicas) * SIZE
    count = found.shape[1]
    np.testing.assert_allclose(found.std(axis=1), deviations, rtol=4 / (2 * count) ** 0.5)
    steps = [row / row.std() for row, wanted in zip(found, deviations, strict=True) if wanted]
    bound = 4 / count**0.5
    assert max(abs(row.mean()) for row in steps) < bound
    correlations = np.corrcoef(steps) - np.eye(len(steps))
    assert np.abs(correlations).max() < bound, "each step has noise of its own"
    kurtosis = np.mean([np.mean(row**4) for row in steps])
    assert kurtosis == pytest.approx(3.0, abs=0.3), "normal"


ALWAYS = {"cond": when.always}
PLAIN = {"per_example": {"clip": 0.5}, "regularize": False}
NOISY = {"per_example": {"clip": 0.5, "noise": 1.0}, "regularize": False}


def test_noise_goes_on_where_it_was() -> None:
    """In a fit that goes on from a state; any other has noise of its own."""
    config = {"all": {**ALWAYS, True: NOISY}}
    whole, parted, anew = build("sgd"), build("sgd"), build("sgd")
    keras.utils.set_random_seed(3)
    fitted(whole, config, epochs=2)
    keras.utils.set_random_seed(3)
    first = fitted(parted, config)
    anew.set_weights(parted.get_weights())
    second = LoopControllerCallback(config)
    second.set_state(first.get_state())
    fitted(parted, second)
    assert_alike(parted, whole)
    fitted(anew, config)
    assert np.abs(anew.get_weights()[0] - whole.get_weights()[0]).max() > 1e-4


def images() -> keras.Model:
    layers = keras.layers
    body = [layers.Conv2D(3, 2, activation="relu"), layers.MaxPooling2D(), layers.Flatten()]
    return compiled([*body, layers.GroupNormalization(1), layers.Dense(1)], (5, 5, 2))


def texts() -> keras.Model:
    """Tokens, masked, through a loop and through products of matrices in a batch."""
    layers, inputs = keras.layers, keras.Input((5,), dtype="int32")
    told = layers.GRU(4, return_sequences=True)(layers.Embedding(7, 4, mask_zero=True)(inputs))
    told = layers.LayerNormalization()(layers.MultiHeadAttention(2, 3)(told, told))
    model = keras.Model(inputs, layers.Dense(1)(layers.GlobalAveragePooling1D()(told)))
    model.compile(keras.optimizers.SGD(1.0), "mse")
    return model


@pytest.mark.parametrize("make", [images, texts], ids=lambda make: make.__name__)
def test_layers_that_are_vectorised_and_layers_that_are_not(make: Any) -> None:
    generator = np.random.default_rng(0)
    inputs = {images: generator.normal(size=(8, 5, 5, 2)), texts: generator.integers(0, 7, (8, 5))}
    batch = (inputs[make].astype("float32" if make is images else "int32"), Y[:8])
    models = []
    for _ in range(2):
        keras.utils.set_random_seed(1)
        models.append(make())
    branch = {"per_example": {"clip": 0.3}}
    eager.train(models[0], {"all": {"cond": lambda self: True, True: branch}}, [batch])
    fitted(models[1], {"all": {**ALWAYS, True: branch}}, batch)
    assert_alike(*models)


def test_examples_have_random_numbers_of_their_own() -> None:
    """Those of a whole batch would leave out an input in all examples, or in none."""
    keras.utils.set_random_seed(2)
    dense = keras.layers.Dense(1, use_bias=False)
    model = compiled([keras.layers.Dropout(0.5), dense], (64,), loss=outputs)
    found = []
    branch = {"per_example": {"clip": 1e9}, "repeat": 2}
    callback = LoopControllerCallback({"all": {**ALWAYS, True: branch}}).attach(model)
    for _ in range(2):
        before = dense.kernel.numpy()
        callback.train_on_batch(np.ones((256, 64), "float32"), np.zeros((256, 1), "float32"))
        found.append((before - dense.kernel.numpy()).ravel())
    # Each element is a mean of 512 numbers that are 0 or 2, twice.
    assert 0.02 < np.std(found[0]) < 0.2
    np.testing.assert_allclose(found, 2.0, atol=0.5)
    assert np.any(found[0] != found[1])


class Penalised(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        self.add_loss(keras.ops.mean(x))
        return x


@pytest.mark.parametrize(
    ("layer", "changes", "message"),
    [
        (keras.layers.BatchNormalization(), {}, "moving_mean depends on the batch. Normalise each"),
        (Penalised(), {"regularize": True}, "adds to the loss with add_loss or an activity_regul"),
        (
            keras.layers.Dense(2, activity_regularizer="l2", name="active"),
            {"regularize": "active"},
            "'active' adds to the loss",
        ),
        (
            keras.layers.Dense(2, name="other"),
            {"loss": keras.losses.MeanSquaredError("sum")},
            "'mean_squared_error' with reduction 'sum': the mean over the examples is taken of",
        ),
    ],
    ids=["statistics", "add_loss", "activities", "sum"],
)
def test_what_is_no_sum_over_examples_is_refused(layer: Any, changes: Any, message: str) -> None:
    model = compiled([layer, keras.layers.Dense(1)])
    with pytest.raises(ConfigError) as error:
        fitted(model, {"all": {**ALWAYS, True: {**PLAIN, **changes}}})
    assert message in str(error.value)


def test_what_is_needed_of_a_model() -> None:
    """Normalisation that infers is no matter of the batch; a loss has to be there."""
    layers = [keras.layers.BatchNormalization(name="normal"), keras.layers.Dense(1)]
    model = compiled(layers)
    before = model.get_weights()
    fitted(model, {"all": {**ALWAYS, True: {**PLAIN, "inference": "normal"}}})
    assert np.any(before[4] != model.get_weights()[4])
    assert not np.any(model.layers[0].moving_mean)
    bare = compiled([keras.layers.Dense(1)], loss=None)
    with pytest.raises(ConfigError, match=r"no loss of an example: model 'seq.*' was compiled"):
        fitted(bare, {"all": {**ALWAYS, True: {**PLAIN, "regularize": True}}})


class Whole(keras.losses.Loss):
    """Reduces by itself."""

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return keras.ops.mean((y_true - y_pred) ** 2)


def test_among_replicas_it_must_be_known_how_a_loss_is_reduced() -> None:
    with mirrored().scope():
        model = build("sgd")
    branch = {**PLAIN, "loss": Whole()}
    with pytest.raises(ConfigError, match="a loss with its own reduction"):
        LoopControllerCallback({"all": {**ALWAYS, True: branch}}).attach(model)


def test_a_batch_has_to_be_dense() -> None:
    ragged = tf.ragged.constant([[1.0], [2.0, 3.0]])
    with pytest.raises(ConfigError, match="but a part of it is a RaggedTensor: make it dense"):
        per_example.clipped_sums(None, None, (ragged, None), [], 1.0)


@pytest.mark.parametrize("skips", [True, False])
def test_an_example_that_is_not_finite_is_not_hidden_by_its_clip(skips: bool) -> None:
    model = build("sgd")
    x = X[:SIZE].copy()
    x[3] = np.inf
    branch = {**PLAIN, "skip_nonfinite": skips}
    before = model.get_weights()
    callback = fitted(model, {"all": {**ALWAYS, True: branch}}, (x, Y[:SIZE]))
    if skips:
        assert callback.history[0]["skipped_all"] == 1
        for a, b in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    else:
        assert np.all(np.isnan(model.get_weights()[0]))

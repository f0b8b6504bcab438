"""A branch's loss means what `Model.compile` would make of it: plain Keras is the reference."""

from __future__ import annotations

import functools
import re
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import verify
from loopctl import ConfigError, LoopControllerCallback, when
from loopctl.compile import compiled_loss, output_weights
from tests.oracle import eager

X = np.random.default_rng(3).normal(size=(12, 3)).astype("float32")
A, B = X.sum(axis=1, keepdims=True), X[:, :2]


def test_the_private_compiled_loss_is_where_we_look_for_it(model: keras.Model) -> None:
    """It must be the loss of compile, without the layers' regularisation."""
    y, prediction = tf.constant([[1.0], [3.0]]), tf.constant([[0.0], [0.0]])
    assert float(compiled_loss(model)(y, prediction, None)) == 5.0
    assert float(compiled_loss(model)(y, prediction, tf.constant([1.0, 0.0]))) == 0.5
    assert model.losses


def build(kind: str, loss: Any = "mse", **compiled: Any) -> keras.Model:
    """Outputs a (1) and b (2), in a structure of `kind`."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((3,))
    a, b = (keras.layers.Dense(n, name=name)(inputs) for n, name in ((1, "a"), (2, "b")))
    structures = {"one": a, "list": [a, b], "dict": {"a": a, "b": b}, "keys": {"p": a, "q": b}}
    made = keras.Model(inputs, structures[kind], name="net")
    made.compile(keras.optimizers.SGD(0.1), loss, jit_compile=False, **compiled)
    return made


def under_control(model: keras.Model, loss: Any, y: Any, **fit: Any) -> LoopControllerCallback:
    callback = LoopControllerCallback({"gate": {"cond": when.always, True: {"loss": loss}}})
    model.fit(X, y, batch_size=4, shuffle=False, verbose=0, callbacks=[callback], **fit)
    return callback


def assert_alike(model: keras.Model, other: keras.Model) -> None:
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "loss", "y"),
    [
        ("one", ["mae"], A),
        ("one", {"a": "mae"}, A),
        ("list", "mae", [A, B]),
        ("list", ("mae", "huber"), {"a": A, "b": B}),
        ("list", {"b": "huber", "a": "mae"}, [A, B]),
        ("list", [None, "mae"], {"a": A, "b": B}),
        ("dict", "huber", {"a": A, "b": B}),
        ("dict", {"b": "mae"}, [A, B]),
        ("keys", {"p": "mae", "q": "huber"}, {"p": A, "q": B}),
    ],
)
@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_structures_of_losses_outputs_and_targets(kind: str, loss: Any, y: Any) -> None:
    plain, model = build(kind, loss), build(kind)
    plain.fit(X, y, batch_size=4, shuffle=False, verbose=0)
    under_control(model, loss, y)
    assert_alike(model, plain)


def test_every_sample_of_a_batch_counts_for_a_list_of_one_loss() -> None:
    """It once took the first sample of targets and predictions for those of the first output."""
    reference, model = build("one"), build("one")
    config = {"gate": {"cond": lambda self: True, True: {"loss": ["mae"]}}}
    eager.train(reference, config, [(X[i : i + 4], A[i : i + 4]) for i in range(0, 12, 4)])
    callback = under_control(model, ["mae"], A)
    assert_alike(model, reference)
    verify.assert_config(model, callback, (X[:4], A[:4]))


@pytest.mark.parametrize(
    ("kind", "loss", "told"),
    [
        ("one", {0: "mse"}, "whose output is 'a': Expected keys"),
        ("list", {"a": "mse"}, "whose output is list of 'a', 'b': Expected keys"),
        ("keys", {"a": "mse", "b": "mae"}, "whose output is dict of 'a', 'b'"),
    ],
)
def test_what_fits_no_output_is_refused_when_attached(kind: str, loss: Any, told: str) -> None:
    model = build(kind)
    callback = LoopControllerCallback({"gate": {"cond": when.always, True: {"loss": loss}}})
    place = r'config\["gate"\]\[True\]\["loss"\] does not fit model \'net\', '
    with pytest.raises(ConfigError, match=place + re.escape(told)):
        callback.attach(model)
    assert not hasattr(model, "gate_on")


def test_targets_that_do_not_fit_are_refused_with_the_place() -> None:
    with pytest.raises(ConfigError, match=r'\["loss"\] can\'t be computed from the targets'):
        under_control(build("dict"), {"a": "mae", "b": "mae"}, {"a": A, "c": B, "d": B})


def test_of_two_losses_for_one_output_the_first_counts_and_a_warning_says_so() -> None:
    plain, model = build("one", ["mae", "mse"]), build("one")
    plain.fit(X, A, batch_size=4, shuffle=False, verbose=0)
    with pytest.warns(UserWarning, match="2 losses for the single output of model 'net'"):
        callback = under_control(model, ["mae", "mse"], A)
    assert_alike(model, plain)
    verify.assert_config(model, callback, (X[:4], A[:4]))


def squared(y_true: Any, y_pred: Any) -> Any:
    return keras.ops.mean((y_true - y_pred) ** 2, -1)


def _hidden(y_true: Any, y_pred: Any) -> Any:
    return squared(y_true, y_pred)


def größe(y_true: Any, y_pred: Any) -> Any:
    return squared(y_true, y_pred)


class Callable_:  # noqa: N801
    def __call__(self, y_true: Any, y_pred: Any) -> Any:
        return squared(y_true, y_pred)


OWN = [lambda y, p: squared(y, p), functools.partial(squared), Callable_(), _hidden, größe]


@pytest.mark.parametrize("loss", OWN, ids=["lambda", "partial", "object", "hidden", "unicode"])
def test_a_function_of_any_kind_and_name(loss: Any) -> None:
    plain, model = build("one", "mse"), build("one", "mae")
    plain.fit(X, A, batch_size=4, shuffle=False, verbose=0)
    under_control(model, loss, A)
    assert_alike(model, plain)


def test_targets_of_another_rank_meet_predictions_as_in_keras() -> None:
    """(batch, time) and (batch, time, 1) once were broadcast against each other."""
    keras.utils.set_random_seed(1)
    net = keras.Sequential([keras.Input((3, 2)), keras.layers.Dense(1)])
    net.compile("sgd", "mae")
    x, y = np.ones((4, 3, 2), "float32"), np.arange(12, dtype="float32").reshape(4, 3)
    expected = np.mean((y - np.asarray(net(x))[:, :, 0]) ** 2)
    callback = LoopControllerCallback(
        {"gate": {"cond": when.always, True: {"loss": lambda t, p: keras.ops.square(t - p)}}}
    ).attach(net)
    assert callback.train_on_batch(x, y)["loss"] == pytest.approx(float(expected), rel=1e-5)


WEIGHTS = {"a": 0.25, "b": 2.0}


@pytest.mark.parametrize("loss", [{"a": "mae", "b": "huber"}, {"a": "mae", "b": None}])
def test_outputs_keep_the_weights_that_they_were_compiled_with(loss: Any) -> None:
    y = {"a": A, "b": B}
    plain = build("dict", loss, loss_weights=WEIGHTS)
    model = build("dict", {"a": "mse", "b": "mse"}, loss_weights=WEIGHTS)
    plain.fit(X, y, batch_size=4, shuffle=False, verbose=0)
    callback = under_control(model, loss, y)
    assert_alike(model, plain)
    verify.assert_config(model, callback, (X[:4], {"a": A[:4], "b": B[:4]}))


def test_how_weights_are_arranged() -> None:
    by_list = build("list", ["mse", "mse"], loss_weights=[0.25, 2.0])
    by_name = build("list", {"a": "mse", "b": "mse"}, loss_weights={"b": 2.0, "a": 0.25})
    for net in (by_list, by_name):
        assert output_weights(net, ["mae", None], "loss") == [0.25, 2.0]
        assert output_weights(net, {"b": "mae"}, "loss") == {"b": 2.0}
        with pytest.raises(ConfigError, match=r"has weights .*: give one loss for each"):
            output_weights(net, "mae", "loss")
        with pytest.raises(ConfigError, match=r"list of 1, but .* weights for 2 outputs"):
            output_weights(net, ["mae"], "loss")
    assert output_weights(build("one", "mse", loss_weights=0.5), "mae", "loss") == [0.5]
    assert output_weights(build("one"), "mae", "loss") is None


def test_weights_that_are_variables_go_on_being_read() -> None:
    weight = keras.Variable(1.0, name="weight", trainable=False)
    both: Any = {"a": "mse", "b": "mse"}
    model = build("dict", both, loss_weights={"a": weight, "b": 1.0})
    config = {"gate": {"cond": when.always, True: {"loss": {"a": "mae"}}}}
    callback = LoopControllerCallback(config).attach(model)
    first = callback.train_on_batch(X, {"a": A, "b": B})["loss"]
    weight.assign(0.0)
    callback.on_epoch_begin(1)
    assert first > 0 == callback.train_on_batch(X, {"a": A, "b": B})["loss"]


# -- losses that a model has by itself -------------------------------------------------------------


class Computing(keras.Model):
    """Adds the mean size of predictions to the compiled loss, as Keras recommends."""

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, **_: Any
    ) -> Any:
        data = super().compute_loss(x, y, y_pred, sample_weight)
        return data + 0.1 * keras.ops.mean(keras.ops.abs(y_pred))


class Old(keras.Model):
    """Before Keras 3.3 `compute_loss` took no `training`; compiled without a loss."""

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None
    ) -> Any:
        return keras.ops.mean((y - y_pred) ** 2)


class Stepping(keras.Model):
    def train_step(self, data: Any) -> Any:
        return super().train_step(data)


def made(kind: type[keras.Model], loss: Any = "mse", regularizer: Any = None) -> keras.Model:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(2, name="hidden", kernel_regularizer=regularizer)(inputs)
    net: keras.Model = kind(inputs, keras.layers.Dense(1, name="head")(hidden), name="net")
    net.compile(keras.optimizers.SGD(0.05), loss, jit_compile=False)
    return net


def config_of(**branch: Any) -> dict[str, Any]:
    return {"gate": {"cond": lambda self: True, True: branch}}


@pytest.mark.parametrize("kind", [Computing, Old])
def test_a_models_own_compute_loss_is_its_loss(kind: type[keras.Model]) -> None:
    loss = None if kind is Old else "mse"
    plain, model, reference = (made(kind, loss) for _ in range(3))
    plain.fit(X, A, batch_size=4, shuffle=False, verbose=0)
    callback = LoopControllerCallback(config_of())
    model.fit(X, A, batch_size=4, shuffle=False, verbose=0, callbacks=[callback])
    eager.train(reference, config_of(), [(X[i : i + 4], A[i : i + 4]) for i in range(0, 12, 4)])
    assert_alike(model, plain)
    assert_alike(model, reference)
    verify.assert_config(model, callback, (X[:4], A[:4]))
    assert "the model's compute_loss" in summary(callback)


def summary(callback: LoopControllerCallback) -> str:
    found: list[str] = []
    callback.summary(print_fn=found.append, line_length=200)
    return found[0]


@pytest.mark.parametrize("regularize", [False, True])
def test_what_layers_add_follows_regularize_in_a_compute_loss_too(regularize: bool) -> None:
    plain = made(Computing, "mse", "l2" if regularize else None)
    model, reference = made(Computing, "mse", "l2"), made(Computing, "mse", "l2")
    plain.fit(X, A, batch_size=4, shuffle=False, verbose=0)
    config = config_of(regularize=regularize)
    callback = LoopControllerCallback(config)
    model.fit(X, A, batch_size=4, shuffle=False, verbose=0, callbacks=[callback])
    eager.train(reference, config, [(X[i : i + 4], A[i : i + 4]) for i in range(0, 12, 4)])
    assert_alike(model, plain)
    assert_alike(model, reference)
    assert type(model) is Computing
    assert model.losses


def test_a_branchs_own_loss_takes_the_place_of_compute_loss() -> None:
    plain, model = made(keras.Model, "mae"), made(Computing)
    plain.fit(X, A, batch_size=4, shuffle=False, verbose=0)
    under_control(model, "mae", A)
    assert_alike(model, plain)


def test_a_train_step_of_ones_own_is_refused() -> None:
    told = "model 'net' has its own train_step, .*: write what it does as the \"objective\""
    with pytest.raises(ConfigError, match=told):
        LoopControllerCallback(config_of()).attach(made(Stepping))


class Penalty(keras.layers.Layer):
    def call(self, z: Any) -> Any:
        self.add_loss(keras.ops.mean(keras.ops.square(z)))
        return z


def encoder(loss: Any = None) -> keras.Model:
    keras.utils.set_random_seed(1)
    net = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), Penalty()], name="net")
    net.compile(keras.optimizers.SGD(0.05), loss, jit_compile=False)
    return net


def test_a_model_may_be_trained_by_what_its_layers_add_alone() -> None:
    plain, model = encoder(), encoder()
    plain.fit(X, batch_size=4, shuffle=False, verbose=0)
    callback = LoopControllerCallback(config_of(regularize=True))
    model.fit(X, batch_size=4, shuffle=False, verbose=0, callbacks=[callback])
    assert_alike(model, plain)
    assert "none" in summary(callback)


def test_a_branch_without_any_loss_is_refused_when_attached() -> None:
    told = r'config\["gate"\]\[True\] has no "loss", and model \'net\' was compiled without one'
    with pytest.raises(ConfigError, match=told):
        LoopControllerCallback(config_of()).attach(encoder())

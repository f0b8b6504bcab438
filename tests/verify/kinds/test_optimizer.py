"""`optimizer=` and `learning_rate=`: what is said where another rule updates the variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch, dense
from tests.verify.updates import rejected
from verify.contracts import read
from verify.contracts.expectation import expectation
from verify.find import Detector
from verify.step import capture

optim = keras.optimizers
MSE = keras.losses.MeanSquaredError()
SCHEDULE = optim.schedules.ExponentialDecay(0.1, 100, 0.9)


def concrete(optimizer: Any) -> tuple[Any, keras.Model]:
    """A step that is traced once, and its model."""
    model = dense()
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = MSE(y, model(x))
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        optimizer.apply(gradients, model.trainable_variables)

    return train, model


@pytest.fixture(scope="module")
def adam() -> tuple[Any, keras.Model]:
    return concrete(optim.Adam(0.1))


@pytest.fixture(scope="module")
def scheduled() -> tuple[Any, keras.Model]:
    return concrete(optim.SGD(SCHEDULE))


def test_the_settings_that_differ_are_told(adam: Any) -> None:
    message = rejected(adam[0], *batch(), optimizer=optim.Adam(0.2, beta_1=0.8))
    assert "expected each update as by Adam(learning_rate=0.2, beta_1=0.8)" in message
    assert "found    Adam(learning_rate=0.1): " in message
    assert "learning_rate is 0.1, expected 0.2" in message
    assert "beta_1 is 0.9, expected 0.8" in message


def test_of_another_optimizer_no_settings_are_told(adam: Any) -> None:
    message = rejected(adam[0], *batch(), optimizer="rmsprop")
    assert "found    Adam(learning_rate=0.1): " in message
    assert ", expected" not in message.partition("found")[2]


def test_by_name_and_by_what_scales_losses_for_it(adam: Any) -> None:
    train, _ = concrete(optim.Adam())
    verify.assert_graph(train, *batch(), optimizer="adam")
    verify.assert_graph(adam[0], *batch(), optimizer=optim.LossScaleOptimizer(optim.Adam(0.1)))


def test_a_dict_by_selection(adam: Any) -> None:
    train, model = adam
    right, wrong = optim.Adam(0.1), optim.Adam(0.2)
    verify.assert_graph(train, *batch(), optimizer={"*kernel": right, "*bias": optim.Adam(0.1)})
    verify.assert_graph(train, *batch(), learning_rate={"*bias": 0.1})
    message = rejected(train, *batch(), optimizer={"*kernel": right, "*bias": wrong})
    assert model.layers[0].bias.path in message
    assert model.layers[0].kernel.path not in message
    message = rejected(train, *batch(), learning_rate={"*kernel": 0.1, "*bias": 0.2})
    assert "learning_rate: expected 0.2" in message
    with pytest.raises(ValueError, match=r"optimizer: '\*gamma' matches no"):
        verify.assert_graph(train, *batch(), optimizer={"*gamma": right})


def test_nothing_is_updated(adam: Any) -> None:
    train, model = adam
    idle = tf.function(lambda x, y: model(x) - y)
    verify.assert_graph(idle, *batch(), optimizer=None, model=model)
    assert "expected no update" in rejected(train, *batch(), optimizer=None)
    assert "no gradient reaches an update" in rejected(
        idle, *batch(), optimizer="sgd", learning_rate=0.1, model=model
    )


@pytest.mark.parametrize("wrong", ["no such optimizer", 3, [optim.SGD()], object()])
def test_what_is_no_optimizer(wrong: Any, adam: Any) -> None:
    with pytest.raises(TypeError, match=r"^optimizer: .* is not an optimizer of Keras"):
        verify.assert_graph(adam[0], *batch(), optimizer=wrong)


@pytest.mark.parametrize("wrong", ["0.1", True, None, {"*": "0.1"}])
def test_what_is_no_rate(wrong: Any, adam: Any) -> None:
    with pytest.raises(TypeError, match=r"^learning_rate: .* is neither a number nor a schedule"):
        verify.assert_graph(adam[0], *batch(), learning_rate=wrong)


def test_rates_and_schedules(adam: Any, scheduled: Any) -> None:
    verify.assert_graph(adam[0], *batch(), learning_rate=0.1)
    same = optim.schedules.ExponentialDecay(0.1, 100, 0.9)
    verify.assert_graph(scheduled[0], *batch(), learning_rate=same, optimizer=optim.SGD(same))
    other = optim.schedules.ExponentialDecay(0.1, 100, 0.8)
    assert "decay_rate=0.8" in rejected(scheduled[0], *batch(), learning_rate=other)
    assert "ExponentialDecay" in rejected(scheduled[0], *batch(), learning_rate=0.1)
    assert "Adam(learning_rate=0.1)" in rejected(adam[0], *batch(), learning_rate=same)


@pytest.mark.parametrize("wrong", [[0.1], (0.2, 0.1), ("a", 1.0), (True, 1.0), {"*": (1, 2, 3)}])
def test_what_are_no_rates(wrong: Any, adam: Any) -> None:
    with pytest.raises(TypeError, match=r"^learning_rate: .* are no two numbers, 0 <= least"):
        verify.assert_graph(adam[0], *batch(), learning_rate=wrong)


def between(least: float, most: float, **settings: Any) -> dict[str, Any]:
    """Adam at any rate between two."""
    return {"class_name": "Adam", "config": {"learning_rate": (least, most), **settings}}


def test_rates_between_two_numbers(adam: Any, scheduled: Any) -> None:
    step = adam[0]
    for rates in ((0.01, 0.1), (0.1, 0.1), (0.1, 1)):
        verify.assert_graph(step, *batch(), learning_rate=rates, optimizer=between(*rates))
    verify.assert_graph(step, *batch(), learning_rate={"*": (0.01, 1)})
    told = rejected(step, *batch(), learning_rate=(0.2, 0.3), optimizer=between(0.2, 0.3))
    assert "learning_rate: expected 0.2 to 0.3" in told
    assert "expected each update as by Adam(learning_rate=0.2), or at a rate up to 0.3" in told
    assert "learning_rate is 0.1, expected 0.2 to 0.3" in told
    told = rejected(step, *batch(), optimizer=between(0.01, 0.3, beta_1=0.8))
    assert "beta_1 is 0.9, expected 0.8" in told
    assert "learning_rate is" not in told
    assert "ExponentialDecay" in rejected(scheduled[0], *batch(), learning_rate=(0.0, 1.0))


def test_variables_that_are_spared_from_weight_decay() -> None:
    spares = optim.AdamW(0.1)
    spares.exclude_from_weight_decay(var_names=["bias"])
    train, _ = concrete(spares)
    alike = optim.AdamW(0.1)
    alike.exclude_from_weight_decay(var_names=["bias"])
    verify.assert_graph(train, *batch(), optimizer=alike)
    told = rejected(train, *batch(), optimizer=optim.AdamW(0.1))
    assert "one of the two exempts it from weight decay" in told
    assert "kernel" not in told


def test_a_rate_that_was_set_later_is_the_one_that_holds() -> None:
    optimizer = optim.SGD(0.1)
    train, _ = concrete(optimizer)
    optimizer.learning_rate = 0.3
    verify.assert_graph(train, *batch(), learning_rate=0.3, optimizer=optim.SGD(0.3))
    assert "SGD(learning_rate=0.3)" in rejected(train, *batch(), learning_rate=0.1)


def opposite(optimizer: Any, treat: Any) -> tuple[Any, keras.Model]:
    """A step in which what is made of the opposite of each gradient is applied."""
    model = dense()
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((y - model(x)) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply([treat(-gradient) for gradient in gradients], model.trainable_variables)

    return train, model


@pytest.mark.parametrize("treat", [lambda g: g, lambda g: tf.clip_by_norm(g, 0.5)])
@pytest.mark.parametrize("made", [optim.Adam(0.1), optim.Lion(0.1), optim.SGD(0.1, momentum=0.9)])
def test_the_opposite_of_a_gradient_is_no_update_by_it(made: Any, treat: Any) -> None:
    train, model = opposite(type(made).from_config(made.get_config()), treat)
    told = rejected(train, *batch(), model=model, optimizer=made)
    assert "of the opposite of each gradient" in told
    verify.assert_graph(train, *batch(), model=model, optimizer=made, allow_transforms=True)


def test_the_opposite_of_a_gradient_is_clipped_to_a_norm() -> None:
    train, model = opposite(optim.Adam(0.1), lambda g: tf.clip_by_norm(g, 0.5))
    verify.assert_graph(train, *batch(), model=model, clipping={"norm": 0.5})
    assert "norm 0.4" in rejected(train, *batch(), model=model, clipping={"norm": 0.4})


def test_the_rate_of_a_rule_by_hand_is_that_of_the_optimizer_that_is_asked_for() -> None:
    model, rate = dense(), tf.Variable(0.1, trainable=False)
    weights = [v.value for v in model.trainable_variables]
    kept = [tf.Variable(tf.zeros(w.shape), trainable=False) for w in weights]

    @tf.function(autograph=False)
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((y - model(x)) ** 2)
        for w, k, gradient in zip(weights, kept, tape.gradient(loss, weights), strict=True):
            k.assign(0.9 * k + gradient)
            w.assign_sub(rate * k)

    momentum = optim.SGD(0.1, momentum=0.9)
    verify.assert_graph(train, *batch(), model=model, optimizer=momentum, learning_rate=0.1)
    told = rejected(train, *batch(), model=model, optimizer=momentum, learning_rate=0.2)
    assert "learning_rate: expected 0.2" in told


def test_facts(adam: Any, scheduled: Any) -> None:
    facts = verify.facts(adam[0], *batch())
    ((name, rate, variables),) = ((f.name, f.rate, f.variables) for f in facts.optimizers)
    assert (name, rate) == ("Adam(learning_rate=0.1)", pytest.approx(0.1))
    assert set(variables) == set(facts.watched)
    assert "Adam(learning_rate=0.1)" in str(facts)
    (fact,) = verify.facts(scheduled[0], *batch()).optimizers
    assert fact.rate is None


# -- contracts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ('optimizer = { is = "Adam", learning_rate = 0.1 }\nlearning_rate = 0.1', True),
        ('optimizer = { is = "Adam", learning_rate = 0.2 }', False),
        ('optimizer = { is = "Adam", learning_rate = [0.01, 0.1] }', True),
        ('optimizer = { is = "Adam", learning_rate = [0.01, 0.1], beta_1 = 0.8 }', False),
        ('optimizer = { is = "Adam", learning_rate = [0.2, 0.3] }', False),
        ("learning_rate = [0.01, 0.1]", True),
        ("learning_rate = [0.2, 0.3]", False),
        ('optimizer = "SGD"', False),
        ('[contracts.a.optimizer]\n"*kernel" = { is = "Adam", learning_rate = 0.1 }', True),
        ('[contracts.a.learning_rate]\n"*kernel" = 0.2', False),
    ],
)
def test_contracts(said: str, right: bool, adam: Any, tmp_path: Path) -> None:
    path = tmp_path / "some.graph.toml"
    path.write_text(f'[contracts.a]\ntarget = "m:f"\n{said}\n')
    (contract,) = read(path)
    wanted = expectation(contract.place, contract.promise)
    violations = wanted.violations_of(Detector(capture(adam[0], *batch())))
    assert (not violations) == right


def test_a_gradient_whose_shape_is_open() -> None:
    """Of a product with a sparse matrix TensorFlow does not know all sizes."""
    w = tf.Variable(tf.ones((20, 1)))

    @tf.function(autograph=False)
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = MSE(y, tf.sparse.sparse_dense_matmul(x, w))
        w.assign_sub(0.1 * tape.gradient(loss, w))

    specs = tf.SparseTensorSpec((8, 20), tf.float32), tf.TensorSpec((8, 1))
    verify.assert_graph(train, *specs, loss=MSE, clipping=None, optimizer=optim.SGD(0.1))
    assert "found    SGD(learning_rate=0.1)" in rejected(train, *specs, optimizer=optim.SGD(0.2))

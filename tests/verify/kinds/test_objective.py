"""`objective=`: the gradients that update variables are those of a function, however written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch, dense, step
from tests.verify.updates import rejected
from verify.errors import ContractError
from verify.kinds import KEYWORDS

MSE = keras.losses.MeanSquaredError()
SHAPE = tf.TensorSpec((None, 4))


@pytest.fixture(scope="module")
def regularised() -> keras.Model:
    return dense(kernel=keras.regularizers.L2(0.1))


@pytest.fixture(scope="module")
def trained(regularised: keras.Model) -> Any:
    """A step on mean squared error and what the model's layers add."""
    return step(regularised, MSE, extra=lambda y, prediction: tf.add_n(regularised.losses))


def meant(model: keras.Model, **changed: float) -> Callable[[Any, Any], Any]:
    """The same by hand; `changed`: numbers that may be others."""
    term, times, power = changed.get("term", 0.1), changed.get("times", 1.0), 2.0

    def objective(x: Any, y: Any) -> Any:
        off = tf.squeeze(y, -1) - tf.squeeze(model(x, training=True), -1)
        loss = tf.reduce_mean(tf.abs(off) ** power)
        return times * (loss + term * tf.reduce_sum(model.layers[0].kernel ** 2))

    return objective


def test_a_function_of_the_arguments(regularised: keras.Model, trained: Any) -> None:
    verify.assert_graph(trained, *batch(), objective=meant(regularised))
    verify.assert_graph(trained, *batch(None), objective=meant(regularised))
    verify.assert_graph(trained, *batch(), objective={"*kernel": meant(regularised)})


def test_another_gradient_is_told_with_its_variables(
    regularised: keras.Model, trained: Any
) -> None:
    first = regularised.layers[0].kernel.path
    told = rejected(trained, *batch(), objective=meant(regularised, term=0.09))
    assert told.splitlines()[1:3] == [
        "1. objective: expected the gradient of objective",
        f"     found    another gradient: {first}",
    ]
    told = rejected(trained, *batch(), objective=meant(regularised, times=2.0))
    assert "found    0.5 times that" in told


def test_a_function_with_statements_over_tensors(regularised: keras.Model, trained: Any) -> None:
    together = meant(regularised)

    @tf.function
    def objective(x: Any, y: Any) -> Any:
        total = together(x, y)
        if tf.reduce_sum(x) == 12345.0:
            total = 2.0 * total
        return total

    verify.assert_graph(trained, *batch(), objective=objective)


def test_a_model_compiled_by_keras(regularised: keras.Model) -> None:
    regularised.compile("adam", "mse")
    verify.assert_graph(regularised, batch(), objective=meant(regularised))
    together = meant(regularised)
    verify.assert_graph(regularised, batch(), objective=lambda data: together(*data))
    told = rejected(regularised, batch(), objective=lambda x, y, weight: together(x, y))
    assert "can't be told: it is called with the step's arguments, 1 or 2 by position" in told
    assert "(x, y, weight)" in told


def test_what_is_no_objective(regularised: keras.Model, trained: Any) -> None:
    with pytest.raises(TypeError, match=r"^objective: 'mse' is not a function of the step's"):
        verify.assert_graph(trained, *batch(), objective="mse")
    told = rejected(trained, *batch(), objective=lambda x, y: regularised(x) - y)
    assert "can't be told: TypeError: <lambda> makes float32 of shape (8, 1): one real" in told
    told = rejected(trained, *batch(), objective=lambda x, y: 1.0)
    assert "<lambda> makes 1.0: one real number is differentiated" in told
    told = rejected(trained, *batch(), objective=lambda x, y: 1.0 if y[0, 0] > 0 else 2.0)
    assert "can't be told: OperatorNotAllowedInGraphError" in told
    told = rejected(trained, *batch(), objective=lambda x, y: tf.reduce_sum(x))
    assert "something else: <lambda> does not depend on them" in told
    with pytest.raises(ValueError, match=r"^objective: '\*colonel' matches no trainable"):
        verify.assert_graph(trained, *batch(), objective={"*colonel": meant(regularised)})


def test_nothing_is_differentiated(regularised: keras.Model, trained: Any) -> None:
    regularised.compile("adam", "mse")
    verify.assert_graph(regularised.test_step, batch(), objective=None)
    told = rejected(regularised.test_step, batch(), objective=meant(regularised))
    assert "found    no gradient reaches an update" in told
    told = rejected(trained, *batch(), objective={"*bias": None})
    assert "expected no gradient reaches an update" in told.replace("  ", " ")


@pytest.mark.parametrize(
    ("treat", "told"),
    [
        (lambda g: tf.clip_by_value(g, -0.1, 0.1), ""),
        (lambda g: 0.5 * g, "0.5 times that"),
        (lambda g: -g, "-1 times that"),
        (lambda g: tf.clip_by_norm(2.0 * g, 1.0), "2 times that"),
        (lambda g: g / (tf.norm(g) + 1.0), ""),
        (
            lambda g: g + tf.random.normal(tf.shape(g)),
            "that gradient, but it is changed before it enters",
        ),
        (
            lambda g: g - tf.reduce_mean(g, axis=0),
            "that gradient, but it is changed before it enters",
        ),
        (lambda g: g + 3.0, "that gradient, but it is changed before it enters"),
    ],
)
def test_what_is_done_to_gradients_later(treat: Callable[[Any], Any], told: str) -> None:
    """Limits are left to `clipping`; anything else is not what the function says."""
    model = dense()
    train = step(model, MSE, treat=lambda gradients: [treat(g) for g in gradients])

    def objective(x: Any, y: Any) -> Any:
        return tf.reduce_mean((model(x) - y) ** 2)

    verify.assert_graph(train, *batch(), objective=objective, allow_transforms=True)
    if told:
        assert f"found    {told}" in rejected(train, *batch(), objective=objective)
    else:
        verify.assert_graph(train, *batch(), objective=objective)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(policy: str) -> None:
    model = dense(policy=policy)
    optimizer = keras.optimizers.SGD(0.1)
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer, "mse")
    model.optimizer.build(model.trainable_variables)

    def objective(x: Any, y: Any) -> Any:
        return tf.reduce_mean((tf.cast(model(x), tf.float32) - y) ** 2)

    verify.assert_graph(model, batch(), objective=objective)
    told = rejected(model, batch(), objective=lambda x, y: 3.0 * objective(x, y))
    assert "found    0.333333 times that" in told


@pytest.mark.parametrize("clipped", [False, True])
def test_gradients_that_are_divided_by_a_loss_scale_and_then_changed(clipped: bool) -> None:
    """A bias that cancels has no gradient: no number multiplies that."""
    model = dense()
    scaling = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
    scaling.build(model.trainable_variables)
    sums = [tf.Variable(tf.zeros(v.shape), trainable=False) for v in model.trainable_variables]

    def objective(x: Any, y: Any) -> Any:
        return tf.reduce_mean(tf.abs(model(x) - model(-x)))

    @tf.function(autograph=False)
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            scaled = scaling.scale_loss(objective(x, y))
        scale = scaling.dynamic_scale
        found = [g / scale for g in tape.gradient(scaled, model.trainable_variables)]
        if clipped:
            found = [tf.clip_by_norm(g, 0.5) for g in found]
        else:
            found = [total.assign_add(g) for total, g in zip(sums, found, strict=True)]
        scaling.apply([scale * g for g in found], model.trainable_variables)

    verify.assert_graph(train, *batch(), model=model, objective=objective)
    told = rejected(train, *batch(), model=model, objective=lambda x, y: 2.0 * objective(x, y))
    assert "times that" in told


# -- several models --------------------------------------------------------------------------------


class Adversaries:
    """A generator and a critic with a gradient penalty, of which one thing may be wrong."""

    def __init__(self, **wrong: Any) -> None:
        self.generator = keras.Sequential(
            [
                keras.Input((2,)),
                keras.layers.Dense(3),
                keras.layers.BatchNormalization(),
                keras.layers.Dense(4, "tanh"),
            ],
            name="generator",
        )
        self.critic = keras.Sequential(
            [
                keras.Input((4,)),
                keras.layers.Dense(12, "tanh"),
                keras.layers.Dropout(0.2),
                keras.layers.Dense(1),
            ],
            name="critic",
        )
        self.optimizers = [keras.optimizers.Adam(1e-3) for _ in range(2)]
        for model, optimizer in zip((self.generator, self.critic), self.optimizers, strict=True):
            optimizer.build(model.trainable_variables)
        self.penalty = wrong.get("penalty", 10.0)
        self.sign = wrong.get("sign", -1.0)
        self.stopped, self.frozen = wrong.get("stopped", False), wrong.get("frozen", False)
        self.step = tf.function(self._step)

    # What is meant, as on a whiteboard.

    def fake(self, real: Any) -> Any:
        noise = tf.random.normal((tf.shape(real)[0], 2))
        return self.generator(noise, training=True)

    def generator_loss(self, real: Any) -> Any:
        return -tf.reduce_mean(self.critic(self.fake(real), training=True))

    def critic_loss(self, real: Any) -> Any:
        fake = self.fake(real)
        at = fake + tf.random.uniform((tf.shape(real)[0], 1)) * (real - fake)
        with tf.GradientTape() as tape:
            tape.watch(at)
            score = self.critic(at, training=True)
        norm = tf.norm(tape.gradient(score, at), axis=1)
        apart = self.critic(fake, training=True) - self.critic(real, training=True)
        return tf.reduce_mean(apart) + 10.0 * tf.reduce_mean((norm - 1.0) ** 2)

    # How it is trained.

    def _step(self, real: Any) -> None:
        size = tf.shape(real)[0]
        weights = self.critic.trainable_variables
        for _ in range(2):
            noise = tf.random.normal([size, 2])
            with tf.GradientTape() as tape:
                fake = self.generator(noise, training=not self.frozen)
                share = tf.random.uniform([size, 1])
                mixed = real * share + fake * (1.0 - share)
                with tf.GradientTape() as inner:
                    inner.watch(mixed)
                    score = self.critic(mixed, training=True)
                (slope,) = inner.gradient(score, [mixed])
                slope = tf.stop_gradient(slope) if self.stopped else slope
                norm = tf.sqrt(tf.reduce_sum(slope * slope, axis=[1]))
                cost = tf.reduce_mean(self.critic(fake, training=True))
                cost -= tf.reduce_mean(self.critic(real, training=True))
                cost += self.penalty * tf.reduce_mean(tf.square(norm - 1.0))
            self.optimizers[1].apply(tape.gradient(cost, weights), weights)
        noise, weights = tf.random.normal([size, 2]), self.generator.trainable_variables
        with tf.GradientTape() as tape:
            score = self.critic(self.generator(noise, training=True), training=True)
            cost = self.sign * tf.reduce_mean(score)
        self.optimizers[0].apply(tape.gradient(cost, weights), weights)


def asserted(trained: Adversaries, **others: Any) -> None:
    verify.assert_graph(
        trained.step,
        SHAPE,
        objective={"critic/*": trained.critic_loss, "generator/*": trained.generator_loss},
        **others,
    )


def test_each_model_by_its_own_function() -> None:
    """Each time that it is trained, with the numbers that are drawn for that."""
    asserted(Adversaries(), watched=["critic/*", "generator/*"], clipping=None)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"penalty": 1.0}, "critic_loss\n     found    another gradient: critic/"),
        ({"stopped": True}, "can't be told: it draws a random number that the step does not draw"),
        ({"frozen": True}, "critic_loss\n     found    another gradient: critic/"),
        ({"sign": 1.0}, "generator_loss\n     found    -1 times that: generator/"),
    ],
)
def test_one_thing_is_wrong(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(verify.GraphAssertionError) as error:
        asserted(Adversaries(**wrong))
    assert told in str(error.value)
    assert "1 violation" in str(error.value)


@pytest.mark.parametrize("size", [4, None])
def test_random_numbers_of_another_shape(size: int | None) -> None:
    """One number for all is not one for each."""
    weight = tf.Variable([1.0, -2.0], name="weight")

    def noisy(x: Any, each: bool) -> Any:
        noise = tf.random.normal([tf.shape(x)[0] if each else 1, 1])
        return tf.reduce_mean(tf.square((x + noise) * weight))

    @tf.function
    def train(x: Any) -> None:
        with tf.GradientTape() as tape:
            loss = noisy(x, each=False)
        weight.assign_sub(0.1 * tape.gradient(loss, weight))

    spec = tf.TensorSpec((size, 2))
    verify.assert_graph(train, spec, objective=lambda x: noisy(x, each=False))
    told = rejected(train, spec, objective=lambda x: noisy(x, each=True))
    assert "it draws random numbers of shape (" in told
    assert "the step of (1, 1)" in told


def test_functions_that_are_exchanged() -> None:
    trained = Adversaries()
    told = rejected(
        trained.step,
        SHAPE,
        objective={"generator/*": trained.critic_loss, "critic/*": trained.generator_loss},
    )
    assert "it draws a random number that the step does not draw (RandomUniform)" in told


def test_a_selected_variable_that_is_not_trained() -> None:
    model = dense()
    head = model.layers[-1]
    train = step(model, MSE, variables=head.trainable_variables)

    def objective(x: Any, y: Any) -> Any:
        return MSE(y, model(x))

    verify.assert_graph(train, *batch(), objective=objective)
    told = rejected(train, *batch(), objective={"*": objective})
    first = model.layers[0]
    assert f"found    no gradient: {first.bias.path}, {first.kernel.path}" in told


# -- variables that are written in between ---------------------------------------------------------


@pytest.mark.parametrize("radius", [0.05, 0.1])
def test_gradients_at_weights_nearby(radius: float) -> None:
    """Sharpness-aware minimisation: gradients are taken at other weights than they change."""
    weight = tf.Variable([1.0, -2.0], name="weight")

    def loss(w: Any, x: Any, y: Any) -> Any:
        return tf.reduce_mean((tf.linalg.matvec(x, w) - y) ** 2)

    @tf.function
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            first = loss(weight, x, y)
        slope = tape.gradient(first, weight)
        offset = 0.1 * slope / tf.norm(slope)
        weight.assign_add(offset)
        with tf.GradientTape() as tape:
            second = loss(weight, x, y)
        slope = tape.gradient(second, weight)
        weight.assign_sub(offset)
        weight.assign_sub(0.01 * slope)

    def sharpness_aware(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            own = tf.identity(weight)
            tape.watch(own)
            first = loss(own, x, y)
        slope = tape.gradient(first, own)
        return loss(weight + tf.stop_gradient(radius * slope / tf.norm(slope)), x, y)

    specs = tf.TensorSpec((5, 2)), tf.TensorSpec((5,))
    if radius == 0.1:
        verify.assert_graph(train, *specs, objective=sharpness_aware)
    else:
        assert "another gradient" in rejected(train, *specs, objective=sharpness_aware)


# -- contracts -------------------------------------------------------------------------------------


def test_contracts_name_functions() -> None:
    read = KEYWORDS["objective"].read
    here = f"{__name__}:asserted"
    assert read("objective", here, read) is asserted
    assert read("objective", {"*kernel": here}, read) == {"*kernel": asserted}
    with pytest.raises(ContractError, match=r"objective\['\*'\]: .* has no asserting; did you"):
        read("objective", {"*": f"{__name__}:asserting"}, read)

"""By which optimizer each variable is updated: one of Keras', or the same by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch, dense
from tests.verify.updates import Apply, Seen, rejected, state, step_of

optim = keras.optimizers
MSE = keras.losses.MeanSquaredError()

# -- those of Keras ------------------------------------------------------------------------------

Made = Callable[..., Any]


def made(kind: Any, **usual: Any) -> Made:
    """Makes an optimizer with settings, of which some may be others."""
    return lambda **others: kind(**{"learning_rate": 0.01, **usual, **others})


SCHEDULE = optim.schedules.ExponentialDecay(0.01, 100, 0.9)
KERAS: dict[str, tuple[Made, list[dict[str, Any]]]] = {
    "sgd": (made(optim.SGD), [{"learning_rate": 0.011}, {"momentum": 0.1}]),
    "momentum": (made(optim.SGD, momentum=0.9), [{"momentum": 0.81}, {"nesterov": True}]),
    "nesterov": (made(optim.SGD, momentum=0.9, nesterov=True), [{"nesterov": False}]),
    "rmsprop": (made(optim.RMSprop), [{"rho": 0.81}, {"centered": True}, {"epsilon": 1.1e-7}]),
    "centered": (made(optim.RMSprop, momentum=0.5, centered=True), [{"momentum": 0.45}]),
    "adam": (made(optim.Adam), [{"beta_1": 0.81}, {"beta_2": 0.9}, {"epsilon": 1e-8}]),
    "amsgrad": (made(optim.Adam, amsgrad=True), [{"amsgrad": False}]),
    "adamw": (made(optim.AdamW, weight_decay=0.1), [{"weight_decay": 0.11}, {"weight_decay": 0.0}]),
    "adagrad": (made(optim.Adagrad), [{"initial_accumulator_value": 0.2}]),
    "adadelta": (made(optim.Adadelta), [{"rho": 0.9}]),
    "adamax": (made(optim.Adamax), [{"beta_1": 0.81}]),
    "adafactor": (made(optim.Adafactor), [{"clip_threshold": 2.0}]),
    "nadam": (made(optim.Nadam), [{"beta_1": 0.81}]),
    "ftrl": (made(optim.Ftrl), [{"l1_regularization_strength": 0.1}]),
    "lion": (made(optim.Lion), [{"beta_2": 0.9}]),
    "lamb": (made(optim.Lamb), [{"beta_1": 0.81}]),
    "decayed sgd": (made(optim.SGD, weight_decay=0.1), [{"weight_decay": 0.11}]),
    "ftrl at a schedule": (made(optim.Ftrl, learning_rate=SCHEDULE), [{"beta": 0.5}]),
    "averaged": (made(optim.SGD, use_ema=True), [{"ema_momentum": 0.98}, {"use_ema": False}]),
    "every second": (made(optim.SGD, gradient_accumulation_steps=2), [{"momentum": 0.9}]),
    "unscaled": (made(optim.SGD, loss_scale_factor=4.0), [{"loss_scale_factor": None}]),
    "scheduled": (
        made(optim.Adam, learning_rate=SCHEDULE),
        [
            {"learning_rate": optim.schedules.ExponentialDecay(0.01, 100, 0.8)},
            {"learning_rate": 0.01},
        ],
    ),
}


@pytest.fixture(scope="module")
def of_keras() -> Seen:
    """A variable for each of Keras' optimizers."""
    return Seen(step_of({_word(name): make() for name, (make, _) in KERAS.items()}))


def _word(name: str) -> str:
    return name.replace(" ", "_")


@pytest.mark.parametrize("name", KERAS)
def test_an_optimizer_of_keras_is_known_with_its_settings(name: str, of_keras: Seen) -> None:
    make, others = KERAS[name]
    assert type(of_keras.rule(_word(name)).optimizer) is type(make())
    assert of_keras.is_as(_word(name), make())
    for other in others:
        assert not of_keras.is_as(_word(name), make(**other)), other
    assert not of_keras.is_as(_word(name), optim.SGD(0.02))


def test_no_rule_is_that_of_another_variable(of_keras: Seen) -> None:
    rules = [of_keras.rule(_word(name)).optimizer for name in KERAS]
    assert len({id(optimizer) for optimizer in rules}) == len(KERAS)


@pytest.mark.parametrize("clips", [{"clipvalue": 0.3}, {"clipnorm": 0.3}, {"global_clipnorm": 0.3}])
def test_what_an_optimizer_clips_is_no_setting_of_it(clips: dict[str, float]) -> None:
    model = dense()
    model.compile(optim.Adam(0.01, **clips), MSE)
    verify.assert_graph(model, batch(), optimizer=optim.Adam(0.01), learning_rate=0.01)


# -- the same by hand ----------------------------------------------------------------------------


def descent(gradient: Any, variable: Any) -> None:
    variable.value.assign_sub(0.01 * gradient)


def divided(gradient: Any, variable: Any) -> None:
    variable.value.assign(variable.value - gradient / 100.0)


def momentum(ahead: bool = False, written: bool = True) -> Apply:
    kept = state()

    def apply(gradient: Any, variable: Any) -> None:
        velocity = 0.9 * kept - 0.01 * gradient
        if written:
            kept.assign(velocity)
        variable.value.assign_add(0.9 * velocity - 0.01 * gradient if ahead else velocity)

    return apply


def rms(epsilon: float = 1e-7) -> Apply:
    kept = state()

    def apply(gradient: Any, variable: Any) -> None:
        mean = kept.assign(0.9 * kept + 0.1 * gradient**2)
        variable.value.assign_sub(0.01 * gradient / tf.sqrt(mean + epsilon))

    return apply


def adagrad() -> Apply:
    kept = state()

    def apply(gradient: Any, variable: Any) -> None:
        total = kept.assign_add(gradient**2)
        variable.value.assign_sub(0.01 * gradient / tf.sqrt(total + 1e-7))

    return apply


def adam(
    *,
    beta: float = 0.9,
    decay: float = 0.0,
    sign: float = 1.0,
    corrected: bool = True,
    late: int = 0,
    written: bool = True,
    textbook: bool = False,
) -> Apply:
    first, second, count = state(), state(), tf.Variable(0, dtype=tf.int64, trainable=False)

    def apply(gradient: Any, variable: Any) -> None:
        steps = tf.cast(count.assign_add(1) + late, tf.float32)
        mean = first.assign(beta * first + (1 - beta) * gradient)
        square = 0.999 * second + 0.001 * gradient**2
        if written:
            square = second.assign(square)
        if corrected:
            mean, rest = mean / (1 - beta**steps), 1 - 0.999**steps
        else:
            rest = tf.constant(1.0)
        if decay:
            variable.value.assign_sub(0.01 * decay * variable.value)
        if textbook:
            change = mean / (tf.sqrt(square / rest) + 1e-8)
        else:
            change = mean * tf.sqrt(rest) / (tf.sqrt(square) + 1e-7)
        variable.value.assign_sub(sign * 0.01 * change)

    return apply


BY_HAND: dict[str, tuple[Apply, Any, list[Any]]] = {
    "descent": (
        descent,
        optim.SGD(0.01),
        [optim.SGD(0.011), optim.SGD(0.01, momentum=0.9), optim.Adam(0.01)],
    ),
    "divided": (divided, optim.SGD(0.01), [optim.SGD(0.011)]),
    "momentum": (
        momentum(),
        optim.SGD(0.01, momentum=0.9),
        [optim.SGD(0.01, momentum=0.81), optim.SGD(0.01, momentum=0.9, nesterov=True)],
    ),
    "nesterov": (
        momentum(ahead=True),
        optim.SGD(0.01, momentum=0.9, nesterov=True),
        [optim.SGD(0.01, momentum=0.9)],
    ),
    "rms": (rms(), optim.RMSprop(0.01), [optim.RMSprop(0.011), optim.RMSprop(0.01, rho=0.81)]),
    "epsilon": (
        rms(1e-3),
        optim.RMSprop(0.01, epsilon=1e-3),
        [optim.RMSprop(0.01, epsilon=1.1e-3)],
    ),
    "adagrad": (
        adagrad(),
        optim.Adagrad(0.01),
        [optim.Adagrad(0.02), optim.Adagrad(0.01, epsilon=1e-2)],
    ),
    "adam": (
        adam(),
        optim.Adam(0.01),
        [
            optim.Adam(0.01, amsgrad=True),
            optim.Adam(0.01, beta_2=0.9),
            optim.Adam(0.01, epsilon=1e-8),
        ],
    ),
    "textbook": (
        adam(textbook=True),
        optim.Adam(0.01, epsilon=1e-8),
        [optim.Adam(0.01, beta_1=0.8)],
    ),
    "beta": (adam(beta=0.81), optim.Adam(0.01, beta_1=0.81), [optim.Adam(0.01)]),
    "adamw": (
        adam(decay=0.1),
        optim.AdamW(0.01, weight_decay=0.1),
        [optim.Adam(0.01), optim.AdamW(0.01, weight_decay=0.11)],
    ),
}
WRONG: dict[str, tuple[Apply, Any]] = {
    "ascent": (lambda g, v: v.value.assign_add(0.01 * g), optim.SGD(0.01)),
    "momentum_not_kept": (momentum(written=False), optim.SGD(0.01, momentum=0.9)),
    "adam_ascends": (adam(sign=-1.0), optim.Adam(0.01)),
    "adam_not_corrected": (adam(corrected=False), optim.Adam(0.01)),
    "adam_one_step_ahead": (adam(late=1), optim.Adam(0.01)),
    "adam_keeps_no_square": (adam(written=False), optim.Adam(0.01)),
    "adamw_grows": (adam(decay=-0.1), optim.AdamW(0.01, weight_decay=0.1)),
}


@pytest.fixture(scope="module")
def by_hand() -> Seen:
    written = {name: apply for name, (apply, *_) in (BY_HAND | WRONG).items()}
    return Seen(step_of(written))


@pytest.mark.parametrize("name", BY_HAND)
def test_an_optimizer_by_hand_is_as_one_of_keras(name: str, by_hand: Seen) -> None:
    _, same, others = BY_HAND[name]
    assert by_hand.is_as(name, same)
    for other in others:
        assert not by_hand.is_as(name, other), other.get_config()


@pytest.mark.parametrize("name", WRONG)
def test_an_optimizer_by_hand_that_is_wrong(name: str, by_hand: Seen) -> None:
    assert not by_hand.is_as(name, WRONG[name][1])


def test_a_descent_by_hand_has_a_rate(by_hand: Seen) -> None:
    assert by_hand.rule("descent").rate == pytest.approx(0.01, rel=1e-5)
    assert by_hand.rule("divided").rate == pytest.approx(0.01, rel=1e-5)
    assert by_hand.rule("ascent").rate == pytest.approx(-0.01, rel=1e-5)


def test_rates_and_decays_of_descents() -> None:
    rate = tf.Variable(0.05, trainable=False)
    seen = Seen(
        step_of(
            {
                "held": lambda g, v: v.value.assign_sub(rate * g),
                "decayed": lambda g, v: v.value.assign(0.99 * v.value - rate * g),
                "halved": lambda g, v: v.value.assign(0.4 * v.value - rate * g),
            }
        )
    )
    assert (seen.rule("held").rate, seen.rule("held").decay) == (pytest.approx(0.05), 0)
    assert seen.rule("decayed").decay == pytest.approx(0.01, rel=1e-3)
    assert seen.rule("halved") is None


# -- which variable, and when --------------------------------------------------------------------


def test_an_optimizer_that_is_set_otherwise_later_is_looked_at_again() -> None:
    model = dense()
    optimizer = optim.AdamW(0.01, weight_decay=0.1)
    optimizer.build(model.trainable_variables)

    @tf.function
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = MSE(y, model(x))
        optimizer.apply(tape.gradient(loss, [v.value for v in model.trainable_variables]))

    expected = optim.AdamW(0.01, weight_decay=0.1)
    verify.assert_graph(train, *batch(), optimizer=expected)
    verify.assert_graph(train, *batch(), optimizer=expected)
    # A number in the graph: what is set now is not what was traced.
    optimizer.weight_decay = 0.2
    assert "optimizer" in rejected(train, *batch(), optimizer=optim.AdamW(0.01, weight_decay=0.2))
    # One that is read: what the step does is at this rate now.
    optimizer.weight_decay = 0.1
    optimizer.learning_rate = 0.02
    assert "learning_rate=0.02" in rejected(train, *batch(), optimizer=expected)
    verify.assert_graph(train, *batch(), optimizer=optim.AdamW(0.02, weight_decay=0.1))


def test_two_optimizers_in_one_step() -> None:
    model = dense()
    first, second = model.layers
    optimizers = optim.Adam(0.01), optim.RMSprop(0.02)
    optimizers[0].build(first.trainable_variables)
    optimizers[1].build(second.trainable_variables)
    variables = model.trainable_variables

    @tf.function
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = MSE(y, model(x))
        gradients = tape.gradient(loss, [v.value for v in variables])
        optimizers[0].apply(gradients[:2], variables[:2])
        optimizers[1].apply(gradients[2:], variables[2:])

    one = dict.fromkeys((v.path for v in variables[:2]), optim.Adam(0.01))
    other = dict.fromkeys((v.path for v in variables[2:]), optim.RMSprop(0.02))
    verify.assert_graph(train, *batch(), optimizer={**one, **other})
    message = rejected(train, *batch(), optimizer={**one, **dict.fromkeys(other, optim.Adam(0.01))})
    assert f"RMSprop(learning_rate=0.02): {variables[3].path}" in message


def test_several_optimizers_in_one_of_keras() -> None:
    heads, others = optim.Adam(0.01), optim.SGD(0.1, momentum=0.9)
    model = keras.Sequential([keras.Input((3,)), *(keras.layers.Dense(2) for _ in range(2))])
    head = model.layers[-1]
    of = {id(variable): heads for variable in head.trainable_variables}
    chosen = optim.MultiOptimizer(lambda variable: of.get(id(variable), others))
    model.compile(chosen, "mse")
    data = (tf.TensorSpec((8, 3)), tf.TensorSpec((8, 2)))
    theirs = [v.path for v in model.trainable_variables if id(v) not in of]
    right = {f"*{head.name}/*": optim.Adam(0.01)} | {
        path: optim.SGD(0.1, momentum=0.9) for path in theirs
    }
    verify.assert_graph(model, data, optimizer=right)
    for wrong in (optim.Adam(0.011), optim.SGD(0.1, momentum=0.9)):
        with pytest.raises(verify.GraphAssertionError, match="optimizer: expected each update"):
            verify.assert_graph(model, data, optimizer=right | {f"*{head.name}/*": wrong})


def test_one_optimizer_that_is_applied_twice() -> None:
    """It counts two steps; each variable is updated once."""
    optimizer = optim.Adam(0.01)
    variables = [keras.Variable(tf.ones((2, 3)), name=name) for name in ("first", "second")]
    optimizer.build(variables)

    @tf.function(autograph=False)
    def train(x: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.add_n([tf.reduce_mean((x @ v.value - 1.0) ** 2) for v in variables])
        for gradient, variable in zip(
            tape.gradient(loss, [v.value for v in variables]), variables, strict=True
        ):
            optimizer.apply([gradient], [variable])

    seen = Seen(train)
    for name in ("first", "second"):
        assert seen.rule(name).optimizer is optimizer


def when(condition: Callable[[Any], Any]) -> Apply:
    def apply(gradient: Any, variable: Any) -> None:
        def update() -> Any:
            variable.value.assign_sub(0.01 * gradient)
            return 0

        tf.cond(condition(gradient), update, lambda: 0)

    return apply


@pytest.mark.parametrize(
    "condition",
    [
        lambda g: tf.constant(True),
        lambda g: tf.reduce_all(tf.math.is_finite(g)),
        lambda g: tf.linalg.global_norm([g]) < 10.0,
    ],
)
def test_an_update_that_is_made_sometimes(condition: Callable[[Any], Any]) -> None:
    seen = Seen(step_of({"weight": when(condition)}))
    assert seen.is_as("weight", optim.SGD(0.01))
    assert not seen.is_as("weight", optim.SGD(0.02))


def test_an_update_that_differs_by_branch_is_by_no_rule() -> None:
    def apply(gradient: Any, variable: Any) -> None:
        def by(rate: float) -> Callable[[], Any]:
            return lambda: variable.value.assign_sub(rate * gradient)

        tf.cond(tf.linalg.global_norm([gradient]) < 10.0, by(0.1), by(0.01))

    seen = Seen(step_of({"weight": apply}))
    assert seen.rule("weight") is None
    assert not seen.is_as("weight", optim.SGD(0.1))
    assert not seen.is_as("weight", optim.SGD(0.01))

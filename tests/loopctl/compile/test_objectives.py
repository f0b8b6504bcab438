"""Objectives: forward passes of a branch's own, which train as a hand-written loop does."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import verify
from loopctl import ConfigError, LoopControllerCallback, when
from tests.loopctl.test_distributed import mirrored
from tests.oracle import eager

X = np.random.default_rng(0).normal(size=(32, 2)).astype("float32")
SIZE = 8
BATCHES = [X[i : i + SIZE] for i in range(0, len(X), SIZE)]


class Pair(keras.Model):
    """A generator and a critic, which are only called by objectives."""

    def __init__(self) -> None:
        super().__init__(name="pair")
        dense, inputs = keras.layers.Dense, keras.Input((2,))
        self.maker = keras.Sequential([inputs, dense(3, "tanh"), dense(2)], name="maker")
        self.critic = keras.Sequential(
            [inputs, dense(3, "tanh", kernel_regularizer="l2"), dense(1)], name="critic"
        )


def pair(**compiled: Any) -> Pair:
    keras.utils.set_random_seed(1)
    made = Pair()
    made.compile(keras.optimizers.SGD(0.1), **compiled)
    return made


def judged(model: Any, x: Any) -> dict[str, Any]:
    """A Wasserstein critic's loss, with its gradient penalty."""
    fake = tf.cast(model.maker(x[:, ::-1]), x.dtype)
    mixed = (x + fake) / 2
    with tf.GradientTape() as tape:
        tape.watch(mixed)
        scores = model.critic(mixed)
    slope = tf.norm(tf.cast(tape.gradient(scores, mixed), "float32"), axis=1)
    apart = tf.reduce_mean(model.critic(fake)) - tf.reduce_mean(model.critic(x))
    return {"apart": apart, "penalty": 10 * tf.reduce_mean((slope - 1) ** 2)}


def forged(model: Any, x: Any) -> Any:
    return -tf.reduce_mean(model.critic(model.maker(x[:, ::-1])))


CONFIG: dict[str, Any] = {
    "judge": {
        "cond": when.always,
        True: {"objective": judged, "variables": "critic/*", "regularize": True},
    },
    "forge": {
        "cond": when.every(2),
        True: {"objective": forged, "variables": "maker/*", "clipping": (-0.1, 0.1)},
    },
}
TWIN = {
    "judge": {**CONFIG["judge"], "cond": lambda self: True},
    "forge": {**CONFIG["forge"], "cond": lambda self: self.batches % 2 == 0},
}


def fitted(model: keras.Model, config: Any, data: Any = X, **fit: Any) -> LoopControllerCallback:
    callback = LoopControllerCallback(config)
    options = {"batch_size": SIZE, "shuffle": False, "verbose": 0, **fit}
    model.fit(data, callbacks=[callback], **options)
    return callback


@pytest.mark.parametrize(
    ("replicas", "options"),
    [
        (1, {"steps_per_execution": 3}),
        (1, {"jit_compile": True, "steps_per_execution": 2}),
        (1, {"run_eagerly": True, "steps_per_execution": 2}),
        (2, {}),
    ],
    ids=str,
)
def test_a_gan_trains_as_a_loop_by_hand(replicas: int, options: Any) -> None:
    reference = pair()
    expected = eager.train(reference, TWIN, BATCHES)
    with mirrored().scope() if replicas == 2 else contextlib.nullcontext():
        model = pair(**options)
        model.built = True  # among replicas `fit` would call it to find out
    history = fitted(model, CONFIG).history
    for step, wanted in zip(history, expected, strict=True):
        for name in step:
            np.testing.assert_allclose(step[name], wanted.get(name, np.nan), 1e-4, 1e-6)
    for a, b in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_parts_are_reported_by_name() -> None:
    """Idle, they are NaN; in the logs of fit they are means; predicates read them."""
    late = {**CONFIG["judge"], "cond": (when.batches == 1) | (when.batches == 3)}
    more = {"cond": when.judge_penalty.last() > 0, True: CONFIG["forge"][True]}
    model = pair()
    callback = fitted(model, {"judge": late, "forge": more})
    penalty = callback.history.column("judge_penalty")
    np.testing.assert_array_equal(np.isnan(penalty), [True, False, True, False])
    assert callback.history.column("forge").tolist() == [False, False, True, False]
    logs = model.history.history
    assert logs["judge_penalty"][0] == pytest.approx(penalty[[1, 3]].mean(), rel=1e-5)
    step = callback.history[1]
    apart = step["loss_judge"] - step["judge_apart"] - step["judge_penalty"]
    assert 0 < apart < 0.1, "the terms of the layers are in the loss, and no part"


def measured(model: Any, data: Any) -> Any:
    x, y = data
    prediction = model(x, training=True)
    return tf.reduce_mean((prediction - y) ** 2), prediction


def test_a_prediction_is_measured_by_the_models_metrics(
    model: keras.Model, data: tuple[Any, Any]
) -> None:
    weights = model.get_weights()
    options = {"batch_size": 4, "shuffle": False, "verbose": 0}
    plain = model.fit(*data, **options).history
    trained = model.get_weights()
    model.set_weights(weights)
    config = {"gate": {"cond": when.always, True: {"objective": measured, "regularize": True}}}
    callback = LoopControllerCallback(config)
    history = model.fit(*data, callbacks=[callback], **options).history
    assert history["mae"] == pytest.approx(plain["mae"], rel=1e-5)
    assert history["loss"] == pytest.approx(plain["loss"], rel=1e-5)
    for a, b in zip(model.get_weights(), trained, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    verify.assert_config(model, callback, (data[0][:4], data[1][:4]))


def test_a_batch_may_have_any_structure() -> None:
    def contrast(model: Any, data: Any) -> Any:
        anchor, (near, far) = data["anchor"], data["others"]
        score = model.critic(anchor)
        return tf.reduce_mean(
            tf.abs(score - model.critic(near)) - tf.abs(score - model.critic(far))
        )

    data = {"scale": np.float32(1), "anchor": X, "others": (X + 0.1, -X), "names": ["a"] * len(X)}
    rows = {name: part for name, part in data.items() if name != "scale"}
    dataset = tf.data.Dataset.from_tensor_slices(rows).batch(SIZE)
    dataset = dataset.map(lambda row: {**row, "scale": data["scale"]})
    model = pair()
    before = model.critic.get_weights()
    config = {"pull": {"cond": when.always, True: {"objective": contrast, "variables": "critic/*"}}}
    callback = fitted(model, config, dataset, batch_size=None)
    assert callback.batches == 4
    assert np.abs(before[0] - model.critic.get_weights()[0]).max() > 1e-4


def test_losses_in_half_precision_are_added_in_full() -> None:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model, reference = pair(), pair()
    finally:
        keras.config.set_dtype_policy(policy)
    for made in (model, reference):
        scaling = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
        made.compile(scaling, run_eagerly=True)
    expected = eager.train(reference, {"judge": TWIN["judge"]}, BATCHES)
    history = fitted(model, {"judge": CONFIG["judge"]}).history
    assert history[-1]["judge_apart"] == pytest.approx(expected[-1]["judge_apart"], abs=2e-3)
    assert history[-1]["loss"] == pytest.approx(expected[-1]["loss"], abs=2e-3)


def test_terms_of_layers_are_those_of_this_pass() -> None:
    """Of a layer that the objective does not call, nothing is left that another pass added."""
    model = pair()
    model.maker.layers[0].activity_regularizer = keras.regularizers.L2(1.0)
    config = {
        "forge": {"cond": when.always, True: {"objective": forged, "regularize": True}},
        "judge": {
            "cond": when.always,
            True: {"objective": lambda m, x: tf.reduce_mean(m.critic(x)), "regularize": True},
        },
    }
    step = fitted(model, config).history[0]
    assert np.isfinite(step["loss_judge"])
    assert step["loss_forge"] > 0


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda x: None, "returned None: a scalar loss is needed"),
        (lambda x: x, "returned a tensor of shape (8, 2): a scalar is needed, such as its mean"),
        (lambda x: tf.constant(1), "returned int32: a loss of a floating-point type is needed"),
        (lambda x: (1.0, x, x), "returned a tuple of 3: a loss, or (loss, y_pred), is needed"),
        (lambda x: {}, "returned an empty dict: at least one named loss is needed"),
        (lambda x: {1: 1.0}, "returned a loss named 1: text is needed"),
        (lambda x: {"a": x}, "returned, under 'a', a tensor of shape (8, 2)"),
    ],
)
def test_an_objective_must_return_a_loss(returned: Any, message: str) -> None:
    config = {"gate": {"cond": when.always, True: {"objective": lambda model, x: returned(x)}}}
    with pytest.raises(ConfigError) as error:
        fitted(pair(), config)
    assert f'config["gate"][True]["objective"] {message}' in str(error.value)


def test_a_part_takes_no_name_that_is_taken() -> None:
    config = {
        "gate": {"cond": when.always, True: {"objective": lambda m, x: {"late": forged(m, x)}}},
        "gate_late": {"cond": when.always, True: {"objective": forged}},
    }
    with pytest.raises(ConfigError, match="reported as 'gate_late'"):
        fitted(pair(), config)
    two = {
        "a": {"cond": when.every(2), True: {"objective": lambda m, x: {"b_c": forged(m, x)}}},
        "a_b": {"cond": when.always, True: {"objective": lambda m, x: {"c": forged(m, x)}}},
    }
    with pytest.raises(ConfigError, match="reported as 'a_b_c'"):
        fitted(pair(), two)


@pytest.mark.parametrize(
    "options", [{}, {"steps_per_execution": 3}, {"run_eagerly": True}], ids=str
)
def test_branches_share_some_of_their_parts(options: dict[str, Any]) -> None:
    """Which of them has computed a part is told by nothing but its value."""

    def parts(*names: str) -> Any:
        return lambda model, x: {n: (i + 1) * forged(model, x) for i, n in enumerate(names)}

    config = {
        "gate": {
            "cond": when.batches % 3 == 0,
            True: {"objective": parts("a", "b"), "variables": "maker/*"},
            False: {"objective": parts("c", "a"), "variables": "maker/*"},
        }
    }
    model = pair(**options)
    callback = LoopControllerCallback(config)
    logs = model.fit(X, batch_size=SIZE, shuffle=False, verbose=0, callbacks=[callback]).history
    columns = callback.history.to_dict()
    on = columns["gate"]
    loss = columns["loss"] / 3
    for name, wanted in (
        ("gate_a", np.where(on, loss, 2 * loss)),
        ("gate_b", np.where(on, 2 * loss, np.nan)),
        ("gate_c", np.where(on, np.nan, loss)),
    ):
        np.testing.assert_allclose(columns[name], wanted, rtol=1e-5)
        np.testing.assert_allclose(logs[name], [np.nanmean(wanted)], rtol=1e-5)


def test_metrics_need_a_prediction() -> None:
    model = pair(metrics=["mae"])
    with pytest.raises(ConfigError, match=r'let an "objective" return \(loss, y_pred\)'):
        fitted(model, CONFIG)


def test_a_model_without_call_needs_objectives_and_layers_that_are_built() -> None:
    config = {**CONFIG, "more": {"cond": when.always, True: {"regularize": True}}}
    told = r'config\["more"\]\[True\] has no "objective", and model \'pair\' can\'t be called'
    with pytest.raises(ConfigError, match=told):
        LoopControllerCallback(config).attach(pair())
    model = pair()
    model.extra = keras.layers.Dense(1)
    with pytest.raises(ConfigError, match="has layers without variables, and no call"):
        fitted(model, CONFIG)

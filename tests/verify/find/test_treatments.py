"""What is done to a gradient before the optimizer, however that is spelt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch, dense, step
from tests.verify.updates import Seen, rejected, step_of, treated_step

Treat = Callable[[Any], Any]
MSE = keras.losses.MeanSquaredError()
BOUND = tf.Variable(0.5, trainable=False)


def in_half(gradient: Any, treat: Callable[[Any, Any], Any]) -> Any:
    """Treated in half precision."""
    half = tf.cast(gradient, tf.float16)
    return tf.cast(treat(half, tf.constant(0.5, tf.float16)), tf.float32)


TO_VALUE: dict[str, Treat] = {
    "clip_by_value": lambda g: tf.clip_by_value(g, -0.5, 0.5),
    "keras": lambda g: keras.ops.clip(g, -0.5, 0.5),
    "where": lambda g: tf.where(g > 0.5, 0.5, tf.where(g < -0.5, -0.5, g)),
    "below_then_above": lambda g: tf.minimum(tf.maximum(g, -0.5), 0.5),
    "above_then_below": lambda g: tf.maximum(tf.minimum(g, 0.5), -0.5),
    "relu": lambda g: tf.nn.relu(g + 0.5) - 0.5 - tf.nn.relu(g - 0.5),
    "by_sign": lambda g: tf.sign(g) * tf.minimum(tf.abs(g), 0.5),
    "by_division": lambda g: g / tf.maximum(1.0, tf.abs(g) / 0.5),
    "held_by_a_variable": lambda g: tf.clip_by_value(g, -BOUND, BOUND),
    "scaled": lambda g: 0.5 * tf.clip_by_value(g / 0.5, -1.0, 1.0),
    "the_tighter_of_two": lambda g: tf.clip_by_value(tf.clip_by_value(g, -1, 1), -0.5, 0.5),
    "flat": lambda g: tf.reshape(tf.clip_by_value(tf.reshape(g, [-1]), -0.5, 0.5), g.shape),
    "half": lambda g: in_half(g, lambda half, bound: tf.clip_by_value(half, -bound, bound)),
}
TO_NORM: dict[str, Treat] = {
    "clip_by_norm": lambda g: tf.clip_by_norm(g, 0.5),
    "minimum": lambda g: g * tf.minimum(1.0, 0.5 / tf.norm(g)),
    "away_from_zero": lambda g: g * tf.minimum(1.0, 0.5 / (tf.norm(g) + 1e-6)),
    "maximum": lambda g: g / tf.maximum(1.0, tf.norm(g) / 0.5),
    "where": lambda g: tf.where(tf.norm(g) > 0.5, g * 0.5 / tf.norm(g), g),
    "cond": lambda g: tf.cond(tf.norm(g) > 0.5, lambda: g * 0.5 / tf.norm(g), lambda: g),
    "rsqrt": lambda g: g * tf.minimum(1.0, 0.5 * tf.math.rsqrt(tf.reduce_sum(g * g))),
    "normalised": lambda g: tf.linalg.normalize(g)[0] * tf.minimum(0.5, tf.norm(g)),
    "held_by_a_variable": lambda g: tf.clip_by_norm(g, BOUND),
    "half": lambda g: in_half(g, tf.clip_by_norm),
}
BESIDES: dict[str, tuple[Treat, float]] = {
    "nothing": (lambda g: g, 1.0),
    "twice": (lambda g: 2.0 * g, 2.0),
    "negated": (lambda g: -g, -1.0),
    "no_number_is_zero": (lambda g: tf.where(tf.math.is_nan(g), 0.0, g), 1.0),
    "nothing_infinite": (lambda g: tf.where(tf.math.is_finite(g), g, 0.0), 1.0),
}
OTHER: dict[str, tuple[Treat, bool]] = {
    "centred": (lambda g: g - tf.reduce_mean(g, 0, keepdims=True), False),
    "squared": (lambda g: g * g, False),
    "turned": (lambda g: tf.constant([[0.0, 1.0], [-1.0, 0.0]]) @ g, False),
    "noisy": (lambda g: g + tf.random.stateless_normal(g.shape, (1, 2)), False),
    "signs": (tf.sign, True),
    "squashed": (tf.tanh, True),
    "of_length_one": (lambda g: g / tf.norm(g), True),
    "logarithmic": (lambda g: tf.sign(g) * tf.math.log1p(tf.abs(g)), True),
    "from_above_alone": (lambda g: tf.minimum(g, 0.5), True),
    "clipped_then_squared": (lambda g: tf.clip_by_value(g, -0.5, 0.5) ** 2, True),
    "clipped_then_moved": (lambda g: tf.clip_by_value(g, -0.5, 0.5) + 0.1, True),
}
BOUNDS: dict[str, tuple[float, float]] = {
    "not_symmetric": (-0.1, 1.0),
    "not_negative": (0.0, 1.0),
    "small": (-1e-2, 1e-2),
    "large": (-1e6, 1e6),
}


@pytest.fixture(scope="module")
def treated() -> Seen:
    """A variable for each treatment."""
    every = {f"value_{name}": treat for name, treat in TO_VALUE.items()}
    every |= {f"norm_{name}": treat for name, treat in TO_NORM.items()}
    every |= {name: treat for name, (treat, _) in (BESIDES | OTHER).items()}
    every |= {name: _between(*bounds) for name, bounds in BOUNDS.items()}
    return Seen(treated_step(every))


def _between(lower: float, upper: float) -> Treat:
    return lambda gradient: tf.clip_by_value(gradient, lower, upper)


@pytest.mark.parametrize("name", TO_VALUE)
def test_clips_by_value_in_many_spellings(name: str, treated: Seen) -> None:
    found = treated.treatment(f"value_{name}")
    assert (found.kind, found.limits) == ("value", True)
    assert (found.lower, found.upper) == pytest.approx((-0.5, 0.5), rel=1e-3)


@pytest.mark.parametrize("name", TO_NORM)
def test_clips_by_norm_in_many_spellings(name: str, treated: Seen) -> None:
    found = treated.treatment(f"norm_{name}")
    assert (found.kind, found.limits, found.gradients) == ("norm", True, 1)
    assert found.upper == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_of_any_size(name: str, treated: Seen) -> None:
    found = treated.treatment(name)
    assert found.kind == "value"
    assert (found.lower, found.upper) == pytest.approx(BOUNDS[name], rel=1e-4)


@pytest.mark.parametrize("name", BESIDES)
def test_gradients_that_are_multiplied_or_left_as_they_are(name: str, treated: Seen) -> None:
    found = treated.treatment(name)
    assert (found.kind, found.limits) == ("same", False)
    assert found.factor == pytest.approx(BESIDES[name][1], rel=1e-4)


@pytest.mark.parametrize("name", OTHER)
def test_what_is_no_clip(name: str, treated: Seen) -> None:
    found = treated.treatment(name)
    assert (found.kind, found.factor) == ("other", None)
    assert found.limits == OTHER[name][1]


def test_what_leads_another_way(treated: Seen) -> None:
    assert treated.treatment("squashed").follows
    assert treated.treatment("centred").follows
    assert not treated.treatment("turned").follows


# -- weight decay --------------------------------------------------------------------------------


RATE = tf.Variable(0.0625, trainable=False)


@pytest.mark.parametrize("share", [0.01, -0.01])
def test_a_share_of_the_variable_that_is_added(share: float) -> None:
    """To the gradient, or to what is subtracted: by values they are one."""
    seen = Seen(
        step_of(
            {
                "plain": lambda g, v: v.value.assign_sub(RATE * (g + share * v.value)),
                "clipped": lambda g, v: v.value.assign_sub(
                    RATE * (tf.clip_by_value(g, -0.5, 0.5) + share * v.value)
                ),
            }
        )
    )
    for name, kind in (("plain", "same"), ("clipped", "value")):
        treatment, rule = seen.treatment(name), seen.rule(name)
        assert treatment.kind == kind
        assert treatment.decay + rule.decay / rule.rate == pytest.approx(share, rel=1e-3)


# -- of several gradients ------------------------------------------------------------------------

Gradients = list[Any]


def to_norm(factor: Callable[[Any], Any]) -> Callable[[Gradients], Gradients]:
    def treat(gradients: Gradients) -> Gradients:
        scale = factor(tf.linalg.global_norm(gradients))
        return [scale * gradient for gradient in gradients]

    return treat


def as_one_vector(gradients: Gradients) -> Gradients:
    """Joined, clipped, and taken apart again."""
    joined = tf.clip_by_norm(tf.concat([tf.reshape(g, [-1]) for g in gradients], 0), 0.5)
    parts = tf.split(joined, [g.shape.num_elements() for g in gradients])
    return [tf.reshape(part, g.shape) for part, g in zip(parts, gradients, strict=True)]


TOGETHER: dict[str, Callable[[Gradients], Gradients]] = {
    "clip_by_global_norm": lambda gradients: list(tf.clip_by_global_norm(gradients, 0.5)[0]),
    "minimum": to_norm(lambda norm: tf.minimum(1.0, 0.5 / norm)),
    "away from zero": to_norm(lambda norm: tf.clip_by_value(0.5 / (norm + 1e-6), 0.0, 1.0)),
    "where": to_norm(lambda norm: tf.where(norm > 0.5, 0.5 / norm, 1.0)),
    "one vector": as_one_vector,
}


def wide() -> keras.Model:
    """No variable of a single element, see test_open_problems.py."""
    return dense(outputs=2)


@pytest.mark.parametrize("name", TOGETHER)
def test_clips_by_global_norm_in_many_spellings(name: str) -> None:
    train = step(wide(), MSE, treat=TOGETHER[name])
    pair = batch(outputs=2)
    verify.assert_graph(
        train, *pair, clipping={"global_norm": 0.5}, loss=MSE, optimizer=keras.optimizers.SGD(0.1)
    )
    assert "clipped to global norm 0.5" in rejected(train, *pair, clipping={"global_norm": 0.4})
    assert "4 gradients clipped" in rejected(train, *pair, clipping=None)


def test_one_gradient_that_is_not_clipped() -> None:
    train = step(
        wide(), MSE, treat=lambda gradients: [*as_one_vector(gradients[:-1]), gradients[-1]]
    )
    message = rejected(train, *batch(outputs=2), clipping={"global_norm": 0.5})
    assert "0 of 4 gradients clipped so" in message
    assert "by a norm of 3 of 4 gradients" in message


def test_a_loss_whose_gradients_are_multiplied() -> None:
    train = step(dense(), MSE, treat=lambda gradients: [2.0 * g for g in gradients])
    assert "multiplied by 2 before the optimizer" in rejected(train, *batch(), loss=MSE)
    verify.assert_graph(train, *batch(), loss=MSE, allow_transforms=True, clipping=None)
    assert "times 2 on every watched variable" in str(verify.facts(train, *batch()))


def test_what_limits_gradients_is_told_though_it_is_no_clip() -> None:
    train = step(dense(), MSE, treat=lambda gradients: [tf.tanh(g) for g in gradients])
    assert "limited, but not by a known clip" in rejected(train, *batch(), clipping=None)
    assert "changed, and limited" in str(verify.facts(train, *batch()))

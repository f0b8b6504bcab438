"""`follows=`: soft updates, averages of weights and copies, however they are written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch
from tests.verify.updates import rejected, when
from verify.contracts import contract_text, read, subject_from
from verify.contracts.expectation import expectation
from verify.find import Detector
from verify.step import capture

COUNT = tf.Variable(0, trainable=False, dtype=tf.int64, name="count")
TAU = tf.Variable(0.01, trainable=False, name="tau")
OTHER = tf.Variable(tf.ones((2, 3)), name="other")

Write = Callable[[Any, Any, Any, Any], Any]
"""Writes a variable: (variable, source, data of its shape, its gradient)."""


def flat(t: Any, s: Any) -> Any:
    mixed = 0.99 * tf.reshape(t, [-1]) + 0.01 * tf.reshape(s, [-1])
    return tf.reshape(mixed, [2, 3])


FOLLOWING: dict[str, Write] = {
    "assigned": lambda t, s, d, g: t.assign(0.99 * t + 0.01 * s),
    "subtracted": lambda t, s, d, g: t.assign_sub(0.01 * (t - s)),
    "added": lambda t, s, d, g: t.assign_add((s - t) * 0.01),
    "lerp": lambda t, s, d, g: t.assign(t + 0.01 * (s - t)),
    "divided": lambda t, s, d, g: t.assign((99.0 * t + s) / 100.0),
    "by_a_variable": lambda t, s, d, g: t.assign((1.0 - TAU) * t + TAU * s),
    "in_a_branch": lambda t, s, d, g: when(COUNT > 999, lambda: t.assign(0.99 * t + 0.01 * s)),
    "sometimes": lambda t, s, d, g: t.assign(
        tf.where((COUNT + 1) % 1000 == 0, 0.99 * t + 0.01 * s, t)
    ),
    "if_finite": lambda t, s, d, g: t.assign(
        tf.where(tf.reduce_all(tf.math.is_finite(g)), 0.99 * t + 0.01 * s, t)
    ),
    "flat": lambda t, s, d, g: t.assign(flat(t, s)),
    "half": lambda t, s, d, g: t.assign(
        0.99 * t + 0.01 * tf.cast(tf.cast(s, tf.float16), tf.float32)
    ),
    "copied_first": lambda t, s, d, g: t.assign(
        tf.where(COUNT == 0, tf.identity(s), 0.99 * t + 0.01 * s)
    ),
}
OTHERWISE: dict[str, tuple[Write, str]] = {
    "faster": (lambda t, s, d, g: t.assign(0.95 * t + 0.05 * s), "at 0.05, expected 0.01"),
    "copy": (lambda t, s, d, g: t.assign(s), "at 1, expected 0.01"),
    "rates_swapped": (lambda t, s, d, g: t.assign(0.01 * t + 0.99 * s), "at 0.99, expected 0.01"),
    "away": (lambda t, s, d, g: t.assign(1.01 * t - 0.01 * s), "at -0.01, expected 0.01"),
    "sum": (lambda t, s, d, g: t.assign(0.99 * t + 0.05 * s), "which do not add up to 1"),
    "of_other": (
        lambda t, s, d, g: t.assign(0.99 * t + 0.01 * OTHER),
        "follows other at 0.01, expected source_of_of_other",
    ),
    "of_two": (
        lambda t, s, d, g: t.assign(0.98 * t + 0.01 * s + 0.01 * OTHER),
        "which is not a known average of another variable",
    ),
    "of_data": (lambda t, s, d, g: t.assign(0.99 * t + 0.01 * d), "not a known average"),
    "curved": (lambda t, s, d, g: t.assign(0.99 * t + 0.01 * s * s), "not a known average"),
    "of_a_gradient": (lambda t, s, d, g: t.assign(0.99 * t + 0.01 * g), "not a known average"),
    "still": (lambda t, s, d, g: t + s, "is not written"),
    "to_itself": (lambda t, s, d, g: t.assign(0.99 * t + 0.01 * t), "not a known average"),
    "swapped": (lambda t, s, d, g: s.assign(0.99 * s + 0.01 * t), "they are exchanged"),
    "warming_up": (
        lambda t, s, d, g: t.assign_add(
            (s - t) * (1.0 - tf.minimum(0.99, (1.0 + tf.cast(COUNT, tf.float32)) / 12.0))
        ),
        "at a rate of the step, expected 0.01",
    ),
    "counted": (
        lambda t, s, d, g: t.assign_add((s - t) / (2.0 + tf.cast(COUNT, tf.float32))),
        "at a rate of the step",
    ),
    "twice": (
        lambda t, s, d, g: [t.assign(0.99 * t + 0.01 * s), t.assign(0.99 * t + 0.01 * s)],
        "is written by",
    ),
    "reset": (
        lambda t, s, d, g: [t.assign(0.99 * t + 0.01 * s), t.assign(tf.zeros_like(t))],
        "is written by",
    ),
}


def step_of(writes: dict[str, Write], after: bool = True, trainable: bool = False) -> Any:
    targets = {n: tf.Variable(tf.ones((2, 3)), trainable=trainable, name=n) for n in writes}
    sources = {n: tf.Variable(tf.ones((2, 3)), name=f"source_of_{n}") for n in writes}

    @tf.function(autograph=False)
    def step(x: Any) -> None:
        with tf.GradientTape() as tape:
            losses = [tf.reduce_mean(tf.square(x @ v - 1.0)) for v in sources.values()]
            loss = tf.add_n(losses)
        gradients = dict(zip(sources, tape.gradient(loss, [*sources.values()]), strict=True))
        data = tf.reduce_mean(x) * tf.ones((2, 3))
        for name, source in sources.items() if after else ():
            source.assign_sub(0.1 * gradients[name])
        for name, target in targets.items():
            writes[name](target, sources[name], data, gradients[name])
        for name, source in sources.items() if not after else ():
            source.assign_sub(0.1 * gradients[name])

    return step


SPEC = tf.TensorSpec((None, 2))


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("after", [True, False])
def test_what_follows(after: bool, trainable: bool) -> None:
    step = step_of(FOLLOWING, after, trainable)
    asked = {name: (f"source_of_{name}", 0.01) for name in FOLLOWING}
    verify.assert_graph(step, SPEC, follows=asked)
    facts = {fact.variable: fact for fact in verify.facts(step, SPEC).follows}
    assert set(facts) == set(FOLLOWING)
    assert {fact.when for fact in facts.values()} == {"after" if after else "before"}
    assert facts["in_a_branch"].chosen_by == "count"
    assert facts["copied_first"].first == 1


def test_what_does_not() -> None:
    step = step_of({name: write for name, (write, _) in OTHERWISE.items()})
    asked = {name: (f"source_of_{name}", 0.01) for name in OTHERWISE}
    message = rejected(step, SPEC, follows=asked)
    for name, (_, told) in OTHERWISE.items():
        lines = [one for one in message.splitlines() if one.strip().startswith(f"{name} ")]
        assert any(told in line for line in lines), (name, lines)
    for name in ("warming_up", "counted"):
        verify.assert_graph(step, SPEC, follows={name: (f"source_of_{name}", None)})
    verify.assert_graph(step, SPEC, follows={"copy": ("source_of_copy", 1)})


def test_the_negative_forms() -> None:
    still: dict[str, Write] = {n: OTHERWISE[n][0] for n in ("still", "of_data", "to_itself")}
    verify.assert_graph(step_of(still), SPEC, follows=None)
    step = step_of({**still, "ema": FOLLOWING["lerp"]})
    verify.assert_graph(step, SPEC, follows={"still": None, "ema": ("source_of_ema", 0.01)})
    for wrong in (None, {"*": None}):
        assert "ema follows source_of_ema at 0.01" in rejected(step, SPEC, follows=wrong)


MIXED: dict[str, Write] = {
    "of two": lambda t, s, d, g: t.assign(0.8 * t + 0.1 * s + 0.1 * OTHER),
    "of a mean": lambda t, s, d, g: t.assign(0.9 * t + 0.1 * tf.reduce_mean(s, 0, keepdims=True)),
    "of a row": lambda t, s, d, g: t.scatter_update(
        tf.IndexedSlices((0.9 * t + 0.1 * s)[1:], tf.constant([1]))
    ),
    "turned": lambda t, s, d, g: t.assign(0.9 * t + 0.1 * tf.reverse(s, [1])),
}
UNMIXED: dict[str, Write] = {
    "a sum": lambda t, s, d, g: t.assign(0.9 * t + 0.2 * s + 0.1 * OTHER),
    "normalised": lambda t, s, d, g: t.assign(tf.math.l2_normalize(t + s + OTHER)),
    "squared": lambda t, s, d, g: t.assign(0.9 * t + 0.1 * s * OTHER),
    "with data": lambda t, s, d, g: t.assign(0.9 * t + 0.05 * s + 0.05 * d),
    "its own rows": lambda t, s, d, g: t.assign(tf.reverse(t, [0])),
    "constant": lambda t, s, d, g: t.assign(0.9 * t + 0.1 * tf.ones_like(s)),
}


@pytest.mark.parametrize("after", [True, False])
def test_averages_that_follow_no_single_variable(after: bool) -> None:
    message = rejected(step_of(MIXED, after), SPEC, follows=None)
    told = [line for line in message.splitlines() if "is an average of other variables" in line]
    assert len(told) == len(MIXED)
    verify.assert_graph(step_of(UNMIXED, after), SPEC, follows=None)


class Pair:
    """A student of several layers that is trained, and a teacher that follows it."""

    def __init__(self) -> None:
        self.student, self.teacher = self.made("student"), self.made("teacher")
        self.optimizer = keras.optimizers.Adam(name="adam")
        self.optimizer.build(self.student.trainable_variables)

    def made(self, name: str) -> keras.Model:
        layers = [keras.layers.Dense(4) for _ in range(11)]
        normal = keras.layers.BatchNormalization(name=f"{name}_normal")
        return keras.Sequential([keras.Input((4,)), *layers, normal], name=name)

    @tf.function(autograph=False)
    def step(self, x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self.student(x, training=True) - y))
        weights = self.student.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        for target, source in zip(self.teacher.weights, self.student.weights, strict=True):
            target.assign(0.999 * target + (1 - 0.999) * source)


@pytest.fixture(scope="module")
def pair() -> Pair:
    return Pair()


def test_models_follow_by_glob_and_by_lists(pair: Pair) -> None:
    spec = batch(8, 4, 4)
    verify.assert_graph(pair.step, *spec, follows={"teacher/*": ("student/*", 0.001)})
    lists = [(pair.teacher.weights, (pair.student.weights, 0.001))]
    verify.assert_graph(pair.step, *spec, follows=lists, statistics="student/*moving*")
    message = rejected(pair.step, *spec, follows={"teacher/*": ("student/*", 0.01)})
    assert "at 0.001, expected 0.01" in message
    exchanged = {"student/*kernel": ("teacher/*kernel", 0.001)}
    assert "they are exchanged" in rejected(pair.step, *spec, follows=exchanged)
    facts = verify.facts(pair.step, *spec)
    assert len(facts.follows) == len(pair.teacher.weights)
    assert "26 variables of teacher follow those of student" in str(facts)
    assert "at 0.001 (after its update)" in str(facts)


def test_an_average_that_is_never_made() -> None:
    """Nothing of the teacher is in the step then: no glob of it means a variable."""
    source = tf.Variable(tf.ones(2), name="source")

    @tf.function
    def train(x: Any) -> None:
        source.assign_sub(0.1 * x)

    wanted = {"teacher/*": ("source", 0.01), "source": None}
    told = rejected(train, tf.TensorSpec((2,)), follows=wanted)
    assert told.splitlines()[1:4] == [
        "1. follows: expected teacher/* to follow another variable",
        "     found    neither the step nor its model has such a variable",
        "     trainable variables it uses: source",
    ]
    with pytest.raises(ValueError, match=r"'teacher/\*' matches no variable"):
        verify.assert_graph(train, tf.TensorSpec((2,)), follows={"teacher/*": None})


def test_what_can_not_be_paired(pair: Pair) -> None:
    spec = batch(8, 4, 4)
    with pytest.raises(ValueError, match=r"11 variables .* can't follow 1"):
        verify.assert_graph(
            pair.step, *spec, follows={"teacher/*kernel": ("student/*gamma", 0.001)}
        )
    with pytest.raises(ValueError, match=r"can't follow .* of shape"):
        verify.assert_graph(pair.step, *spec, follows={"teacher/*kernel": ("student/*bias", 1)})
    for wrong in ("student/*", ("student/*",), ("student/*", "0.1"), ("student/*", True), 3):
        with pytest.raises(TypeError, match=r"^follows: .*neither a pair"):
            verify.assert_graph(pair.step, *spec, follows={"teacher/*": wrong})
    with pytest.raises(TypeError, match=r"^follows: .* is neither a dict"):
        verify.assert_graph(pair.step, *spec, follows=0.1)


@pytest.mark.parametrize("frequency", [None, 100])
def test_the_averages_of_an_optimizer(frequency: int | None) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="d")], name="net")
    optimizer = keras.optimizers.SGD(
        0.1, use_ema=True, ema_momentum=0.98, ema_overwrite_frequency=frequency, name="sgd"
    )
    model.compile(optimizer, "mse")
    follows = {f.variable: f for f in verify.facts(model, batch()).follows}
    averages = [path for path in follows if path.startswith("sgd/")]
    assert len(averages) == 2
    assert all(follows[path].rate == pytest.approx(0.02) for path in averages)
    assert all(follows[path].first == 1 for path in averages)
    copied = [path for path in follows if not path.startswith("sgd/")]
    assert len(copied) == (0 if frequency is None else 2)
    verify.assert_graph(
        model, batch(), follows={"sgd/*kernel*": ("net/d/kernel", 0.02)}, watched="*"
    )


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ('follows = { "ema" = { source = "source_of_ema", rate = 0.01 } }', True),
        ('follows = { "ema" = { source = "source_of_ema" } }', True),
        ('follows = { "ema" = { source = "source_of_ema", rate = 0.1 } }', False),
        ('follows = { "ema" = false }', False),
        ("follows = false", False),
    ],
)
def test_contracts(said: str, right: bool, tmp_path: Path) -> None:
    path = tmp_path / "some.graph.toml"
    path.write_text(f'[contracts.a]\ntarget = "m:f"\n{said}\n')
    (contract,) = read(path)
    wanted = expectation(contract.place, contract.promise)
    step = step_of({"ema": FOLLOWING["lerp"]})
    assert (not wanted.violations_of(Detector(capture(step, SPEC)))) == right


def averaged() -> Any:
    """What the contract of the next test is about."""
    return step_of({"ema": FOLLOWING["in_a_branch"]}), SPEC


def test_init_writes_what_follows(tmp_path: Path) -> None:
    path = tmp_path / "some.graph.toml"
    path.write_text(contract_text("one", subject_from(f"{__name__}:{averaged.__name__}")))
    (contract,) = read(path)
    assert contract.promise.follows["ema"].rate == pytest.approx(0.01)

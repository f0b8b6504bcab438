"""References of optimizers: traced, told by their settings, and left as they were."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from verify.graphs import key_of
from verify.references import (
    accumulators,
    counter_of,
    decays,
    has_schedule,
    optimizer_name,
    optimizer_settings,
    optimizer_state,
    optimizer_step,
    other_settings,
    same_settings,
    schedule_name,
    stand_in,
    variables_of,
)
from verify.references.optimizers import _without_clip

optim = keras.optimizers
CLIPS = {"clipvalue": 0.3}, {"clipnorm": 0.3}, {"global_clipnorm": 0.3}


def weights() -> list[keras.Variable]:
    return [keras.Variable(np.ones((2, 3), "float32"), name=name) for name in ("one", "other")]


def built(optimizer: Any) -> tuple[Any, list[keras.Variable]]:
    variables = weights()
    optimizer.build(variables)
    return optimizer, variables


# -- what Keras keeps private --------------------------------------------------------------------


def test_the_variables_that_an_optimizer_was_built_for() -> None:
    """Private to Keras: this fails if they move."""
    optimizer, variables = built(optim.Adam(0.1))
    assert [id(v) for v in optimizer._trainable_variables] == [id(v) for v in variables]
    assert variables_of(optimizer) == {key_of(variable): variable for variable in variables}


def test_what_an_optimizer_counts_in() -> None:
    """Private to Keras where gradients are added up: this fails if it moves."""
    plain, _ = built(optim.Adam(0.1))
    assert counter_of(plain) == key_of(plain.iterations)
    for optimizer in (optim.Adam(0.1, gradient_accumulation_steps=2), optim.SGD(0.1)):
        scaled, _ = built(optim.LossScaleOptimizer(optimizer))
        assert counter_of(scaled) == counter_of(optimizer)
        assert counter_of(optimizer) in {key_of(variable) for variable in optimizer.variables}


def test_what_an_optimizer_adds_gradients_up_in() -> None:
    """Private to Keras: this fails if it moves."""
    optimizer, variables = built(optim.SGD(0.1, gradient_accumulation_steps=4))
    steps, sums = accumulators(optimizer)
    assert steps == 4
    assert len(sums) == len(variables)
    assert sums < {key_of(variable) for variable in optimizer.variables}
    assert accumulators(built(optim.SGD(0.1))[0]) == (1, frozenset())


@pytest.mark.parametrize("clip", CLIPS)
def test_without_its_clip_an_optimizer_is_the_same_but_for_that(clip: dict[str, float]) -> None:
    optimizer, variables = built(optim.Adam(0.1, **clip))
    config, kept = optimizer.get_config(), optimizer.variables
    plain = _without_clip(optimizer)
    assert (plain.clipvalue, plain.clipnorm, plain.global_clipnorm) == (None, None, None)
    assert [id(v) for v in plain.variables] == [id(v) for v in kept]
    assert optimizer.get_config() == config
    ((name, bound),) = clip.items()
    assert getattr(optimizer, name) == bound
    optimizer.apply([tf.fill((2, 3), 9.0)] * 2, variables)
    assert int(optimizer.iterations) == 1


# -- traced --------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", CLIPS)
def test_tracing_writes_nothing_and_does_not_clip(clip: dict[str, float]) -> None:
    optimizer, variables = built(optim.SGD(0.1, momentum=0.9, **clip))
    made = optimizer_step(optimizer, variables)
    assert made is not None
    assert made.variables == tuple(key_of(variable) for variable in variables)
    assert len(made.flat.arguments) == len(variables)
    ops = {node.op for node in made.flat.nodes}
    assert not ops & {"Minimum", "Maximum", "ClipByValue", "L2Loss", "Sqrt"}
    assert int(optimizer.iterations) == 0
    for variable in variables:
        np.testing.assert_array_equal(variable, np.ones((2, 3)))
    assert any(value == pytest.approx(0.1) for value in made.numbers.values())


def test_an_optimizer_takes_no_variables_but_its_own() -> None:
    optimizer, _ = built(optim.SGD(0.1))
    assert optimizer_step(optimizer, weights()) is None


def test_a_stand_in_has_variables_of_its_own_that_are_called_alike() -> None:
    optimizer = optim.AdamW(0.1, weight_decay=0.1)
    made = stand_in(optimizer, ["net/hidden/kernel", "net/bias"], [(2, 3), (3,)])
    assert made is not None
    assert not optimizer.built
    written = {v.path: v.shape for _, v in made.flat.writes() if v.key in made.variables}
    assert written == {"net/hidden/kernel": (2, 3), "net/bias": (3,)}


# -- what it is called ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("optimizer", "name"),
    [
        (optim.SGD(0.1), "SGD(learning_rate=0.1)"),
        (optim.SGD(), "SGD(learning_rate=0.01)"),
        (optim.SGD(0.1, momentum=0.9, clipnorm=1.0), "SGD(learning_rate=0.1, momentum=0.9)"),
        (optim.Adam(0.1, name="mine", amsgrad=True), "Adam(learning_rate=0.1, amsgrad=True)"),
        (
            optim.SGD(optim.schedules.ExponentialDecay(0.1, 100, 0.9)),
            "SGD(learning_rate=ExponentialDecay(initial_learning_rate=0.1, decay_steps=100, "
            "decay_rate=0.9, staircase=False))",
        ),
    ],
)
def test_names(optimizer: Any, name: str) -> None:
    assert optimizer_name(optimizer) == name


def test_settings_are_those_that_hold_now() -> None:
    optimizer = optim.Adam(0.1, clipvalue=1.0)
    optimizer.learning_rate = 0.5
    settings = optimizer_settings(optimizer)
    assert next(iter(settings)) == "learning_rate"
    assert settings["learning_rate"] == pytest.approx(0.5)
    assert not settings.keys() & {"name", "clipvalue", "clipnorm", "global_clipnorm"}


def test_settings_that_differ() -> None:
    one, other = (
        optim.Adam(0.1, beta_1=0.8),
        optim.Adam(0.1, amsgrad=True, name="other", clipnorm=1.0),
    )
    assert other_settings(one, other) == (("beta_1", "0.8", "0.9"), ("amsgrad", "False", "True"))
    assert not same_settings(one, other)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (optim.SGD(0.1), optim.SGD(0.1, name="other"), True),
        (optim.SGD(0.1), optim.SGD(0.1, clipnorm=1.0), True),
        (optim.SGD(0.1), optim.SGD(0.1001), False),
        (optim.Adam(0.1), optim.AdamW(0.1, weight_decay=0.0), False),
        (optim.SGD(0.1, weight_decay=0.0), optim.SGD(0.1), False),
        (optim.SGD(0.1), optim.SGD(optim.schedules.ExponentialDecay(0.1, 1, 1.0)), False),
    ],
)
def test_settings_that_are_the_same(one: Any, other: Any, same: bool) -> None:
    assert same_settings(one, other) == same
    assert same_settings(other, one) == same


def test_schedules() -> None:
    schedule = optim.schedules.CosineDecay(0.1, 100)
    assert has_schedule(optim.SGD(schedule), optim.schedules.CosineDecay(0.1, 100, name="other"))
    assert not has_schedule(optim.SGD(schedule), optim.schedules.CosineDecay(0.1, 200))
    assert not has_schedule(optim.SGD(0.1), schedule)
    assert schedule_name(schedule).startswith("CosineDecay(initial_learning_rate=0.1, decay_steps")


def test_which_variables_are_spared_is_asked_of_the_optimizer() -> None:
    kernel, bias = keras.Variable([1.0], name="kernel"), keras.Variable([1.0], name="bias")
    adam = optim.AdamW(0.1)
    adam.exclude_from_weight_decay(var_names=["bias"])
    assert decays(adam, kernel)
    assert not decays(adam, bias)
    assert decays(optim.SGD(0.1), bias)


# -- what an optimizer is set to at the moment -----------------------------------------------------


def exclude(optimizer: Any) -> None:
    optimizer.exclude_from_weight_decay(var_names=["one"])


CHANGES = {
    "rate": lambda optimizer: setattr(optimizer, "learning_rate", 0.2),
    "decay": lambda optimizer: setattr(optimizer, "weight_decay", 0.1),
    "an attribute of one's own": lambda optimizer: setattr(optimizer, "factor", 2.0),
    "a list of one's own": lambda optimizer: setattr(optimizer, "factors", [1.0, 2.0]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_state_is_another_one_after_a_change(change: Any) -> None:
    optimizer, _ = built(optim.AdamW(0.1))
    before = optimizer_state(optimizer)
    assert optimizer_state(optimizer) == before
    change(optimizer)
    assert optimizer_state(optimizer) != before


def test_a_state_is_another_one_of_what_is_excluded_from_decay() -> None:
    optimizers = [optim.AdamW(0.1, weight_decay=0.1) for _ in range(2)]
    exclude(optimizers[1])
    variables = weights()
    for optimizer in optimizers:
        optimizer.build(variables)
    one, other = ([*optimizer_state(optimizer)] for optimizer in optimizers)
    assert one[-1] != other[-1]


def test_a_state_tells_optimizers_within_and_schedules() -> None:
    inner = optim.SGD(optim.schedules.ExponentialDecay(0.1, 10, 0.9))
    outer, _ = built(optim.LossScaleOptimizer(inner))
    before = optimizer_state(outer)
    vars(inner._learning_rate).update(decay_rate=0.8)  # as schedules that others wrote may be
    assert optimizer_state(outer) != before


def test_no_state_equals_another_where_a_function_makes_the_rate() -> None:
    optimizer, _ = built(optim.SGD(lambda: 0.1))
    assert optimizer_state(optimizer) != optimizer_state(optimizer)


def test_nothing_is_left_of_a_trace() -> None:
    """TensorFlow keeps every graph that a custom gradient was made for."""
    optimizer, variables = built(optim.Adam(0.1))
    step = optimizer_step(optimizer, variables)
    assert step is not None
    graph = weakref.ref(step.owner[0].graph)
    del step
    gc.collect()
    assert graph() is None

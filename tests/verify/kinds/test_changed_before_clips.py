"""Something else that is made of gradients before they are clipped: a clip does not hide it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch, dense
from tests.verify.updates import Seen, rejected, treated_step

Treat = Callable[[Any], Any]

CHANGES: dict[str, Treat] = {
    "unsigned": tf.abs,
    "squared": tf.square,
    "noisy": lambda g: g + tf.random.normal(tf.shape(g), stddev=0.1),
    "centred": lambda g: g - tf.reduce_mean(g),
}
CLIPS: dict[str, tuple[Any, Callable[[list[Any]], list[Any]]]] = {
    "value": ((-0.5, 0.5), lambda gs: [tf.clip_by_value(g, -0.5, 0.5) for g in gs]),
    "norm": ({"norm": 0.5}, lambda gs: [tf.clip_by_norm(g, 0.5) for g in gs]),
    "global_norm": ({"global_norm": 0.5}, lambda gs: tf.clip_by_global_norm(gs, 0.5)[0]),
}


def trained(treat: Treat, clip: Callable[[list[Any]], list[Any]]) -> tuple[Any, Treat]:
    """A step, and what it differentiates."""
    model = dense()
    weights = [v.value for v in model.trainable_variables]

    def meant(x: Any, y: Any) -> Any:
        return tf.reduce_mean((y - model(x)) ** 2)

    @tf.function(autograph=False)
    def train(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = meant(x, y)
        gradients = clip([treat(g) for g in tape.gradient(loss, weights)])
        for w, gradient in zip(weights, gradients, strict=True):
            w.assign_sub(0.1 * gradient)

    return train, meant


@pytest.mark.parametrize(("change", "clip"), [*itertools.product(CHANGES, CLIPS)])
def test_what_is_clipped_is_not_the_gradient_of_a_function(change: str, clip: str) -> None:
    bounds, clipped = CLIPS[clip]
    step, meant = trained(CHANGES[change], clipped)
    traced = verify.trace(step, *batch())
    told = rejected(traced, objective=meant)
    assert "that gradient, but it is changed before it enters the optimizer" in told
    verify.assert_graph(traced, objective=meant, allow_transforms=True, clipping=bounds)
    assert "changed" in [str(one) for one in verify.facts(traced).treated]


@pytest.mark.parametrize("clip", CLIPS)
def test_a_clip_alone_changes_nothing_else(clip: str) -> None:
    bounds, clipped = CLIPS[clip]
    step, meant = trained(tf.identity, clipped)
    traced = verify.trace(step, *batch())
    verify.assert_graph(traced, objective=meant, clipping=bounds)
    assert not verify.facts(traced).treated


def test_a_sign_that_is_lost_before_a_clip_leads_astray() -> None:
    clip = CLIPS["value"][1]
    seen = Seen(treated_step({name: lambda g, t=t: clip([t(g)])[0] for name, t in CHANGES.items()}))
    astray = {name for name in CHANGES if not seen.treatment(name).follows}
    assert "unsigned" in astray
    assert not astray & {"noisy", "centred"}

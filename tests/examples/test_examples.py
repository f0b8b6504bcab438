"""The examples do what they say: each preset's model learns."""

from __future__ import annotations

import numpy as np
import pytest

import verify
from examples import arithmetic, delayed, gan, unfreezing


def test_a_gan_learns_a_ring() -> None:
    model, control = gan.train(60)
    points = np.asarray(model.sample(2000))
    radius = np.linalg.norm(points, axis=1)
    assert radius.mean() == pytest.approx(gan.RADIUS, abs=0.3)
    assert radius.std() < 0.4
    quadrants = (points[:, 0] > 0) * 2 + (points[:, 1] > 0)
    assert np.bincount(quadrants, minlength=4).min() > 100, "all around the ring"
    labels = {"real": np.ones((8, 1), "float32"), "fake": np.zeros((8, 1), "float32")}
    verify.assert_config(model, control, (gan.ring(8), labels))
    turns = [(step["discern"], step["imitate"]) for step in control.history[:4]]
    assert turns == [(True, False), (False, True)] * 2


def test_a_stack_is_unfrozen_from_its_head() -> None:
    before = unfreezing.pretrained().get_weights()
    model, control = unfreezing.train(4)
    first, second, third = unfreezing.losses(control, 4)[:, -1]
    assert third < second < first
    assert not any(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    active = [
        next(name for name in ("stage_1", "stage_2", "stage_3") if control.history[i][name])
        for i in range(0, len(control.history), 4 * 32)
    ]
    assert active == ["stage_1", "stage_2", "stage_3"]


def test_regularisation_waits_for_the_fit() -> None:
    model, control = delayed.train(20)
    regularized = control.history.to_dict()["regularized"]
    assert not regularized[:64].any()
    assert regularized[-32:].all()
    learned = model.layers[0].kernel.numpy()[:, 0]
    np.testing.assert_allclose(learned, delayed.COEFFICIENTS, atol=0.08)
    assert np.abs(learned[delayed.COEFFICIENTS == 0]).max() < 0.02


def test_an_inalu_layer_learns_to_multiply() -> None:
    model, _ = arithmetic.train(20)
    x, y = arithmetic.data(10, 15)
    # `predict` would trace a hundred steps at once, as many as are trained.
    assert np.abs(np.asarray(model(x)) - y).max() < 0.1, "outside of the training range"

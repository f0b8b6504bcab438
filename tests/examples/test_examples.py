"""The examples do what they say: each preset's model learns."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest

import verify
from examples import (
    annealed,
    arithmetic,
    corridor,
    delayed,
    distilled,
    flat,
    gan,
    penalty,
    private,
    tuning,
    unfreezing,
    views,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def assert_drawn(figure: Figure, panels: int, lines: int) -> None:
    """A picture that a page can hold, of panels each of which shows something."""
    axes = figure.axes[:panels]
    assert all(one.get_title() for one in axes)
    assert all(np.isfinite(one.dataLim.get_points()).all() for one in axes)
    assert sum(len(one.lines) for one in axes) == lines
    file = io.BytesIO()
    figure.savefig(file)
    assert len(file.getvalue()) < 60_000


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


def test_a_critic_with_a_penalty_teaches_a_ring() -> None:
    samples = penalty.Samples((1, 25))
    model, control = penalty.train(25, samples)
    assert_drawn(penalty.draw(samples), panels=2, lines=4)
    points = np.asarray(model.sample(2000))
    radius = np.linalg.norm(points, axis=1)
    assert radius.mean() == pytest.approx(penalty.RADIUS, abs=0.3)
    quadrants = (points[:, 0] > 0) * 2 + (points[:, 1] > 0)
    assert np.bincount(quadrants, minlength=4).min() > 100, "all around the ring"
    told = control.history[0]
    assert {"judge_fake", "judge_real", "judge_penalty"} <= told.keys()
    assert told["judge_penalty"] > 0


def test_views_tell_clusters_without_labels() -> None:
    model, _ = views.train(10)
    assert_drawn(views.draw(model), panels=2, lines=0)
    assert views.told(lambda x: x) < 0.6
    assert views.told(lambda x: model.online(x, training=False)) > 0.9


def test_a_student_learns_from_its_teacher() -> None:
    """More than from labels of which nine in ten are drawn at random."""
    alone, _ = distilled.train(20, soft=0.0)
    model, control = distilled.train(20)
    assert_drawn(distilled.draw(alone, model), panels=3, lines=9)
    taught = distilled.accuracy(model.student)
    assert taught > 0.95
    assert taught > distilled.accuracy(alone.student) + 0.03
    assert {"learn_hard", "learn_soft", "accuracy"} <= control.history[0].keys()


def test_values_of_a_corridor_are_those_of_its_discount() -> None:
    learned = corridor.Learned()
    model, _ = corridor.train(30, learned)
    values = corridor.values(model)
    np.testing.assert_allclose(values[:, 1], corridor.worth(), atol=0.05)
    np.testing.assert_allclose(learned.right[-1], values[:, 1])
    assert learned.returns[0] < learned.returns[-1] == pytest.approx(corridor.worth().mean())
    assert_drawn(corridor.draw(model, learned), panels=3, lines=13)
    assert (values[:, 1] > values[:, 0]).all()


def test_an_annealed_autoencoder_makes_a_ring() -> None:
    model, control = annealed.train(25)
    radius = np.linalg.norm(annealed.sample(model, 2000), axis=1)
    assert radius.mean() == pytest.approx(annealed.RADIUS, abs=0.35)
    assert_drawn(annealed.draw(model, control), panels=3, lines=7)
    divergence = control.history.column("annealed_kl")
    assert divergence[:200].max() > 1.5 * divergence[-1] > 0, "free at first, less when it counts"


def test_tuning_moves_the_head_and_no_statistics() -> None:
    errors = tuning.Errors()
    before, (model, control) = tuning.pretrained(), tuning.train(20, errors)
    assert_drawn(tuning.draw({"ours": model}, {"ours": errors.found}), panels=2, lines=1)
    assert errors.found[0] == pytest.approx(tuning.error(before))
    assert tuning.error(model) < 0.8 * tuning.error(before)
    moved = {
        new.path: float(np.abs(new.numpy() - old.numpy()).mean())
        for old, new in zip(before.weights, model.weights, strict=True)
    }
    assert moved["net/normalization/moving_mean"] == 0
    assert moved["net/deep/kernel"] < moved["net/middle/kernel"] < moved["net/head/kernel"]
    assert not control.history[15]["tune"]
    assert control.history[16]["tune"]


def test_sam_finds_what_is_flat() -> None:
    sharp, soft = flat.train(60, None), flat.train(60)
    assert flat.sharpness(soft) < 0.7 * flat.sharpness(sharp)
    assert_drawn(flat.draw({"plain": sharp, "SAM": soft}), panels=1, lines=2)


def test_no_single_example_decides_in_private() -> None:
    _, plainly = private.train(5, private=False)
    told = private.Accuracies()
    model, privately = private.train(5, told)
    assert told.found[-1] == pytest.approx(privately)
    assert_drawn(private.draw({"private": model}, {"private": told.found}), panels=2, lines=4)
    assert plainly < 0.6
    assert privately > 0.95

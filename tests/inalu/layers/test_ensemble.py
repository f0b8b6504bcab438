"""Copies are trained together as each would be alone."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from inalu.benchmark.copies import SumOfErrors, model_of
from inalu.layers import NAC, NALU, NMU
from inalu.layers.ensemble import Ensemble
from inalu.schedules import Ramp

COPIES, BATCH, STEPS = 3, 8, 4


def data():
    draws = np.random.default_rng(0)
    x = draws.uniform(-2, 2, (STEPS, COPIES, BATCH, 2)).astype("float32")
    return x, x[..., :1] * x[..., 1:]


def trained(model, x, y, loss, **options):
    model.compile(keras.optimizers.Adam(0.05), loss, **options)
    (layer,) = model.layers
    layer.follow(model.optimizer.iterations)
    for batch in zip(x, y, strict=True):
        model.train_on_batch(*batch)
    return layer


@pytest.mark.parametrize(
    "make",
    [lambda: NALU(1), lambda: NMU(1, strength=Ramp(10.0, 1, 3)), lambda: NAC(1, "*")],
    ids=["constant strength", "ramp and constraint", "no regulariser"],
)
def test_each_copy_as_if_it_were_alone(make):
    x, y = data()
    ensemble = Ensemble(make(), COPIES)
    model = model_of(ensemble, BATCH)
    names = [weight.name for weight in ensemble.trainable_weights]
    before = {name: np.array(getattr(ensemble, name)) for name in names}
    trained(model, x, y, SumOfErrors())
    for copy in range(COPIES):
        alone = make()
        single = keras.Sequential([keras.Input((2,)), alone])
        for name in names:
            getattr(alone, name).assign(before[name][copy])
        # Four steps each: to trace one takes longer.
        trained(single, x[:, copy], y[:, copy], "mse", run_eagerly=True)
        for name in names:
            found = np.array(getattr(ensemble, name))[copy]
            np.testing.assert_allclose(found, getattr(alone, name), rtol=1e-4, atol=1e-6)
            assert not np.array_equal(found, before[name][copy])


def test_copies_differ_at_first():
    ensemble = Ensemble(NALU(1), COPIES)
    ensemble.build((COPIES, BATCH, 2))
    assert len(np.unique(ensemble.w_a)) == COPIES * 2


def test_only_active_copies_are_regularised():
    """With no data loss, the others stay where they are."""
    ensemble = Ensemble(NALU(1), COPIES)
    model = model_of(ensemble, BATCH)
    ensemble.active.assign([1.0, 0.0, 1.0])
    before = np.array(ensemble.w_a)
    model.compile(keras.optimizers.SGD(1.0), loss=lambda y, p: 0.0 * keras.ops.sum(p))
    x, y = data()
    model.train_on_batch(x[0], y[0])
    moved = np.any(np.array(ensemble.w_a) != before, axis=(1, 2))
    assert moved.tolist() == [True, False, True]


def test_reinitialize_some():
    ensemble = Ensemble(NALU(1), COPIES)
    ensemble.build((COPIES, BATCH, 2))
    before = np.array(ensemble.g)
    ensemble.reinitialize(np.array([False, True, False]))
    changed = np.any(np.array(ensemble.g) != before, axis=1)
    assert changed.tolist() == [False, True, False]
    ensemble.reinitialize(np.array([True, False, False]), lambda shape: np.full(shape, 7.0))
    assert np.array(ensemble.m_m)[0].tolist() == [[7.0], [7.0]]


def test_no_copies():
    with pytest.raises(ValueError, match="copies is 0, expected at least 1"):
        Ensemble(NALU(1), 0)

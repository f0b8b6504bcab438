"""Loss, metric and optimizer of many copies."""

from __future__ import annotations

import keras
import numpy as np

from inalu.benchmark.copies import CopyLosses, CopywiseRMSprop, SumOfErrors, measured, model_of
from inalu.layers import NAU
from inalu.layers.ensemble import Ensemble

Y = np.zeros((2, 3, 1), "float32")
PREDICTED = np.array([[[1.0], [1.0], [1.0]], [[2.0], [0.0], [0.0]]], "float32")


def test_loss_is_the_sum_of_means():
    np.testing.assert_allclose(SumOfErrors()(Y, PREDICTED), 1 + 4 / 3, rtol=1e-6)


def ensemble():
    made = Ensemble(NAU(1), 2)
    made.build((2, 3, 2))
    return made


def test_metric_keeps_the_last_steps():
    copies = ensemble()
    losses = CopyLosses(copies, steps=2)
    for scale in (1.0, 2.0, 3.0):
        losses.update_state(Y, scale**0.5 * PREDICTED)
    np.testing.assert_allclose(losses.losses, [[3, 4], [2, 8 / 3]], rtol=1e-6)
    np.testing.assert_allclose(losses.result(), 3.5, rtol=1e-6)
    losses.reset_state()
    np.testing.assert_allclose(losses.result(), 3.5, rtol=1e-6)
    assert np.array(copies.active).tolist() == [1, 1]


def test_metric_activates_the_copies_below_a_bound():
    copies = ensemble()
    losses = CopyLosses(copies, steps=2, below=1.2)
    losses.update_state(Y, PREDICTED)
    assert np.array(copies.active).tolist() == [1, 0]


def steps(optimizer, gradients):
    variable = keras.Variable(np.ones((2, 3), "float32"))
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    return np.array(variable)


def test_optimizer_is_rmsprop():
    gradients = np.random.default_rng(0).normal(size=(5, 2, 3)).astype("float32")
    ours = steps(CopywiseRMSprop(0.01), gradients)
    theirs = steps(keras.optimizers.RMSprop(0.01, epsilon=1e-10), gradients)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_a_step_without_gradient_is_none():
    """Of the second copy in the second step; Keras' RMSprop would shrink its average there."""
    gradients = np.random.default_rng(0).normal(size=(3, 2, 3)).astype("float32")
    gradients[1, 1] = 0.0
    ours = steps(CopywiseRMSprop(0.01), gradients)
    np.testing.assert_array_equal(ours[1], steps(CopywiseRMSprop(0.01), gradients[[0, 2]])[1])
    assert not np.allclose(ours[1], steps(keras.optimizers.RMSprop(0.01), gradients)[1])


def test_measured():
    copies = ensemble()
    copies.w.assign([[[1.0], [1.0]], [[1.0], [0.0]]])
    x = np.ones((2, 3, 2), "float32")
    assert measured(model_of(copies, 3), x, np.ones((2, 3, 1))).tolist() == [1.0, 0.0]

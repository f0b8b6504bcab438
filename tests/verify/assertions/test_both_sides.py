"""Both sides of a comparison, again, on the draw that a violation names."""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch, dense, step


def squares(y: Any, p: Any) -> Any:
    return tf.reduce_mean((y - p) ** 2)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return dense()


@pytest.fixture(scope="module")
def train(model: keras.Model) -> Any:
    return step(model, lambda y, p: squares(y, p) + 0.1 * tf.reduce_mean(tf.abs(p)))


def rejected(train: Any, **expected: Any) -> str:
    with pytest.raises(verify.GraphAssertionError) as error:
        verify.assert_graph(train, *batch(), **expected)
    return str(error.value)


def test_a_violation_names_a_variable_numbers_and_the_draw(model: keras.Model, train: Any) -> None:
    def meant(x: Any, y: Any) -> Any:
        return squares(y, model(x))

    told = re.search(
        r"for example, by (\S+?)\[(.*)\]: (\S+), expected (\S+) \(draw (\d+); verify.replay shows",
        rejected(train, objective=meant),
    )
    assert told is not None
    path, place, found, expected, draw = told.groups()
    again = verify.replay(train, *batch(), objective=meant, draw=int(draw))
    where = tuple(map(int, place.split(", ")))
    np.testing.assert_allclose(again[path].found[where], float(found), rtol=1e-4)
    np.testing.assert_allclose(again[path].expected[where], float(expected), rtol=1e-4)
    assert {sides.of for sides in again.sides} == {v.path for v in model.trainable_variables}


def test_the_sides_are_gradients_of_what_is_fed(model: keras.Model, train: Any) -> None:
    """Of the last bias: the sum of the gradients by predictions, computed by hand."""

    def meant(x: Any, y: Any) -> Any:
        return squares(y, model(x))

    for draw in (0, 1, 2):
        again = verify.replay(train, *batch(), objective=meant, draw=draw)
        sides = again[model.layers[-1].bias.path]
        assert {array.shape for array in sides.fed.values()} == {(8, 4), (8, 1)}
        signs = (sides.found - sides.expected) * 8 / 0.1  # what is added: a mean of signs times 0.1
        np.testing.assert_allclose(signs, np.round(signs), atol=1e-5)


def test_a_loss_is_shown_by_its_prediction(model: keras.Model, train: Any) -> None:
    other = step(model, lambda y, p: tf.reduce_mean((y - p) ** 4))
    assert "for example, by " in rejected(other, loss="mae")
    (sides,) = (s for s in verify.replay(train, *batch(), loss="mae").sides if s.found.shape)
    signs = np.sign(sides.fed["prediction"] - sides.fed["target"]) / sides.expected.size
    np.testing.assert_allclose(sides.expected, signs, rtol=1e-5)
    assert "found    " in str(verify.replay(train, *batch(), loss="mae"))


def test_what_can_not_be_replayed(model: keras.Model, train: Any) -> None:
    with pytest.raises(TypeError, match="one keyword of loss, objective; given: watched"):
        verify.replay(train, *batch(), watched="*")
    with pytest.raises(ValueError, match=r"objective can't be replayed in draw 0: .*signature"):
        verify.replay(train, *batch(), objective=lambda x: squares(0.0, model(x)))

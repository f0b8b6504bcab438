"""Terms of regularisation, by count, by name, and as all that a model has."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from tests.verify.steps import batch, dense, step

MSE = keras.losses.MeanSquaredError()
L1, L2 = keras.regularizers.L1(0.01), keras.regularizers.L2(0.01)


def trained(*left_out: int, extra: Any = None) -> tuple[Any, keras.Model]:
    """A step with the terms of its model but those left out."""
    model = dense(kernel=L2, bias=L1)

    def terms(x: Any, y: Any) -> Any:
        kept = [term for i, term in enumerate(model.losses) if i not in left_out]
        return tf.add_n([*kept, *([] if extra is None else [extra(model)])])

    return step(model, MSE, extra=terms), model


def test_all_that_a_model_has() -> None:
    train, model = trained()
    verify.assert_graph(train, *batch(), model=model, regularization="all")
    verify.assert_graph(train, *batch(), model=model, regularization=2)


def test_one_that_was_forgotten() -> None:
    train, model = trained(0)
    with pytest.raises(verify.GraphAssertionError, match=r"missing: L2\(l2=0.01\) on .*/kernel"):
        verify.assert_graph(train, *batch(), model=model, regularization="all")


def test_one_that_the_model_does_not_have() -> None:
    train, model = trained(extra=lambda m: L2(m.trainable_variables[2]))
    with pytest.raises(verify.GraphAssertionError, match="all that the model has, alone"):
        verify.assert_graph(train, *batch(), model=model, regularization="all")


def test_all_of_which_model() -> None:
    with pytest.raises(ValueError, match=r"the model is not known"):
        verify.assert_graph(trained()[0], *batch(), regularization="all")


def test_a_regulariser_by_its_name() -> None:
    train, model = trained(1)
    kernel = model.trainable_variables[0].path
    verify.assert_graph(train, *batch(), model=model, regularization=[(kernel, "l2")])
    with pytest.raises(verify.GraphAssertionError, match="L1"):
        verify.assert_graph(train, *batch(), model=model, regularization=[(kernel, "l1")])
    with pytest.raises(ValueError, match="Keras has no regularizer 'l3'"):
        verify.assert_graph(train, *batch(), model=model, regularization=[(kernel, "l3")])

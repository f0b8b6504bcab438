"""References of losses: which losses share one, and which must not."""

from __future__ import annotations

from typing import Any

import keras
import pytest

from verify.find.losses_by_name import keras_losses
from verify.references import LossKey, loss_name


def changed() -> Any:
    """A loss of Keras' whose function somebody has exchanged."""
    loss = keras.losses.MeanSquaredError()
    loss.fn = keras.losses.mean_absolute_error
    return loss


class MeanSquaredError(keras.losses.Loss):
    """Another loss of that name."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return y_true - y_pred


@pytest.mark.parametrize("kind", [type(loss) for loss in keras_losses()])
def test_losses_of_keras_with_the_same_settings_share_a_key(kind: Any) -> None:
    assert LossKey(kind()) == LossKey(kind())
    assert hash(LossKey(kind())) == hash(LossKey(kind()))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (keras.losses.MeanSquaredError(), keras.losses.MeanAbsoluteError()),
        (keras.losses.MeanSquaredError(), keras.losses.MeanSquaredError(reduction="sum")),
        (keras.losses.MeanSquaredError(), keras.losses.MeanSquaredError(dtype="float16")),
        (keras.losses.MeanSquaredError(), changed()),
        (keras.losses.MeanSquaredError(), MeanSquaredError()),
        (MeanSquaredError(), MeanSquaredError()),
        (keras.losses.Huber(1.0), keras.losses.Huber(2.0)),
        (
            keras.losses.CategoricalFocalCrossentropy(alpha=[0.1, 0.9]),
            keras.losses.CategoricalFocalCrossentropy(alpha=[0.9, 0.1]),
        ),
        (
            keras.losses.CategoricalCrossentropy(from_logits=True),
            keras.losses.CategoricalCrossentropy(from_logits=1),
        ),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_other_losses_do_not(one: Any, other: Any) -> None:
    assert LossKey(one) != LossKey(other)


class Margin(keras.losses.Loss):
    """It has no config of its own."""

    def __init__(self, margin: float = 1.0, reduction: str = "sum_over_batch_size") -> None:
        super().__init__(reduction=reduction)
        self.margin = margin
        self.inner = object()


def test_what_a_loss_of_ones_own_is_called() -> None:
    assert loss_name(Margin()) == "Margin"
    assert loss_name(Margin(0.5)) == "Margin(margin=0.5)"
    assert loss_name(Margin(reduction="sum")) == "Margin(reduction='sum')"
    added = MeanSquaredError(reduction="sum")
    assert loss_name(added) == "MeanSquaredError(reduction='sum')"
    assert loss_name(keras.losses.Huber(2.0)) == "Huber(delta=2.0)"

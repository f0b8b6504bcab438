"""Faults in what is minimised: the data loss."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from verify.selfcheck.planted import planted
from verify.selfcheck.training import Gradients, Training

_MAE = keras.losses.MeanAbsoluteError()


class OnHuber(Training):
    loss = keras.losses.Huber(1.0)


class OnSmoothed(Training):
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)


class OnFocal(Training):
    loss = keras.losses.CategoricalFocalCrossentropy(from_logits=True, gamma=2.0)


class OnPoisson(Training):
    loss = keras.losses.Poisson()


class OnSquares(Training):
    loss = keras.losses.MeanSquaredError()


@planted("loss", "mean_absolute_error|MeanAbsoluteError of")
class AnotherLoss(Training):
    """Another loss."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return _MAE(y, prediction)


@planted("loss", "LogCosh")
class AlikeLoss(OnSquares):
    """A loss that is much alike."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return keras.losses.LogCosh()(y, prediction)


@planted("loss", "weight 0.5")
class Halved(Training):
    """The loss times a half."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return 0.5 * super().data_loss(y, prediction)


@planted("loss", "weight -1")
class Negated(Training):
    """The loss with the wrong sign: ascent."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return -super().data_loss(y, prediction)


@planted("loss", "weight 24")
class Summed(OnSquares):
    """A sum where a mean is meant."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return tf.reduce_sum((y - prediction) ** 2)


@planted("loss", "weight 3")
class SummedOverOutputs(OnSquares):
    """A sum over outputs and a mean over the batch only."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return tf.reduce_mean(tf.reduce_sum((y - prediction) ** 2, axis=-1))


@planted("loss", "another data loss")
class RootOfMean(OnSquares):
    """The root of the mean square."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return tf.sqrt(super().data_loss(y, prediction))


@planted("loss", "first difference")
class WrongDelta(OnHuber):
    """Huber's loss with another delta."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return keras.losses.Huber(1.5)(y, prediction)


@planted("loss", r"another data loss|CategoricalCrossentropy(\(from_logits=True\))? of")
class NotSmoothed(OnSmoothed):
    """No label smoothing."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return keras.losses.CategoricalCrossentropy(from_logits=True)(y, prediction)


@planted("loss", "first difference")
class SmoothedMore(OnSmoothed):
    """More label smoothing."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2)
        return loss(y, prediction)


# Keras looks behind a softmax for the logits, whatever `from_logits` says.
@planted("loss", "another data loss|CategoricalCrossentropy of", but=("attention",))
class NotFromLogits(OnSmoothed):
    """Logits taken for probabilities."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return keras.losses.CategoricalCrossentropy(label_smoothing=0.1)(y, prediction)


@planted("loss", "another data loss|first difference")
class WrongGamma(OnFocal):
    """A focal loss with another gamma."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        loss = keras.losses.CategoricalFocalCrossentropy(from_logits=True, gamma=3.0)
        return loss(y, prediction)


# Through a softmax, and for targets of 0 and 1, it is a multiple of Hinge.
@planted("loss", "another data loss|Hinge with weight")
class Exchanged(OnPoisson):
    """Target and prediction exchanged, in a loss where that matters."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return (self.loss or self.sample.loss)(prediction, y)


@planted("loss", "no gradient of it reaches|another data loss")
class NoTarget(Training):
    """Zeros for a target."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return super().data_loss(tf.zeros_like(y), prediction)


@planted("loss", "another data loss")
class ShiftedTarget(Training):
    """Targets of other examples: rolled along the batch."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return super().data_loss(tf.roll(y, 1, axis=0), prediction)


@planted("loss", "its target is that of row")
class LabelsReversed(Training):
    """Targets in another order than the examples."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return super().data_loss(y[::-1], prediction)


@planted("loss", "its target is that of row")
class ExamplesMoved(Training):
    """The model sees the examples one row further on than their targets."""

    def predict(self, x: Any) -> Any:
        return super().predict(tf.roll(x, 1, 0))


@planted("loss", "another data loss")
class PartOfTheBatch(Training):
    """The loss of the first half of the batch."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return super().data_loss(y[:4], prediction[:4])


@planted("loss", "mean_absolute_error of|MeanAbsoluteError of")
class MetricAsLoss(Training):
    """The metric is differentiated, and the loss only computed."""

    def total(self, y: Any, prediction: Any) -> Any:
        self.metric.update_state(tf.reshape(super().data_loss(y, prediction), (1,)), [0.0])
        return tf.add_n([_MAE(y, prediction), *self.terms()])


@planted("loss", "no gradient of it reaches", also=("watched", "clipping"))
class OnlyTerms(Training):
    """The loss is computed and returned, and only the regularisation differentiated."""

    def gradients(self, tape: tf.GradientTape, total: Any) -> Gradients:
        variables = [variable.value for variable in self.watched()]
        unconnected = tf.UnconnectedGradients.ZERO
        return list(tape.gradient(self.added, variables, unconnected_gradients=unconnected))

    def total(self, y: Any, prediction: Any) -> Any:
        self.added = tf.add_n(self.terms())
        return self.data_loss(y, prediction) + self.added


@planted("loss", "only")
class Auxiliary(Training):
    """Another loss, with a small weight, on top."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return super().data_loss(y, prediction) + 0.01 * _MAE(y, prediction)


@planted("loss", "only|weight")
class Twice(Training):
    """The loss added twice."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return super().data_loss(y, prediction) + super().data_loss(y, prediction)


@planted("loss", "no gradient of it reaches", also=("watched",))
class Stopped(Training):
    """The prediction is behind a stop_gradient."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return super().data_loss(y, tf.stop_gradient(prediction))

    def gradients(self, tape: tf.GradientTape, total: Any) -> Gradients:
        variables = [variable.value for variable in self.watched()]
        unconnected = tf.UnconnectedGradients.ZERO
        return list(tape.gradient(total, variables, unconnected_gradients=unconnected))


@planted("loss", "another data loss|weight")
class Scaled(Training):
    """The loss times a factor that data decide."""

    def data_loss(self, y: Any, prediction: Any) -> Any:
        return super().data_loss(y, prediction) * tf.reduce_mean(y)


class RowByRow(Training):
    """Adds up the loss of one example after the other, in a loop."""

    def rows(self, y: Any, prediction: Any) -> tuple[Any, Any]:
        return y, prediction

    def data_loss(self, y: Any, prediction: Any) -> Any:
        def of_row(row: tuple[Any, Any]) -> Any:
            target, predicted = row
            return self.sample.loss(target[tf.newaxis], predicted[tf.newaxis])

        each = tf.map_fn(of_row, self.rows(y, prediction), fn_output_signature=tf.float32)
        return tf.reduce_mean(each)


@planted("loss", "another data loss")
class LeavesOutTheLastRow(RowByRow):
    """A loop over all examples but the last."""

    def rows(self, y: Any, prediction: Any) -> tuple[Any, Any]:
        return y[:-1], prediction[:-1]


@planted("loss", "another data loss")
class RowsOfOthers(RowByRow):
    """A loop over predictions and the targets of other examples."""

    def rows(self, y: Any, prediction: Any) -> tuple[Any, Any]:
        return tf.roll(y, 1, axis=0), prediction

"""Values of the gradient of a loss by the prediction, for given targets and predictions."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Collection, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from verify.graphs import Spec
from verify.match import Domain, Drawn, Evaluation, NoValueError, Pattern, Plan
from verify.references.losses import (
    PREDICTION_FORMS,
    is_loss,
    is_of_keras,
    loss_of,
    loss_patterns,
    loss_values,
    settings_of,
)
from verify.references.tracing import MISFIT

Array = np.ndarray[Any, Any]

Domains = tuple[Domain, Domain]
"""Which numbers a loss takes: (as predictions, as targets)."""

# Labels of a loss of Keras, by a part of its name; all others take real numbers.
_LABELS: dict[str, tuple[Domains, ...]] = {
    "sparse": ((Domain.ROWS, Domain.CLASSES),),
    "generalized": ((Domain.ROWS, Domain.ONE_HOT), (Domain.ROWS, Domain.CLASSES)),
    "categoricalhinge": ((Domain.REAL, Domain.ONE_HOT),),
    "hinge": ((Domain.REAL, Domain.SIGN), (Domain.REAL, Domain.BINARY)),
    "binary": ((Domain.UNIT, Domain.UNIT), (Domain.UNIT, Domain.BINARY)),
    "categorical": ((Domain.ROWS, Domain.ROWS), (Domain.ROWS, Domain.ONE_HOT)),
    "divergence": ((Domain.ROWS, Domain.ROWS),),
    "kld": ((Domain.ROWS, Domain.ROWS),),
    "logarithmic": ((Domain.POSITIVE, Domain.POSITIVE),),
    "msle": ((Domain.POSITIVE, Domain.POSITIVE),),
    "poisson": ((Domain.POSITIVE, Domain.POSITIVE),),
    "dice": ((Domain.UNIT, Domain.BINARY),),
    "tversky": ((Domain.UNIT, Domain.BINARY),),
    "circle": ((Domain.REAL, Domain.CLASSES),),
    "ctc": ((Domain.REAL, Domain.CLASSES),),
}
# Of these the gradient by one row depends on others; of Keras' other losses it does not.
_OF_SEVERAL_ROWS = ("circle", "ctc", "dice", "tversky")
# Of anybody's loss: the first in which it has a value at all.
_NUMBERS = ((Domain.REAL, Domain.REAL), (Domain.UNIT, Domain.UNIT), (Domain.ROWS, Domain.ONE_HOT))
_CLASS_NUMBERS = ((Domain.REAL, Domain.CLASSES), (Domain.ROWS, Domain.CLASSES))
_OF_NUMBERS = (
    keras.losses.BinaryCrossentropy,
    keras.losses.Hinge,
    keras.losses.MeanAbsoluteError,
    keras.losses.MeanSquaredError,
)


@dataclasses.dataclass(frozen=True)
class LossGradient:
    """The gradient of one form of a loss by the prediction, or by its logits.

    Args:
        activated: whether an activation is between that and the prediction.
        weighted: whether it takes a sample weight.
        form: what tells it from other forms of the loss.
        domains: where it may be asked for a value; `alike`: whether any of these will do, or the
            first in which there is one.
        of: ``(y_true, y_pred or its logits[, weight])`` -> the gradient and the prediction, None
            where it has no value.
    """

    activated: bool
    weighted: bool
    form: tuple[str | int, ...]
    domains: tuple[Domains, ...]
    alike: bool
    of: Callable[..., tuple[Array, Array | None] | None]


def loss_gradients(
    loss: Any, y_true: Spec, y_pred: Spec, weight: Spec | None, ops: Collection[str]
) -> Iterator[LossGradient]:
    """Every form of a loss on such targets and predictions, see `loss_patterns`.

    Keras' own losses compute what is asked; anybody else's may do more than that, and are traced.
    """
    integer = tf.as_dtype(y_true[1]).is_integer
    if not is_of_keras(loss):
        anybody = _CLASS_NUMBERS if integer else _NUMBERS
        patterns = loss_patterns(loss, y_true, y_pred, weight, ops, linear=True)
        for number, pattern in enumerate(patterns):
            roles = pattern.leaves.values()
            yield LossGradient(
                bool(pattern.present),
                "sample weight" in roles,
                (number,),
                anybody,
                False,
                _Traced(pattern),
            )
        return
    domains, from_logits = _domains(loss, integer)
    for form, op in enumerate(PREDICTION_FORMS):
        if op and op not in ops:
            continue
        logits = bool(op) or from_logits
        own = tuple((Domain.REAL if logits else p, y) for p, y in domains)
        for number, function in enumerate(loss_values(loss, y_true[1])):
            for weighted in (False, True) if weight is not None else (False,):
                run = _Run(function, list(PREDICTION_FORMS.values())[form])
                yield LossGradient(bool(op), weighted, (op, number, weighted), own, True, run)


def takes_activated(loss: Any) -> bool:
    """Whether a loss may be given what an activation makes of a model's output: probabilities.

    Keras' losses of logits, and those of any numbers, are none that are; of anybody's is not known.
    """
    if not is_of_keras(loss):
        return True
    domains, from_logits = _domains(loss, integer=False)
    return not from_logits and any(p in (Domain.UNIT, Domain.ROWS) for p, _ in domains)


def is_of_labels(loss: Any) -> bool:
    """Whether a loss of Keras is of labels or probabilities: what is smoothed is a part of it."""
    if not is_of_keras(loss):
        return False
    domains, _ = _domains(loss, integer=False)
    return any(labels not in (Domain.REAL, Domain.POSITIVE) for _, labels in domains)


def mixes_rows(loss: Any) -> bool:
    """Whether a loss of Keras has a gradient by each row of a prediction that others decide."""
    return is_of_keras(loss) and any(part in _name(loss) for part in _OF_SEVERAL_ROWS)


def is_of_numbers(loss: Any) -> bool:
    """Whether a loss of Keras is one that all examples may have the same target for.

    An adversary is asked for ones of what is real, and for zeros of what is made.
    """
    return isinstance(loss, _OF_NUMBERS)


def _domains(loss: Any, integer: bool) -> tuple[tuple[Domains, ...], bool]:
    """Where a loss of Keras has values, and whether it takes logits."""
    made = loss_of(loss)
    name = _name(loss)
    found = next((own for part, own in _LABELS.items() if part in name), None)
    if found is None:
        found = ((Domain.REAL, Domain.WHOLE if integer else Domain.REAL),)
    return found, is_loss(made) and bool(settings_of(made).get("from_logits"))


def _name(loss: Any) -> str:
    made = loss_of(loss)
    return getattr(made, "__name__", type(made).__name__).replace("_", "").lower()


class _Run:
    """One of Keras' own losses, as it is run eagerly."""

    def __init__(self, function: Callable[..., Any], activation: Callable[[Any], Any]) -> None:
        self.function, self.activation = function, activation

    def __call__(self, y_true: Any, y_pred: Any, *weight: Any) -> tuple[Array, Array | None] | None:
        with tf.device("CPU:0"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras' advice on logits is not for us
            # In half precision Keras' own values would be the less exact ones.
            logits = tf.constant(y_pred, None if y_pred.dtype == np.float64 else tf.float32)
            try:
                with tf.GradientTape() as tape:
                    tape.watch(logits)
                    prediction = self.activation(logits)
                    value = self.function(
                        tf.constant(y_true), prediction, *(tf.constant(w) for w in weight)
                    )
                gradient = tape.gradient(value, logits) if value.shape == () else None
            except MISFIT:
                return None
            return None if gradient is None else (gradient.numpy(), prediction.numpy())


class _Traced:
    """A loss as it was traced: nothing that it does besides is done."""

    def __init__(self, pattern: Pattern) -> None:
        self.pattern = pattern
        self._plan = Plan(pattern.flat)

    def __call__(self, y_true: Any, y_pred: Any, *weight: Any) -> tuple[Array, Array | None] | None:
        given = {"target": y_true, "prediction": y_pred, "upstream": 1.0}
        given.update(zip(("sample weight",), weight, strict=False))
        cut = {}
        for index, role in self.pattern.leaves.items():
            if role not in given:
                return None
            cut[index, 0] = tf.constant(given[role], self.pattern.flat.dtype((index, 0)))
        evaluation = Evaluation(self._plan, Drawn(0), cut)
        try:
            root, *present = (
                evaluation.value(root) for root in (*self.pattern.roots[:1], *self.pattern.present)
            )
        except NoValueError:
            return None
        return root.numpy(), present[0].numpy() if present else None

"""Losses of what a model returns, as functions of a step's arguments."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from verify.references.losses import loss_forms
from verify.references.model import ModelReference


def losses_of_outputs(
    reference: ModelReference, losses: Sequence[tuple[Any, float]]
) -> Iterator[Callable[..., Any]]:
    """The ways in which a weighted sum of losses may be made of a batch, (x, y[, sample_weight]).

    With the losses that the model adds or without, with sample weights or without: which of these
    there are is known once the first of them has been traced.
    """
    model = reference.model
    has = {"losses": False, "weights": False}

    def summed(added: bool, weighted: bool) -> Callable[..., Any]:
        def whole(*batch: Any) -> Any:
            x, y, *weights = batch[0] if len(batch) == 1 else batch
            prediction = model(x, training=True)
            given = [weight for weight in weights if weight is not None] if weighted else []
            has["losses"] |= bool(model.losses)
            has["weights"] |= bool(given)
            values = [
                factor
                * tf.cast(loss_forms(loss, y.dtype.name)[0](y, prediction, *given), "float32")
                for loss, factor in losses
            ]
            return tf.add_n([*values, *(model.losses if added else ())])

        return whole

    for added, weighted in itertools.product((True, False), repeat=2):
        if (added or has["losses"]) and (weighted or has["weights"]):
            yield summed(added, weighted)

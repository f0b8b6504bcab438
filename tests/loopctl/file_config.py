"""What the config files of the tests name."""

from __future__ import annotations

from typing import Any

import keras

HUBER = keras.losses.Huber(0.5)


def often(callback: Any) -> bool:
    return bool(callback.batches % 3 < 2)


def later(callback: Any) -> bool:
    return bool(callback.epochs >= 1)


def kernels(model: keras.Model) -> list[Any]:
    return [v for v in model.trainable_variables if v.name == "kernel"]


def halved(gradients: list[Any], variables: list[Any]) -> list[Any]:
    return [gradient / 2 for gradient in gradients]


def halt(callback: Any) -> None:
    callback.model.stop_training = True

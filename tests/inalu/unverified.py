"""Training without a look at the graphs, in other processes than the one that fixtures change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

import verify
from inalu import experiment, recipe
from inalu.layers import NALU


def one_layer(**nalu: Any) -> keras.Model:
    """Chapter 6 with one layer instead of three: a third of the tracing."""
    return keras.Sequential([keras.Input((7,)), NALU(1, clipping=20, name="layer_1", **nalu)])


def from_now_on() -> None:
    """Makes of verification nothing, in the process that calls it."""
    verify.assert_config = lambda model, callback, batch: None


def of_one_layer_from_now_on() -> None:
    from_now_on()
    recipe.build_model = one_layer


def train(settings: experiment.Settings, directory: Path) -> Any:
    from_now_on()
    return experiment.train(settings, directory)

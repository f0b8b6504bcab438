"""For tests of what comes after a verification, or around a training."""

from __future__ import annotations

import functools
from typing import Any

import keras
import pytest

import verify
from inalu import recipe
from inalu.layers import NALU


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains without a look at the graphs, which takes twice as long as a short training.

    They are of the same configs as in tests that do look: of files of a run, of all variants.
    """
    monkeypatch.setattr(verify, "assert_config", lambda model, callback, batch: None)


@pytest.fixture
def eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chapter 6 without a graph: for a few steps, of which tracing would be nearly all."""
    eager = functools.partial(recipe.compile_model, run_eagerly=True)
    monkeypatch.setattr(recipe, "compile_model", eager)


@pytest.fixture
def one_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chapter 6 with one layer instead of three: a third of the tracing.

    For tests of what comes before and after a training, not of the stack.
    """

    def build_model(**nalu: Any) -> keras.Model:
        return keras.Sequential([keras.Input((7,)), NALU(1, clipping=20, name="layer_1", **nalu)])

    monkeypatch.setattr(recipe, "build_model", build_model)

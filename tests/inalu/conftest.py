"""For tests of what comes after a verification, or around a training."""

from __future__ import annotations

import functools

import pytest

import verify
from inalu import recipe
from tests.inalu import unverified


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
    """For tests of what comes before and after a training, not of the stack."""
    monkeypatch.setattr(recipe, "build_model", unverified.one_layer)

"""For tests of what comes after a verification."""

from __future__ import annotations

import pytest

import verify


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains without a look at the graphs, which takes twice as long as a short training.

    They are of the same configs as in tests that do look: of files of a run, of all variants.
    """
    monkeypatch.setattr(verify, "assert_config", lambda model, callback, batch: None)

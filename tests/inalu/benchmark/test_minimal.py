"""The minimal tasks of iNALU's paper: distributions, restarts, and a short run."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from inalu.benchmark import minimal
from inalu.benchmark.minimal import DISTRIBUTIONS, Distribution, Restarts


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda d: d.name)
@pytest.mark.parametrize("outside", [False, True])
def test_distributions(distribution, outside):
    x = distribution.draw(np.random.default_rng(0), 5000, outside=outside)
    assert x.shape == (5000, 2)
    bounds = distribution.outside if outside else distribution.inside
    low, high = (0, np.inf) if distribution.kind == "E" else bounds
    mean = bounds[0] if distribution.kind == "E" else (low + high) / 2
    deviation = {"E": mean, "U": (high - low) / 12**0.5, "N": (high - low) / 6 * 0.987}
    assert low <= x.min()
    assert x.max() <= high
    assert x.mean() == pytest.approx(mean, abs=0.05 * float(x.std()))
    assert x.std() == pytest.approx(deviation[distribution.kind], rel=0.05)


def test_restarts_are_of_those_that_do_not_come_down():
    """One that comes down, one that stays high, one that stays low."""
    restarted = []
    ensemble = SimpleNamespace(copies=3, reinitialize=lambda which, _: restarted.append(which))
    losses = SimpleNamespace(losses=np.stack([np.linspace(9, 2, 10), [5.0] * 10, [0.5] * 10], 1))
    restarts = Restarts(ensemble, losses)
    for epoch in range(20):
        restarts.on_epoch_end(epoch)
        if epoch == 9:
            losses.losses = losses.losses.copy()
            losses.losses[:, 0] = 1.5
    assert [which.tolist() for which in restarted] == [[False, True, False]] * 2
    assert restarts.count.tolist() == [0, 2, 0]


def test_a_restarted_copy_forgets_its_losses():
    """What came before would look as if it came down."""
    ensemble = SimpleNamespace(copies=1, reinitialize=lambda which, _: None)
    losses = SimpleNamespace(losses=np.full((10, 1), 50.0))
    restarts = Restarts(ensemble, losses)
    restarts.on_epoch_end(9)
    losses.losses = np.full((10, 1), 5.0)
    restarts.on_epoch_end(19)
    assert restarts.count.tolist() == [2]


def test_published_figures_are_of_what_is_run():
    for rows in minimal.PUBLISHED.values():
        assert list(rows) == [distribution.name for distribution in DISTRIBUTIONS]


@pytest.mark.parametrize("module", minimal.MODULES)
def test_a_short_run(module):
    """Graphs are verified on the way."""
    few = [Distribution("U", (-1, 1), (-10, -5))]
    outcomes = minimal.run(module, seeds=2, epochs=12, steps=10, distributions=few)
    assert [o.operation for o in outcomes] == ["add", "sub", "mul", "div"]
    assert all(o.seeds == 2 and o.distribution == "U(-1, 1)" for o in outcomes)

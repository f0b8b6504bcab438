"""NALM's single-module task: its data, its definition of success, and a short run."""

from __future__ import annotations

import dataclasses
import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from inalu.benchmark import nalm
from inalu.benchmark.nalm import MODULES, OPERATIONS, RANGES, Looks


def square_of_sizes(parts):
    """E[(|a| + |b|)^2] for a, b from the parts."""
    low, high = np.abs(np.array(parts[0]))
    mean, variance = (low + high) / 2, (high - low) ** 2 / 12
    return (2 * mean) ** 2 + 2 * variance


@pytest.mark.parametrize("of_range", RANGES, ids=lambda r: r.name)
def test_thresholds_of_sums(of_range):
    """Both weights off by 1e-5, in the worse direction."""
    expected = 1e-10 * square_of_sizes(of_range.outside)
    assert of_range.thresholds["add"] == of_range.thresholds["sub"]
    assert of_range.thresholds["add"] == pytest.approx(expected, rel=0.1)


def test_nine_ranges():
    assert len({r.inside for r in RANGES}) == 9
    for r in RANGES:
        assert set(r.thresholds) == set(OPERATIONS)


def test_batches_are_fresh_and_each_copys_own():
    of_copy = [RANGES[0], RANGES[0], RANGES[8]]
    batches = list(itertools.islice(nalm._batches(of_copy, "div").as_numpy_iterator(), 2))
    (x, y), (later, _) = batches
    assert x.shape == (3, 128, 2)
    np.testing.assert_allclose(y, x[..., :1] / x[..., 1:])
    assert not np.array_equal(x, later)
    assert not np.array_equal(x[0], x[1])
    for values, r in zip(x, of_copy, strict=True):
        low, high = r.inside
        assert low <= values.min() < low + 0.5
        assert high - 0.5 < values.max() <= high


def test_inputs_outside_are_from_all_parts():
    x = nalm._drawn(np.random.default_rng(0), RANGES[4].outside, 1000)
    assert (np.abs(x) >= 2).all()
    assert 0.45 < (x > 0).mean() < 0.55


def test_success_is_where_the_error_inside_is_least():
    """Not at the end, and not where the error outside is least. NaN is never the best."""
    one = dataclasses.replace(RANGES[0], thresholds=dict.fromkeys(OPERATIONS, 1.0))
    looks = Looks([one] * 3, "add")
    looks.inside = [np.array(row) for row in ([9.0, 9.0, 9.0], [1.0, 1.0, 3.0], [2.0, 2.0, np.nan])]
    looks.outside = [
        np.array(row) for row in ([9.0, 0.1, 9.0], [0.5, 5.0, 0.2], [7.0, 0.1, np.nan])
    ]
    (outcome,) = looks.outcomes("NAU", "add", [one])
    assert (outcome.successes, outcome.seeds) == (2, 3)
    assert outcome.solved_at == nalm.INTERVAL
    assert outcome.extrapolation == 0.5


def test_an_inalu_that_is_stuck_starts_afresh(monkeypatch):
    """The second of three: one comes down, one does not, one is near enough."""
    restarted = []
    looks = Looks([RANGES[0]] * 3, "add")
    looks.improving = True
    active = SimpleNamespace(assign=lambda values: actives.append(values.tolist()))
    actives = []
    ensemble = SimpleNamespace(
        active=active, reinitialize=lambda which: restarted.append(which.tolist())
    )
    looks.set_model(SimpleNamespace(layers=[ensemble]))
    for look in range(2 * nalm.PATIENCE):
        errors = np.array([2.0 ** (9 - look), 5.0, 0.5])
        monkeypatch.setattr(nalm, "measured", lambda *_, errors=errors: errors)
        looks.on_epoch_end(look)
    assert restarted == [[False, True, False]] * 2
    assert actives[0] == [0, 0, 1]
    assert actives[-1] == [1, 0, 1]


@pytest.mark.parametrize("module", ["NAU", "iNALU"])
def test_a_short_run(module):
    """Graphs are verified on the way. Of iNALUs, only those near a solution are regularised."""
    outcomes = nalm.run(module, "add", seeds=2, iterations=1000, ranges=RANGES[5:7])
    assert [(o.range, o.seeds) for o in outcomes] == [("[0.1, 0.2]", 2), ("[1, 2]", 2)]
    assert all(np.isfinite(o.extrapolation) for o in outcomes)


def test_what_is_tried():
    assert sum(map(len, MODULES.values())) == 19
    with pytest.raises(KeyError, match="mul"):
        nalm.run("NAU", "mul")

"""Results of many seeds in one line and in tables."""

from __future__ import annotations

from inalu.experiment import Result, Settings, summary, table_of_seeds, table_of_variants


def result(seed, variant="chapter-6", **values):
    plain = {
        "settings": Settings(seed, variant=variant),
        "epochs": 14,
        "reinitialized": (),
        "converged": True,
        "log10_loss": -12.0,
        "interpolation_mse": 1e-13,
        "extrapolation_mse": 1e-9,
        "success": True,
        "formula": "x1 * x2",
        "discrete": True,
        "proved": True,
        "seconds": 8.0,
        "environment": {},
    }
    return Result(**{**plain, **values})


def test_summary_and_table():
    results = [
        result(0),
        result(1, epochs=25, reinitialized=(11,), extrapolation_mse=2e-9),
        result(2, epochs=120, converged=False, success=False, discrete=False, proved=False),
    ]
    assert summary(results) == (
        "2 of 3 seeds converged, median 19.5 epochs, extrapolation MSE at most 2.0e-09; 2 succeeded"
    )
    rows = table_of_seeds(results)
    assert rows.markdown().splitlines()[1:] == [
        "| ---: | ---: | ---: | ---: | ---: | ---: | --- |",
        "| 0 | 14 | – | -12.0 | 1.0e-13 | 1.0e-09 | proved |",
        "| 1 | 25 | 11 | -12.0 | 1.0e-13 | 2.0e-09 | proved |",
        "| 2 | > 120 | – | -12.0 | 1.0e-13 | 1.0e-09 | not discrete |",
    ]
    assert rows.table().row_count == 3


def test_variants():
    """A median of the seeds that converged; a loss from the best to the worst of all."""
    results = [
        result(0),
        result(1, variant="no-clipping", epochs=30, reinitialized=(11, 22), log10_loss=-11.0),
        result(2, variant="no-clipping", converged=False, success=False, proved=False),
    ]
    assert table_of_variants(results).markdown().splitlines()[2:] == [
        "| chapter-6 | 1 of 1 | 1 of 1 | 1 of 1 | 14 | 0 | -12.0 to -12.0 |",
        "| no-clipping | 1 of 2 | 1 of 2 | 1 of 2 | 30 | 2 | -12.0 to -11.0 |",
    ]

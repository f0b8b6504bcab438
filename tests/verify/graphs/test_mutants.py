"""Changed graphs are read or refused: a verdict, or one error of ours."""

from __future__ import annotations

from pathlib import Path

import hypothesis

import verify
from tests.grids import THOROUGH
from tests.verify.graphs.mutants import CHANGES, mutant, originals, outcome

_EACH = 5  # mutants for each example that a profile asks for
# How many go through every command.
_EVERYWHERE = 20 if hypothesis.settings.default.max_examples >= THOROUGH else 10


def test_the_originals_are_read() -> None:
    for original in originals():
        assert verify.graph(original)


def test_mutants_are_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "mutant.pb"
    seen = set[int]()
    for seed in range(_EACH * hypothesis.settings().max_examples):
        path.write_bytes(mutant(seed))
        statuses = outcome(path, ["show", "FILE"])
        assert statuses[0] in (0, 2), f"mutant {seed}"
        seen.update(statuses)
    assert seen == {0, 2}


def test_every_command_reads_mutants_alike(tmp_path: Path) -> None:
    path, picture = tmp_path / "mutant.pb", str(tmp_path / "mutant.html")
    for seed in range(_EVERYWHERE):
        path.write_bytes(mutant(seed))
        commands = ["show", "FILE"], ["init", "FILE"], ["draw", "FILE", "-o", picture]
        statuses = outcome(path, *commands, ["diff", "FILE", "FILE"])
        assert statuses in ([0] * 4, [2] * 4), f"mutant {seed}"


def test_a_seed_makes_the_same_mutant() -> None:
    assert mutant(3) == mutant(3) != mutant(4)
    assert len(CHANGES) == len(set(CHANGES))

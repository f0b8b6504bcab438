"""The contract of several steps: what all keep, and nothing that one of them breaks."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import tensorflow as tf

from tests.verify.contracts import family
from verify.cli import main
from verify.contracts import Inference, infer, judge, read, subject_from

_HERE = family.__name__
NAMES = tuple(one.__name__ for one in (family.small, family.large, family.faster, family.other))


def of(*names: str) -> Inference:
    return infer({name: subject_from(f"{_HERE}:{name}") for name in names})


def test_that_steps_alike_promise_the_same_by_globs_and_bounds() -> None:
    found = of("small", "large")
    assert found.said["loss"] == ["MeanSquaredError"]
    assert found.said["clipping"] == [-0.5, 0.5]
    assert found.said["watched"] == ["*"]
    assert found.said["max_ops"] == max(of("small", "small").said["max_ops"], found.said["max_ops"])
    assert {"optimizer", "forbids"} <= found.said.keys()
    assert found.wider.keys() >= {"watched", "max_ops"}


def test_that_what_differs_is_left_out_and_said() -> None:
    found = of("small", "faster")
    assert "optimizer" not in found.said
    assert found.left["optimizer"].endswith("in faster")
    assert found.said["watched"] == found.said["watched"] != ["*"]  # by their paths: names agree


@pytest.mark.parametrize("names", [*itertools.combinations(NAMES, 2), NAMES])
def test_that_each_of_the_steps_keeps_what_was_inferred(
    names: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "family.graph.toml"
    assert main(["infer", *(f"{_HERE}:{name}" for name in names), "-o", str(path)]) == 0
    contracts = read(path)
    assert [contract.name for contract in contracts] == [*names]
    assert [verdict.message for verdict in map(judge, contracts)] == [""] * len(names)
    told = capsys.readouterr()
    assert told.out == f"{path}: {len(names)} contracts\n"
    assert all(f"# {line}" in path.read_text("utf-8") for line in told.err.splitlines())


def test_that_another_step_breaks_what_was_inferred_from_good_ones(tmp_path: Path) -> None:
    path = tmp_path / "family.graph.toml"
    main(["infer", f"{_HERE}:small", f"{_HERE}:large", "-o", str(path)])
    text = path.read_text("utf-8").replace(f"{_HERE}:small", f"{_HERE}:other")
    path.write_text(text, "utf-8")
    first, _ = map(judge, read(path))
    assert {violation.keyword for violation in first.violations} >= {"loss", "clipping"}


def test_that_one_step_is_not_enough(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["infer", f"{_HERE}:small"]) == 2
    assert "of one, init says all that is true" in capsys.readouterr().err


def test_that_files_are_named_from_where_the_contracts_are(tmp_path: Path) -> None:
    model, (x, y) = family.small()
    step = tf.function(model.train_step, autograph=False).get_concrete_function((x, y))
    for name in ("a.pb", "b.pb"):
        definition = step.graph.as_graph_def(add_shapes=True)
        (tmp_path / name).write_bytes(definition.SerializeToString())
    path = tmp_path / "contracts" / "both.graph.toml"
    path.parent.mkdir()
    assert main(["infer", str(tmp_path / "a.pb"), str(tmp_path / "b.pb"), "-o", str(path)]) == 0
    assert 'file = "../a.pb"' in path.read_text("utf-8")
    assert [verdict.message for verdict in map(judge, read(path))] == ["", ""]

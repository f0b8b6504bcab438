"""The contract of several steps: what all keep, and nothing that one of them breaks."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import tensorflow as tf

from tests.verify.contracts import family
from verify.cli import main
from verify.contracts import (
    Inference,
    Record,
    good,
    goods_of,
    infer,
    judge,
    read,
    record,
    record_text,
    subject_from,
)

_HERE = family.__name__
NAMES = tuple(one.__name__ for one in (family.small, family.large, family.faster, family.other))
OTHER_RULES = family.by_another_rule.__name__, family.with_momentum.__name__
RULES = (("faster", OTHER_RULES[0]), (*OTHER_RULES, "small"))


def of(*names: str) -> Inference:
    return infer([good(name, subject_from(f"{_HERE}:{name}")) for name in names])


def recorded(*names: str, tensorflow: str = "1.2.3") -> Record:
    """A record of these, as of another version."""
    made = record([f"{_HERE}:{name}" for name in names])
    versions = {**made.versions, "tensorflow": tensorflow}
    return made.model_copy(update={"versions": versions})


def test_that_steps_alike_promise_the_same_by_globs_and_bounds() -> None:
    found = of("small", "large")
    assert found.said["loss"] == ["MeanSquaredError"]
    assert found.said["clipping"] == [-0.5, 0.5]
    assert found.said["watched"] == ["*"]
    assert found.said["max_ops"] == max(of("small", "small").said["max_ops"], found.said["max_ops"])
    assert {"optimizer", "forbids"} <= found.said.keys()
    assert found.wider.keys() >= {"watched", "max_ops"}


def test_that_what_differs_is_left_out_and_said() -> None:
    found = of("small", "by_another_rule")
    assert "optimizer" not in found.said
    assert found.left["optimizer"].endswith("in by_another_rule")
    assert found.said["watched"] == found.said["watched"] != ["*"]  # by their paths: names agree


def test_that_rates_that_differ_become_a_range_of_one_rule() -> None:
    found = of("small", "faster")
    assert found.said["optimizer"] == {"is": "Adam", "learning_rate": [0.001, 0.01]}
    assert found.wider["optimizer"] == "at a rate between those of all"
    assert "learning_rate" not in found.said


@pytest.mark.parametrize(
    ("names", "rate", "how"),
    [
        (("small", "with_momentum"), 0.001, None),
        (("small", "by_another_rule"), [0.001, 0.002], "between the rates of all"),
        (("faster", "by_another_rule", "small"), [0.001, 0.01], "between the rates of all"),
    ],
)
def test_that_two_rules_leave_their_rates(
    names: tuple[str, ...], rate: object, how: str | None
) -> None:
    found = of(*names)
    assert "optimizer" in found.left
    assert found.said["learning_rate"] == rate
    assert found.wider.get("learning_rate") == how


@pytest.mark.parametrize("names", [("small", "faster"), ("faster", "by_another_rule", "small")])
def test_that_records_say_the_same_of_rates(names: tuple[str, ...]) -> None:
    of_records = infer(goods_of(recorded(*names), "then.json"))
    keywords = ("optimizer", "learning_rate")
    here = of(*names).said
    assert {k: of_records.said.get(k) for k in keywords} == {k: here.get(k) for k in keywords}


@pytest.mark.parametrize("names", [*itertools.combinations(NAMES, 2), NAMES, *RULES])
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
    assert "for a single step, use init" in capsys.readouterr().err


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


def test_that_clips_that_differ_become_a_range_which_others_are_outside_of() -> None:
    found = of("small", "tighter")
    assert found.said["clipping"] == [[-0.5, -0.25], [0.25, 0.5]]
    assert found.wider["clipping"] == "between the bounds of all"
    assert "clipping" not in of("small", "other").said  # one does not clip


@pytest.mark.parametrize(
    ("names", "kept", "wider"),
    [
        (
            ("clipped_at_first", "clipped_less_at_first"),
            {"clipping": [[-0.5, -0.1], [0.1, 0.5]]},
            1,
        ),
        (("clipped_at_first", "clipped_at_first"), {"clipping": [-0.1, 0.1]}, 0),
        (("clipped_at_first", "another_loss_at_first"), {"clipping": [-0.1, 0.1]}, 0),
    ],
)
def test_that_branches_are_promised_keyword_by_keyword(
    names: tuple[str, str], kept: dict[str, object], wider: int
) -> None:
    found = of(*names)
    branch = found.said["guards"]["clip"]["true"]
    assert kept.items() <= branch.items()
    assert ("guards.clip.true.clipping" in found.wider) == bool(wider)
    losses = "loss" in branch, "guards.clip.true.loss" in found.left
    assert losses == ((False, True) if "another_loss_at_first" in names else (True, False))


@pytest.mark.parametrize(
    ("names", "wrong"),
    [
        (
            ("clipped_at_first", "clipped_less_at_first", "another_loss_at_first"),
            "not_clipped_at_all",
        ),
        (("small", "tighter"), "other"),
    ],
)
def test_that_ranges_and_branches_are_kept_by_the_steps_that_they_are_of(
    names: tuple[str, ...], wrong: str, tmp_path: Path
) -> None:
    path = tmp_path / "branches.graph.toml"
    assert main(["infer", *(f"{_HERE}:{name}" for name in names), "-o", str(path)]) == 0
    assert [verdict.message for verdict in map(judge, read(path))] == [""] * len(names)
    text = path.read_text("utf-8").replace(f"{_HERE}:{names[0]}", f"{_HERE}:{wrong}")
    path.write_text(text, "utf-8")
    first = next(map(judge, read(path)))
    assert any("clipping" in violation.keyword for violation in first.violations)


@pytest.mark.parametrize(
    ("here", "then"),
    [
        ("small", "tighter"),
        ("small", "large"),
        ("large", "faster"),
        ("clipped_at_first", "clipped_less_at_first"),
    ],
)
def test_that_a_record_says_what_the_step_itself_would(here: str, then: str) -> None:
    live, record_of = good(here, subject_from(f"{_HERE}:{here}")), recorded(then)
    found, expected = infer([live, *goods_of(record_of, "r.json")]), of(here, then)
    assert found.said == expected.said
    assert found.wider == expected.wider
    assert found.left.keys() == expected.left.keys()


def test_that_records_of_several_versions_make_one_contract(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(record_text(recorded("small", tensorflow="1.2.3")))
    new.write_text(record_text(recorded("small", tensorflow="4.5.6")))
    path = tmp_path / "both.graph.toml"
    assert main(["infer", str(old), str(new), f"{_HERE}:small", "-o", str(path)]) == 0
    (contract,) = read(path)
    assert judge(contract).message == ""
    assert "tensorflow 1.2.3" in path.read_text("utf-8")
    text = record_text(recorded("small"))
    old.write_text(text[: text.index(', "promises"')] + "}\n]}\n")
    assert main(["infer", str(old), str(new)]) == 2
    assert "record it again" in capsys.readouterr().err


def test_that_seeds_make_a_step_several_times(tmp_path: Path) -> None:
    path = tmp_path / "seeds.graph.toml"
    assert main(["infer", f"{_HERE}:drawn", "--seeds", "4", "-o", str(path)]) == 0
    (contract,) = read(path)
    assert contract.name == "drawn"
    text = path.read_text("utf-8")
    assert "clipping = [" in text
    assert "# clipping: between the bounds of all" in text

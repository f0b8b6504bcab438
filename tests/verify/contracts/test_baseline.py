"""Baselines say what is there and can only get tighter."""

from __future__ import annotations

from pathlib import Path

import pytest

from verify.contracts import Contract, contract_text, judge, read, subject_from, tighten
from verify.contracts.ratchet import slack

SHOP = "tests.verify.contracts.shop"


def baseline(folder: Path, target: str) -> Contract:
    path = folder / "base.graph.toml"
    path.write_text(contract_text("one", subject_from(f"{SHOP}:{target}")))
    (contract,) = read(path)
    return contract


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (
            "plain",
            [
                'loss = ["MeanSquaredError"]',
                'is = "L2", l2 = 0.01',
                "clipping = false",
                '"shop/head/bias"',
            ],
        ),
        ("controlled#warmup_on", ['loss = ["Huber"]', "clipping = [-0.1, 0.1]", "warmup_on"]),
        ("main", ["[contracts.one.guards.warmup.true]", 'loss = ["MeanSquaredError"]']),
        ("calls_python", ['"!EagerPyFunc"', "loss = false"]),
    ],
)
def test_a_baseline_is_kept_and_nothing_of_it_is_loose(
    target: str, said: list[str], tmp_path: Path
) -> None:
    contract = baseline(tmp_path, target)
    text = contract.path.read_text()
    assert all(one in text for one in said), text
    found = judge(contract, ratchet=True)
    assert found.kept, found.message
    assert found.slack == ()


def test_what_a_contract_can_not_say_is_left_out_with_the_reason(tmp_path: Path) -> None:
    text = baseline(tmp_path, "main").path.read_text()
    assert "# clipping is left out: clipping: expected every gradient" in text


def test_slack_is_found_and_taken_out(tmp_path: Path) -> None:
    path = tmp_path / "some.graph.toml"
    path.write_text(
        "# Mind the comment.\n"
        f'[contracts.one]\ntarget = "{SHOP}:plain"\n'
        'forbids = ["*PyFunc*", "!EagerPyFunc"]  # for now\nmax_ops = 100_000\n'
    )
    (contract,) = read(path)
    found = judge(contract, ratchet=True)
    assert found.kept
    assert [one.keyword for one in found.slack] == ["max_ops", "forbids"]
    assert "max_ops = 100000 could be" in str(found.slack[0])
    tighten(list(found.slack))
    text = path.read_text()
    assert "# Mind the comment." in text
    assert 'forbids = ["*PyFunc*"]  # for now' in text
    (contract,) = read(path)
    assert slack(contract) == []
    assert judge(contract, ratchet=True).kept


def test_a_loss_without_a_name_in_keras_is_kept_by_its_fingerprint(tmp_path: Path) -> None:
    contract = baseline(tmp_path, "own")
    text = contract.path.read_text()
    assert 'loss = [{fingerprint = "' in text
    assert judge(contract).kept
    contract.path.write_text(text.replace(":own", ":another"))
    (other,) = read(contract.path)
    found = judge(other)
    assert not found.kept
    assert "expected losses with the fingerprint [" in found.message


def test_a_named_loss_besides_is_not_told_by_a_fingerprint(tmp_path: Path) -> None:
    """What is kept of a step with two losses breaks as soon as the named one is left out of it."""
    contract = baseline(tmp_path, "own_and_more")
    text = contract.path.read_text()
    assert judge(contract).kept
    assert "MeanSquaredError" in text
    contract.path.write_text(
        text.replace('"MeanSquaredError", ', "").replace('"MeanSquaredError",', "")
    )
    (other,) = read(contract.path)
    found = judge(other)
    assert not found.kept
    assert "MeanSquaredError" in found.message

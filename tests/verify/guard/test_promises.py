"""What a guard holds steps against: a file's contract, keywords, a snapshot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import verify
from tests.verify.guard.trained import BATCH, fit, model
from verify import GraphAssertionError, Guard
from verify.contracts import fresh_names
from verify.errors import ContractError
from verify.step_facts import snapshot_of

CONTRACTS = """\
[contracts.right]
target = "anywhere:step"
loss = "mse"

[contracts.wrong]
target = "anywhere:step"
watched = ["*/hidden/*", "*/head/*"]
loss = "mae"
"""


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    path = tmp_path / "train.graph.toml"
    path.write_text(CONTRACTS, "utf-8")
    return path


def test_that_one_contract_of_a_file_is_held(contracts: Path) -> None:
    fit(model(), Guard(f"{contracts}#right"), epochs=1)
    with pytest.raises(GraphAssertionError) as raised:
        fit(model(), Guard(f"{contracts}#wrong"), epochs=1)
    assert f"promised at {contracts}:8" in str(raised.value)


def test_that_a_snapshot_is_held(tmp_path: Path) -> None:
    path = tmp_path / "train.graph"
    fresh_names()
    path.write_text(snapshot_of(verify.facts(model(), BATCH)), "utf-8")
    fresh_names()
    fit(model(), Guard(path), epochs=1)
    with pytest.raises(GraphAssertionError, match=r"(?s)snapshot: expected.*MeanSquared.*Absolute"):
        fit(model(loss="mae"), Guard(path), epochs=1)


def test_that_a_snapshot_which_tells_less_is_refused(tmp_path: Path) -> None:
    """Of loopctl 0.1: it knew no optimizer, no mode, no fingerprint."""
    path = tmp_path / "train.graph"
    path.write_text("loss: MeanSquaredError\n", "utf-8")
    with pytest.raises(ContractError, match=r"train\.graph was written by loopctl 0\.1, .*update"):
        Guard(path)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("{0}", "has several contracts: choose one, .*#right"),
        ("{0}#rigth", "no contract 'rigth'; did you mean right?"),
        ("{0}#other", "no contract 'other'; it has right, wrong"),
        ("{0}.txt", "neither a contract .* nor a snapshot"),
        ("{0}/none.graph", "can't be read"),
    ],
)
def test_that_a_file_that_says_nothing_clear_is_refused(
    contracts: Path, given: str, told: str
) -> None:
    with pytest.raises(ContractError, match=told):
        Guard(given.format(contracts))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "neither given"),
        ({"contract": "a.graph.toml", "loss": "mse"}, "both 'a.graph.toml' and loss given"),
        ({"losses": "mse"}, "there is no keyword 'losses'"),
    ],
)
def test_that_one_of_them_is_asked_for(given: dict[str, Any], told: str) -> None:
    with pytest.raises(TypeError, match=told):
        Guard(**given)


def constant() -> keras.Model:
    """A model whose units can't become different."""
    made = model()
    for layer in made.layers:
        layer.set_weights([0.5 * np.ones_like(weight) for weight in layer.get_weights()])
    return made


def test_that_rules_are_held_with_the_weights_that_training_begins_with() -> None:
    fit(model(), Guard(lint=True), epochs=1)
    with pytest.raises(GraphAssertionError, match=r"V111 .*: expected a random initialiser"):
        fit(constant(), Guard(lint=True), epochs=1)
    fit(constant(), Guard(lint=True, ignore=["V111"]), epochs=1)


def test_that_rules_are_held_besides_a_contract(contracts: Path) -> None:
    fit(model(), Guard(f"{contracts}#right", lint=True), epochs=1)
    with pytest.raises(GraphAssertionError, match="V111"):
        fit(constant(), Guard(f"{contracts}#right", lint=True), epochs=1)
    with pytest.raises(GraphAssertionError, match=f"promised at {contracts}:8"):
        fit(model(), Guard(f"{contracts}#wrong", lint=True), epochs=1)


def test_that_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="V999"):
        Guard(lint=True, ignore=["V999"])
    with pytest.raises(ValueError, match="needs lint=True"):
        Guard(loss="mse", ignore=["V111"])

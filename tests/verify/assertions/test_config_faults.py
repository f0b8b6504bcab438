"""`assert_config`: a fault of each key of a config is told by its name, and nothing else is."""

from __future__ import annotations

import functools
import re
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import verify
from loopctl import LoopControllerCallback, when
from loopctl.config.dicts_to_plan import BRANCH_KEYS
from tests.verify.assertions.config_faults import KEYS, ROWS, regular, two
from tests.verify.assertions.test_config_keys import Pair

PAGE = Path(__file__).parents[3] / "docs" / "verify.md"


@functools.cache
def controlled(name: str, fault: str = "") -> Any:
    """A model under what is intended, or under a fault of it, with its callback and a batch."""
    make, intended, faults = KEYS[name]
    model = make()
    model.compile("rmsprop", dict.fromkeys("ab", "mse") if make is two else "mse")
    if make is Pair:
        model(ROWS[0])
    settings = faults[fault] if fault else intended
    callback = LoopControllerCallback({"a": {"cond": when.always, True: settings}})
    x, y = ROWS
    return model, callback.attach(model), (x, dict.fromkeys("ab", y) if make is two else y)


@pytest.mark.parametrize("name", KEYS)
def test_what_is_as_the_config_says_is_no_fault(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert verify.assert_config(*controlled(name)) == ()


@pytest.mark.parametrize(
    ("name", "fault"), [(name, fault) for name, (_, _, faults) in KEYS.items() for fault in faults]
)
def test_another_value_behind_the_config_is_found(name: str, fault: str) -> None:
    model, callback, batch = controlled(name, fault)
    intended = SimpleNamespace(config={"a": {"cond": when.always, True: KEYS[name][1]}})
    if fault == "repeat":  # a substep by itself is not repeated
        intended.main_step, intended.model = callback.main_step, model
    with pytest.raises(verify.GraphAssertionError) as error:
        verify.assert_config(model, intended, batch)
    assert any(v.keyword.endswith(f") {fault}") for v in error.value.violations), error.value


def test_each_key_has_a_fault_and_a_line_on_the_page() -> None:
    """A fault of a key is a step whose config differs in that key alone."""
    planted = set[str]()
    for _, intended, faults in KEYS.values():
        for faulty in faults.values():
            keys = intended.keys() | faulty.keys()
            other = {k for k in keys if intended.get(k, ...) is not faulty.get(k, ...)}
            planted |= other if len(other) == 1 else set()
    table = PAGE.read_text().partition("## A config against its graphs")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith('| `"')]
    documented = {key for row in rows for key in re.findall('"([a-z_]+)"', row)}
    assert documented == {*BRANCH_KEYS, "cond"}
    assert planted == {*BRANCH_KEYS}  # of conditions, see below


@pytest.mark.parametrize(
    ("cond", "other"),
    [
        (when.batches % 10 < 8, when.batches % 10 < 7),
        (when.every(3), ~when.every(3)),
        ((when.epochs >= 2) & (when.batches > 20), (when.epochs >= 2) | (when.batches > 20)),
    ],
)
def test_another_condition_behind_the_config_is_found(cond: Any, other: Any) -> None:
    model = regular()
    model.compile("sgd", "mse")
    callback = LoopControllerCallback({"a": {"cond": cond, True: {}}}).attach(model)
    verify.assert_config(model, callback, ROWS)
    config = {"a": {"cond": other, True: {}}}
    intended = SimpleNamespace(config=config, main_step=callback.main_step, model=model)
    with pytest.raises(verify.GraphAssertionError, match=r"\['cond'\] conditions: expected a wh"):
        verify.assert_config(model, intended, ROWS)


@pytest.mark.parametrize(
    ("cond", "settings", "left"),
    [
        (when.loss.last() < 1.0, {}, "config['a']['cond']: it is computed from loss"),
        (
            when.always,
            {"learning_rate": 0.1 * when.loss.last()},
            "config['a'][True]: learning_rate: it is computed from loss",
        ),
        (
            when.always,
            {"average": {"decay": 0.9, "start": when.batches > 3}},
            "config['a'][True]: average: when it starts",
        ),
    ],
)
def test_what_is_not_held_against_the_graphs_is_said(cond: Any, settings: Any, left: str) -> None:
    model = regular()
    model.compile("sgd", "mse")
    callback = LoopControllerCallback({"a": {"cond": cond, True: settings}}).attach(model)
    assert verify.assert_config(model, callback, ROWS) == (left,)

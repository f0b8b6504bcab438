"""Train steps as sites teach them: what is meant holds at once, and each fault is named."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

import verify

_OTHERS = {"case", Path(__file__).stem}
EXAMPLES: list[ModuleType] = [
    importlib.import_module(f"tests.corpus.{path.stem}")
    for path in sorted(Path(__file__).parent.glob("*.py"))
    if path.stem not in _OTHERS
]


def named(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


@pytest.mark.parametrize("module", EXAMPLES, ids=named)
def test_what_is_meant_holds(module: ModuleType) -> None:
    module.case().check()


@pytest.mark.parametrize(
    ("module", "wrong"),
    [
        pytest.param(module, wrong, id=f"{named(module)}: {wrong}")
        for module in EXAMPLES
        for wrong in module.FAULTS
    ],
)
def test_a_fault_is_named(module: ModuleType, wrong: str) -> None:
    with pytest.raises(verify.GraphAssertionError) as error:
        module.case(wrong).check()
    assert module.FAULTS[wrong] in str(error.value)

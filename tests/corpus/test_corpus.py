"""Train steps as sites teach them: what is meant holds at once, and each fault is named."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from types import ModuleType

import pytest

import verify

_OTHERS = {"case", "under_control", "test_under_control", Path(__file__).stem}
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


@pytest.mark.parametrize("module", EXAMPLES, ids=named)
def test_the_page_of_how_tos_says_what_is_meant(module: ModuleType) -> None:
    page = (Path(__file__).parents[2] / "docs" / "howto.md").read_text()
    (row,) = (line for line in page.splitlines() if line.endswith(f"| `{named(module)}.py` |"))
    title, _, what = ((module.__doc__ or "").splitlines()[0].rstrip(".")).partition(": ")
    calls = [one for one in ast.walk(ast.parse(inspect.getsource(module))) if called(one) == "Case"]
    assert len(calls) == 1
    (meant,) = (one for one in ast.iter_child_nodes(calls[0]) if isinstance(one, ast.Dict))
    said = ", ".join(
        f"{ast.literal_eval(key)}={ast.unparse(value)}"
        for key, value in zip(meant.keys, meant.values, strict=True)
        if key is not None
    )
    assert row == (
        f"| {title}: {what} | `{said.replace('keras.optimizers.', '')}` | `{named(module)}.py` |"
    )


def called(node: ast.AST) -> str:
    """The name of what is called, if something is."""
    function = node.func if isinstance(node, ast.Call) else None
    return function.id if isinstance(function, ast.Name) else ""

"""The README's example runs as printed, and fails with the message it shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import verify

README = Path(__file__).parent.parent / "README.md"


@pytest.fixture
def example() -> dict[str, Any]:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    scope: dict[str, Any] = {}
    exec(compile(code, "test_my_training.py", "exec"), scope)
    return scope


def test_the_example_passes(example: dict[str, Any]) -> None:
    example["test_the_step_does_what_we_meant"]()


def test_the_example_fails_as_shown(example: dict[str, Any]) -> None:
    warmup, head = example["CONFIG"]["warmup"], example["head"]
    warmup[True] = {
        "loss": "mae",
        "variables": lambda model: [model.layers[0].bias, *head(model)],
    }
    with pytest.raises(verify.GraphAssertionError) as error:
        example["test_the_step_does_what_we_meant"]()
    (shown,) = re.findall(r"```text\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    wanted, found = shown.splitlines(), str(error.value).splitlines()
    assert found[:-1] == wanted[:-1]

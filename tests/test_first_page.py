"""The first page's fault is caught as it shows, and what pages tell to assert can be asserted."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

import verify
from verify.kinds import KEYWORDS

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "index.md")
WHICH = ROOT / "docs" / "which.md"


def block(page: Path, language: str) -> str:
    """The first block of a language on a page."""
    found = re.search(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def run(code: str) -> None:
    scope: dict[str, Any] = {"keras": keras, "tf": tf, "verify": verify}
    keras.backend.clear_session()
    exec(compile(code, "test_first.py", "exec"), scope)
    scope["test_the_student_learns"]()


@pytest.mark.parametrize("language", ["py", "console"])
def test_both_pages_show_the_same(language: str) -> None:
    first, second = (block(page, language) for page in PAGES)
    assert first == second


def test_the_fault_is_told_as_shown() -> None:
    code = block(PAGES[0], "py")
    assert len(code.splitlines()) <= 20
    with pytest.raises(verify.GraphAssertionError) as caught:
        run(code)
    assert str(caught.value).splitlines()[:-1] == block(PAGES[0], "console").splitlines()


def test_without_the_fault_it_passes() -> None:
    code = block(PAGES[0], "py")
    fault = "weights = teacher.trainable_variables"
    assert fault in code
    run(code.replace(fault, "weights = student.trainable_variables"))


def test_what_is_told_to_assert_can_be_asserted() -> None:
    calls = re.findall(r"`verify\.(\w+)\((.*?)\)` \|", WHICH.read_text("utf-8"))
    assert len(calls) > 12
    for name, arguments in calls:
        public = inspect.signature(getattr(verify, name))
        for keyword in re.findall(r"(?:^|, )(\w+)=", re.sub(r"\(.*?\)|\{.*?\}", "", arguments)):
            assert keyword in public.parameters or keyword in KEYWORDS, f"{name}: {keyword}"

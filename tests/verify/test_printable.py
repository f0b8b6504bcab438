"""Names and texts that nobody may act on."""

from __future__ import annotations

import unicodedata

import hypothesis
import pytest
from hypothesis import strategies as st

from verify.printable import printable, printable_text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("dense/kernel", "dense/kernel"),
        ("größe/β_1", "größe/β_1"),
        ("cond[then_branch]::add:1", "cond[then_branch]::add:1"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("a\\nb", r"a\\nb"),
        ("::error::x", r"\x3a:error::x"),
        ("\u3000 ::error::x", "\u3000 \\x3a:error::x"),
        ("x ##[error]y", r"x \x23#[error]y"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("a\u2028b\x85c", r"a\u2028b\x85c"),
        ("\ud800\uffff\U0001ffff", r"\ud800\uffff\U0001ffff"),
    ],
)
def test_what_a_name_is_shown_as(name: str, shown: str) -> None:
    assert printable(name) == shown


@hypothesis.given(st.text(), st.text())
def test_names_are_one_line_and_stay_different(one: str, other: str) -> None:
    shown = printable(one)
    assert len(shown.splitlines()) <= 1
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown)
    assert not shown.lstrip().startswith("::")
    assert "##[" not in shown
    assert (one == other) == (shown == printable(other))


@hypothesis.given(st.text())
def test_texts_keep_their_lines(text: str) -> None:
    shown = printable_text(text)
    assert len(shown.split("\n")) == len(text.split("\n"))
    assert shown.splitlines() == (shown.split("\n") if shown else [])[: len(shown.splitlines())]
    assert not any(line.lstrip().startswith("::") for line in shown.split("\n"))
    assert printable_text(shown) == shown

"""The lines of a contract file's tables and keys."""

from __future__ import annotations

from verify.contracts.lines import comments_of, lines_of_keys


def test_headers_in_any_spelling() -> None:
    text = "[ contracts . 'a b' ]\nx = [\n[1]]\n[contracts.c.guards.f.true]\n[contracts.c]\n[odd\n"
    lines = lines_of_keys(text)
    assert lines["contracts", "a b"] == 1
    assert lines["contracts", "c"] == 4


def test_keys_in_any_spelling() -> None:
    text = """
[contracts.a]
loss = [
  { is = "mse" },
]
'clipping' = false
guards.flag.true = { loss = "mae" }
[contracts.a.guards.flag.false]
watched="*"
"""
    within = {path[2:]: line for path, line in lines_of_keys(text).items()}
    assert within["loss",] == 3
    assert within["clipping",] == 6
    assert within["guards", "flag", "true"] == 7
    assert within["guards", "flag", "false", "watched"] == 9


def test_comments_are_told_from_strings() -> None:
    text = '''# one
a = "# no \\" # no" # two
b = """
# no
""" # three
c = '# no'
d = '\'\'# no
# no'\'\' # four
'''
    assert [*comments_of(text)] == [(1, "# one"), (2, "# two"), (5, "# three"), (8, "# four")]

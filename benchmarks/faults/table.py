"""The list as a page of the docs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.faults.judging import Verdict

PAGE = Path(__file__).parents[2] / "docs" / "outside-faults.md"

_INTRODUCTION = """\
# Faults that others have published

What does a check catch that its own authors did not think of? This page lists {count} faults of
training steps from published catalogues. They were rewritten from their descriptions, each beside a
similar step that is right, and run with TensorFlow {tensorflow} and Keras {keras}. We know of no
other public benchmark of this kind for TensorFlow. `ci/bench faults` runs it, `ci/bench faults
--write` writes this page, and `ci/bench faults HLR softmax` runs only entries whose ids or sources
contain these words.

| column | meaning |
|---|---|
| lint | the [rules](lint.md) that find the fault without being told anything; *meant* if the \
faulty step would be right for another purpose, so that no rule for all steps can find it |
| keyword | the keywords of `verify.assert_graph` that fail, among those that the author of the \
right step would be most likely to use |
| snapshot | whether the facts of the step (`graph_snapshot`) differ from those of the right one |
| guard | what `verify.Guard` reports before or while the step trains, where this was tried: a \
keyword, a monitor, or with `lint=True` a rule |

{totals}

Some faults are not faults of the step, such as badly initialised weights; a guard finds these.

The sources are DeepCrime (Humbatova, Jahangirova, Tonella 2021; by the names of its operators),
TheDeepChecker (Ben Braiek, Khomh 2022; its synthetic programs, and cases from Stack Overflow), the
taxonomy of real faults (Humbatova and others 2020; by leaf), Defects4ML (Morovati and others 2023;
by number), silent bugs of TensorFlow and Keras (Tambon and others 2023; by issue) and TrainCheck
(OSDI 2025; by name). Programs in other frameworks, and bugs of libraries that have been fixed
since, are written as a step that does the same. Faults of data are included if they show within a
step.

| id | source | the fault | lint | keyword | snapshot | guard |
|---|---|---|---|---|---|---|
"""


def row(verdict: Verdict) -> str:
    """One fault, in a line of a table."""
    fault = verdict.fault
    lint = ", ".join(f"[{id}](lint.md#{id.lower()})" for id in verdict.lint)
    guard = "" if verdict.guard is None else ", ".join(verdict.guard) or "no"
    cells = (
        f"`{fault.id}`",
        fault.source,
        fault.describes,
        lint or ("*meant*" if fault.meant else "**no**"),
        ", ".join(f"`{keyword}`" for keyword in verdict.keywords)
        or ("**no**" if fault.asks else "none asks"),
        "yes" if verdict.snapshot else "no",
        guard,
    )
    return f"| {' | '.join(cells)} |"


def totals(verdicts: Sequence[Verdict]) -> str:
    """How many are caught by what, and how many alarms are false."""
    knowable = [verdict for verdict in verdicts if not verdict.fault.meant]
    counts = (
        ("lint, of those that a rule can know", sum(bool(v.lint) for v in knowable), len(knowable)),
        ("lint, of all", sum(bool(v.lint) for v in verdicts), len(verdicts)),
        ("the keyword or the guard", sum(v.caught for v in verdicts), len(verdicts)),
        ("the snapshot", sum(v.snapshot for v in verdicts), len(verdicts)),
        ("any of these", sum(v.caught or bool(v.lint) for v in verdicts), len(verdicts)),
        ("false alarms on right steps", sum(bool(v.alarms) for v in verdicts), len(verdicts)),
    )
    lines = ["| caught by | faults | of | |", "|---|---|---|---|"]
    lines += [f"| {name} | {some} | {of} | {share(some, of)} |" for name, some, of in counts]
    return "\n".join(lines)


def share(some: int, of: int) -> str:
    return f"{round(100 * some / of)} %" if of else ""


def page(verdicts: Sequence[Verdict], tensorflow: str, keras: str) -> str:
    """The whole page, of what was found with these versions."""
    introduction = _INTRODUCTION.format(
        count=len(verdicts), totals=totals(verdicts), tensorflow=tensorflow, keras=keras
    )
    return introduction + "\n".join(map(row, verdicts)) + "\n"

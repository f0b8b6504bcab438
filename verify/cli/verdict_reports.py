"""Verdicts on contracts as a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from verify.cli.places import of_the_repository, written_at
from verify.cli.reports import Entry, Report, Said
from verify.contracts import Verdict
from verify.printable import printable_text


def report_of(
    verdicts: Sequence[Verdict], unreadable: Sequence[str], *, written: bool = False
) -> Report:
    """The report of ``check``.

    Args:
        unreadable: what is wrong with files that could not be read.
        written: slack that was found has been taken out of the files.
    """
    entries = tuple(_entry(verdict, written) for verdict in verdicts)
    return Report(
        name="graph contracts",
        about="graph contract",
        key="contracts",
        statuses=("kept", "loose", "broken"),
        quiet=frozenset({"loose"}),
        doing="check",
        entries=entries,
        unreadable=tuple(printable_text(told) for told in unreadable),
        rules={
            said.rule: {
                "shortDescription": {"text": f"a step's {said.rule} is as its contract says"}
            }
            for entry in entries
            for said in entry.said
        },
    )


def _entry(verdict: Verdict, written: bool) -> Entry:
    contract, status = verdict.contract, _status(verdict, written)
    return Entry(
        label=contract.label,
        place=contract.place,
        path=contract.path,
        line=contract.line,
        status=status,
        good=status == "kept",
        message=verdict.message or "\n".join(map(str, verdict.slack)),
        said=(*_said(verdict, written),),
        error=verdict.error,
        seconds=verdict.seconds,
        data={
            "name": contract.label,
            "file": str(contract.path),
            "line": contract.line,
            "status": status,
            "violations": [
                {
                    "keyword": one.keyword,
                    "expected": one.expected,
                    "found": one.found,
                    "hints": list(one.hints),
                    "lines": [dataclasses.asdict(line) for line in one.lines],
                }
                for one in verdict.violations
            ],
            "slack": [
                {"keyword": one.keyword, "said": one.said, "tight": one.tight}
                for one in verdict.slack
            ],
        },
        made=written_at(contract.place, contract.promise.target)
        if status != "kept" and contract.promise.target
        else None,
        note="tightened" if verdict.slack and written else "",
    )


def _status(verdict: Verdict, written: bool) -> str:
    if verdict.error is not None:
        return "error"
    if verdict.violations:
        return "broken"
    return "loose" if verdict.slack and not written else "kept"


def _said(verdict: Verdict, written: bool) -> Iterator[Said]:
    contract = verdict.contract
    told = [(v.keyword, v.expected, str(v), v.lines) for v in verdict.violations]
    if not written:
        told += [(slack.keyword, str(slack.said), str(slack), ()) for slack in verdict.slack]
    for keyword, expected, text, lines in told:
        # What was expected stays as long as the contract does; what was found, and lines, move.
        identity = f"{contract.name} {keyword} {expected}"
        rule = keyword.rpartition(" ")[2]  # ``guards['flag': True] loss`` is about the loss
        code, line = of_the_repository(lines), contract.line_of(keyword)
        yield Said(rule, text, contract.path, line, identity, code)

"""Verdicts on contracts, as people and as machines read them."""

from __future__ import annotations

import hashlib
import json
import re
import urllib.parse
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from verify.cli.places import in_repository
from verify.contracts import Verdict
from verify.printable import printable_text

_ILLEGAL = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # in XML 1.0
_SARIF_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


def report(
    form: str, verdicts: Sequence[Verdict], unreadable: Sequence[str], *, written: bool = False
) -> str:
    """The report in one of the formats of ``check``.

    Args:
        unreadable: what is wrong with files that could not be read.
        written: slack that was found has been taken out of the files.
    """
    return FORMATTED[form](verdicts, [printable_text(told) for told in unreadable], written)


def _status(verdict: Verdict, written: bool) -> str:
    if verdict.error is not None:
        return "error"
    if verdict.violations:
        return "broken"
    return "loose" if verdict.slack and not written else "kept"


def _message(verdict: Verdict) -> str:
    return verdict.message or "\n".join(map(str, verdict.slack))


def _text(verdicts: Sequence[Verdict], unreadable: Sequence[str], written: bool) -> str:
    lines: list[str] = []
    for verdict in verdicts:
        status, contract = _status(verdict, written), verdict.contract
        lines.append(f"{status:<6} {contract.label} ({contract.place})")
        lines += [f"       {line}" for line in _message(verdict).splitlines()]
        if verdict.slack and written:
            lines.append("       tightened")
    lines += [f"error  {line}" for told in unreadable for line in told.splitlines()]
    counts = [
        f"{sum(_status(v, written) == status for v in verdicts)} {status}"
        for status in ("kept", "loose", "broken")
    ]
    errors = len(unreadable) + sum(v.error is not None for v in verdicts)
    traced, checked = (sum(v.seconds[i] for v in verdicts) for i in (0, 1))
    shown = [count for count in counts if not count.startswith("0 loose")]
    shown += [f"{errors} error{'s' * (errors != 1)}"] if errors else []
    lines.append(
        f"{', '.join(shown)} ({traced:.1f} s to make and trace the steps, {checked:.1f} s to check)"
    )
    return "\n".join(lines) + "\n"


def _json(verdicts: Sequence[Verdict], unreadable: Sequence[str], written: bool) -> str:
    contracts = [
        {
            "name": v.contract.label,
            "file": str(v.contract.path),
            "line": v.contract.line,
            "status": _status(v, written),
            "violations": [
                {
                    "keyword": one.keyword,
                    "expected": one.expected,
                    "found": one.found,
                    "hints": list(one.hints),
                }
                for one in v.violations
            ],
            "slack": [
                {"keyword": one.keyword, "said": one.said, "tight": one.tight} for one in v.slack
            ],
            "error": v.error,
            "seconds": {"trace": round(v.seconds[0], 4), "check": round(v.seconds[1], 4)},
        }
        for v in verdicts
    ]
    return json.dumps({"contracts": contracts, "unreadable": list(unreadable)}, indent=2) + "\n"


def _junit(verdicts: Sequence[Verdict], unreadable: Sequence[str], written: bool) -> str:
    """JUnit's XML, a suite per file, as Jenkins and GitLab read it."""
    suites = ElementTree.Element("testsuites", name="graph contracts")
    by_file: dict[Path, list[Verdict]] = {}
    for verdict in verdicts:
        by_file.setdefault(verdict.contract.path, []).append(verdict)
    for path, several in by_file.items():
        statuses = [_status(v, written) for v in several]
        suite = _suite(
            suites,
            str(path),
            len(several),
            statuses.count("broken") + statuses.count("loose"),
            statuses.count("error"),
            sum(sum(v.seconds) for v in several),
        )
        for verdict, status in zip(several, statuses, strict=True):
            case = ElementTree.SubElement(
                suite,
                "testcase",
                classname=_legal(str(path)),
                name=_legal(verdict.contract.label),
                time=f"{sum(verdict.seconds):.3f}",
            )
            if status != "kept":
                _told(case, "error" if status == "error" else "failure", status, _message(verdict))
    for number, told in enumerate(unreadable, 1):
        suite = _suite(suites, f"unreadable {number}", 1, 0, 1, 0.0)
        case = ElementTree.SubElement(suite, "testcase", classname="contracts", name="unreadable")
        _told(case, "error", "error", told)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _suite(
    suites: ElementTree.Element, name: str, tests: int, failures: int, errors: int, seconds: float
) -> ElementTree.Element:
    return ElementTree.SubElement(
        suites,
        "testsuite",
        name=_legal(name),
        tests=str(tests),
        failures=str(failures),
        errors=str(errors),
        skipped="0",
        time=f"{seconds:.3f}",
    )


def _told(case: ElementTree.Element, tag: str, kind: str, text: str) -> None:
    first = _legal(text.partition("\n")[0])
    ElementTree.SubElement(case, tag, type=kind, message=first).text = _legal(text)


def _legal(text: str) -> str:
    return _ILLEGAL.sub("�", text)


def _sarif(verdicts: Sequence[Verdict], unreadable: Sequence[str], written: bool) -> str:
    """SARIF 2.1.0, as code scanning reads it: a rule per keyword, a result per violation."""
    results: list[dict[str, Any]] = []
    seen: Counter[str] = Counter()
    for verdict in verdicts:
        contract = verdict.contract
        told = [(v.keyword, v.expected, str(v)) for v in verdict.violations]
        if not written:
            told += [(slack.keyword, str(slack.said), str(slack)) for slack in verdict.slack]
        for keyword, expected, text in told:
            uri, line = _uri(contract.path), contract.line_of(keyword)
            # What was expected stays as long as the contract does; what was found, and lines, move.
            identity = f"{uri} {contract.name} {keyword} {expected}"
            seen[identity] += 1
            identity += f" {seen[identity]}"
            results.append(
                {
                    "ruleId": _rule(keyword),
                    "level": "error",
                    "message": {"text": f"{contract.label}: {text}"},
                    "locations": [
                        {
                            "physicalLocation": {
                                "artifactLocation": {"uri": uri},
                                "region": {"startLine": line},
                            }
                        }
                    ],
                    "partialFingerprints": {
                        "contract/v1": hashlib.sha256(identity.encode()).hexdigest()
                    },
                }
            )
    errors = [*unreadable, *(v.error for v in verdicts if v.error is not None)]
    driver = {
        "name": "loopctl-verify",
        "rules": [
            {"id": rule, "shortDescription": {"text": f"a step's {rule} is as its contract says"}}
            for rule in sorted({str(result["ruleId"]) for result in results})
        ],
    }
    notes = [{"level": "error", "message": {"text": told}} for told in errors]
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": not errors, "toolExecutionNotifications": notes}],
        "results": results,
    }
    return (
        json.dumps({"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"
    )


def _uri(path: Path) -> str:
    told = in_repository(path)
    return told.as_uri() if told.is_absolute() else urllib.parse.quote(told.as_posix())


def _rule(keyword: str) -> str:
    """``guards['flag': True] loss`` is about the loss."""
    return keyword.rpartition(" ")[2]


def _github(verdicts: Sequence[Verdict], unreadable: Sequence[str], written: bool) -> str:
    """Workflow commands that GitHub shows at the line of what is violated."""
    lines = []
    for verdict in verdicts:
        contract = verdict.contract
        told = [(contract.line_of(v.keyword), str(v)) for v in verdict.violations]
        if not written:
            told += [(contract.line_of(one.keyword), str(one)) for one in verdict.slack]
        if verdict.error is not None:
            told.append((contract.line, verdict.error))
        file = _property(in_repository(contract.path).as_posix())
        title = _property(f"graph contract {contract.label}")
        lines += [f"::error file={file},line={n},title={title}::{_data(text)}" for n, text in told]
    lines += [f"::error title=graph contract::{_data(told)}" for told in unreadable]
    return "\n".join([*lines, _text(verdicts, unreadable, written).splitlines()[-1]]) + "\n"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


FORMATTED: dict[str, Callable[[Sequence[Verdict], Sequence[str], bool], str]] = {
    "text": _text,
    "json": _json,
    "junit": _junit,
    "sarif": _sarif,
    "github": _github,
}

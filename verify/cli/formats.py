"""Reports, as people and as machines read them."""

from __future__ import annotations

import hashlib
import json
import re
import urllib.parse
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from verify.cli.markdown import markdown
from verify.cli.places import in_repository
from verify.cli.reports import Entry, Report

_ILLEGAL = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # in XML 1.0
_SARIF_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


def formatted(form: str, report: Report) -> str:
    """The report in one of the formats of ``check`` and ``lint``."""
    return FORMATTED[form](report)


def _text(report: Report) -> str:
    lines: list[str] = []
    for entry in report.entries:
        lines.append(f"{entry.status:<6} {entry.label} ({entry.place})")
        lines += [f"       {line}" for line in entry.message.splitlines()]
        if entry.note:
            lines.append(f"       {entry.note}")
    lines += [f"error  {line}" for told in report.unreadable for line in told.splitlines()]
    return "\n".join([*lines, _summary(report)]) + "\n"


def _summary(report: Report) -> str:
    counts = Counter(entry.status for entry in report.entries)
    errors = len(report.unreadable) + sum(entry.error is not None for entry in report.entries)
    traced, judged = (sum(entry.seconds[i] for entry in report.entries) for i in (0, 1))
    shown = [
        f"{counts[status]} {status}"
        for status in report.statuses
        if counts[status] or status not in report.quiet
    ]
    shown += [f"{errors} error{'s' * (errors != 1)}"] if errors else []
    return (
        f"{', '.join(shown)} ({traced:.1f} s to make and trace the steps, "
        f"{judged:.1f} s to {report.doing})"
    )


def _json(report: Report) -> str:
    entries = [
        {
            **entry.data,
            "error": entry.error,
            "seconds": {
                "trace": round(entry.seconds[0], 4),
                report.doing: round(entry.seconds[1], 4),
            },
        }
        for entry in report.entries
    ]
    whole = {report.key: entries, "unreadable": list(report.unreadable)}
    return json.dumps(whole, indent=2) + "\n"


def _junit(report: Report) -> str:
    """JUnit's XML, a suite per file, as Jenkins and GitLab read it."""
    suites = ElementTree.Element("testsuites", name=report.name)
    by_file: dict[Path, list[Entry]] = {}
    for entry in report.entries:
        by_file.setdefault(entry.path, []).append(entry)
    for path, several in by_file.items():
        errors = sum(entry.error is not None for entry in several)
        suite = _suite(
            suites,
            str(path),
            len(several),
            sum(not entry.good for entry in several) - errors,
            errors,
            sum(sum(entry.seconds) for entry in several),
        )
        for entry in several:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                classname=_legal(str(path)),
                name=_legal(entry.label),
                time=f"{sum(entry.seconds):.3f}",
            )
            if not entry.good:
                tag = "error" if entry.error is not None else "failure"
                _told(case, tag, entry.status, entry.message)
    for number, told in enumerate(report.unreadable, 1):
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


def _sarif(report: Report) -> str:
    """SARIF 2.1.0, as code scanning reads it: a rule and a result for what is wrong."""
    results: list[dict[str, Any]] = []
    seen: Counter[str] = Counter()
    for entry in report.entries:
        for said in entry.said:
            identity = f"{_uri(said.path)} {said.identity}"
            shown, *others = said.places
            seen[identity] += 1
            identity += f" {seen[identity]}"
            results.append(
                {
                    "ruleId": said.rule,
                    "level": "error",
                    "message": {"text": f"{entry.label}: {said.text}"},
                    "locations": [_located(*shown)],
                    "relatedLocations": [_located(*place) for place in others],
                    "partialFingerprints": {
                        "contract/v1": hashlib.sha256(identity.encode()).hexdigest()
                    },
                }
            )
    errors = [*report.unreadable, *(e.error for e in report.entries if e.error is not None)]
    rules = [{"id": rule, **said} for rule, said in sorted(report.rules.items())]
    driver = {"name": "loopctl-verify", "rules": rules}
    notes = [{"level": "error", "message": {"text": told}} for told in errors]
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": not errors, "toolExecutionNotifications": notes}],
        "results": results,
    }
    return (
        json.dumps({"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"
    )


def _located(path: Path, line: int) -> dict[str, Any]:
    where = {"artifactLocation": {"uri": _uri(path)}, "region": {"startLine": line}}
    return {"physicalLocation": where}


def _uri(path: Path) -> str:
    told = in_repository(path)
    return told.as_uri() if told.is_absolute() else urllib.parse.quote(told.as_posix())


def _github(report: Report) -> str:
    """Workflow commands that GitHub shows at the line of what is wrong."""
    lines = []
    for entry in report.entries:
        told = [(*said.places[0], said.text) for said in entry.said]
        if entry.error is not None:
            told.append((entry.path, entry.line, entry.error))
        title = _property(f"{report.about} {entry.label}")
        for path, line, text in told:
            file = _property(in_repository(path).as_posix())
            lines.append(f"::error file={file},line={line},title={title}::{_data(text)}")
    lines += [f"::error title={report.about}::{_data(told)}" for told in report.unreadable]
    return "\n".join([*lines, _summary(report)]) + "\n"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


FORMATTED: dict[str, Callable[[Report], str]] = {
    "text": _text,
    "json": _json,
    "junit": _junit,
    "sarif": _sarif,
    "github": _github,
    "markdown": markdown,
}

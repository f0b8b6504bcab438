"""``diff``: what changed between two steps, or since a record was made of them."""

from __future__ import annotations

import argparse
import difflib
from pathlib import Path
from typing import Any

from verify.cli.check import add_report, check_report, show_report
from verify.cli.record import RECORD_SUFFIX
from verify.errors import ContractError


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "diff",
        help="show what differs between two steps, or between two versions of TensorFlow or Keras",
        description="Prints the facts that only one of two steps has: - for the first, + for the "
        "second. With a record, says for each step whether it still means the same under the "
        "versions that are installed, or in another record. The exit status is 0 if nothing "
        "differs, else 1.",
    )
    parser.add_argument("a", metavar="A", help="a TARGET, or a RECORD.json")
    parser.add_argument(
        "b",
        metavar="B",
        nargs="?",
        help="another TARGET; for a record, the step to compare, or another RECORD.json",
    )
    parser.add_argument(
        "--exact",
        action="store_true",
        help="compare everything that the steps do, not only their facts; for records, also fail "
        "if a step means the same but has other names or ops",
    )
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="also draw a picture of what changed"
    )
    add_report(parser.add_argument_group("reports on a record"))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.a.endswith(RECORD_SUFFIX):
        return _with_record(options)
    if options.b is None:
        place = Path(options.a)
        records = [str(one) for one in place.parent.glob(f"*{RECORD_SUFFIX}")]
        near = difflib.get_close_matches(options.a, records, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise ContractError(
            f"diff: {options.a} is no record (*{RECORD_SUFFIX}): name one, or two steps{meant}"
        )
    if options.format != "text" or options.output is not None or options.also:
        raise ContractError("diff: --format, --output and --also only work with records (*.json)")
    from verify.assertions import differences
    from verify.contracts import captured, subject_from
    from verify.step_facts import changes, lines_of, step_facts

    a, b = (captured(subject_from(text)) for text in (options.a, options.b))
    lines = changes(*(lines_of(step_facts(step)) for step in (a, b)))
    if options.exact:
        lines += [str(violation) for violation in differences(a, b)]
    if options.html is not None:
        from verify.picture import write_difference

        write_difference(a, b, options.html)
    print("\n".join(lines) if lines else "no difference")
    return 1 if lines else 0


def _with_record(options: argparse.Namespace) -> int:
    from verify.cli.record_reports import compared, report_of

    if options.html is not None:
        raise ContractError("diff: --html needs two steps; a record has no graph to draw")
    check_report(options)
    path = Path(options.a)
    every = compared(path, options.b)
    report = report_of(path, every, options.exact)
    show_report(report, options)
    if any(one.error is not None for one in every):
        return 2
    return 0 if all(entry.good for entry in report.entries) else 1

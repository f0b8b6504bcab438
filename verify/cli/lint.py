"""``lint``: steps held against rules that are true of every sound one, with no contract."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loopctl_shared import CONTRACT_SUFFIX
from verify.cli.check import add_report, check_report, show_report
from verify.cli.places import written_at
from verify.errors import ContractError

if TYPE_CHECKING:
    from typing import Any

    from verify.cli.lint_reports import Linted
    from verify.rules import Rule


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "lint",
        help="find what is wrong in any training step, without a contract",
        description="Checks steps against rules that hold for every sound training step. The exit "
        "status is 0 if nothing is found, 1 if something is, and 2 if a step can't be made or the "
        "call is wrong.",
    )
    parser.add_argument(
        "targets",
        nargs="*",
        metavar="TARGET",
        help=f"steps, or contract files (*{CONTRACT_SUFFIX}) to check all their steps; a comment "
        "in a contract file, `# verify: ignore[V501] reason`, silences a rule",
    )
    add_report(parser)
    parser.add_argument(
        "--select", type=_ids, default=(), metavar="IDS", help="use only these rules: V101,V301"
    )
    parser.add_argument(
        "--ignore", type=_ids, default=(), metavar="IDS", help="leave these rules out"
    )
    parser.add_argument(
        "--explain",
        metavar="ID",
        help="explain a rule: what is wrong, why, and what to write instead",
    )
    parser.set_defaults(run=run)


def _ids(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def run(options: argparse.Namespace) -> int:
    from verify.rules import chosen, rule_of

    try:
        if options.explain is not None:
            rule = rule_of(options.explain)
            print(f"{rule.id}\n\n{rule.section}", end="")
            return 0
        rules = chosen(options.select, options.ignore)
    except ValueError as error:
        raise ContractError(str(error)) from None
    if not options.targets:
        raise ContractError("lint: name a step (package.module:factory) or a contract file")

    check_report(options)
    from verify.cli.lint_reports import report_of

    linted = list(_linted(options.targets, rules))
    show_report(report_of(linted), options)
    if any(one.error is not None for one in linted):
        return 2
    return 1 if any(one.findings or one.unused for one in linted) else 0


def _linted(targets: Sequence[str], rules: Sequence[Rule]) -> Iterator[Linted]:
    from verify.cli.lint_reports import Linted
    from verify.contracts import ignores_of, read, subject_from, subject_of

    for target in targets:
        if not target.endswith(CONTRACT_SUFFIX):
            yield _of(Linted(target, *_written(target)), subject_from(target), rules)
            continue
        path = Path(target)
        if not path.exists():
            raise ContractError(f"{path} does not exist")
        contracts = read(path)
        ignores = ignores_of(contracts, path.read_text("utf-8"))
        for contract in contracts:
            one = Linted(contract.label, contract.path, contract.line, ignores[contract.name])
            yield _of(one, subject_of(contract), rules)


def _of(one: Linted, subject: Any, rules: Sequence[Rule]) -> Linted:
    from verify.contracts import detector_of
    from verify.graphs import no_collection
    from verify.rules import findings

    begun = time.perf_counter()
    try:
        detector = detector_of(subject)
    except ContractError as error:
        return one.but(error=str(error), seconds=(time.perf_counter() - begun, 0.0))
    traced = time.perf_counter()
    with no_collection():
        found = findings(detector, rules)
    seconds = (traced - begun, time.perf_counter() - traced)
    return one.but(every=found, asked=tuple(rule.id for rule in rules), seconds=seconds)


def _written(target: str) -> tuple[Path, int]:
    """The file and line that a target is written in: of its factory, where that is found."""
    named = target.partition("#")[0]
    if ":" in named and not Path(named).exists():
        return written_at(target, named) or (Path(named), 1)
    return Path(named), 1

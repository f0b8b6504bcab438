"""``check``: contracts held against their steps."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from loopctl_shared import CONTRACT_SUFFIX, write_whole
from verify.errors import ContractError

if TYPE_CHECKING:
    from verify.cli.reports import Report
    from verify.contracts import Contract, Verdict

FORMATS = ("text", "json", "junit", "sarif", "github", "markdown")
_SKIPPED = {"node_modules", "site-packages", "__pycache__"}


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "check",
        help="check steps against their contracts (*.graph.toml)",
        description="Makes the step of each contract and checks that it is as the contract says. "
        "The exit status is 0 if every contract is kept, 1 if one is broken, and 2 if one can't "
        "be read or its step can't be made.",
    )
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help=f"contract files, or folders to search for *{CONTRACT_SUFFIX} (default: this folder)",
    )
    add_report(parser)
    parser.add_argument(
        "-t", "--tag", action="append", default=[], help="only contracts with this tag; repeatable"
    )
    parser.add_argument(
        "--ratchet",
        action="store_true",
        help="also fail if a contract allows more than it need (ops, bytes, exceptions)",
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="with --ratchet: tighten such contracts instead of failing",
    )
    parser.set_defaults(run=run)


def add_report(parser: Any) -> None:
    """Options of a report, which `show_report` follows."""
    parser.add_argument("--format", choices=FORMATS, default="text", help="format of the report")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write it here (default: print it)"
    )
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="FORMAT=FILE",
        help="write another report of the same run, such as sarif=steps.sarif; repeatable",
    )


def check_report(options: argparse.Namespace) -> None:
    """Whether the reports that are asked for can be made.

    Raises:
        ContractError: `--also` names no format, or no file.
    """
    for told in options.also:
        form, _, file = told.partition("=")
        if form not in FORMATS or not file:
            raise ContractError(
                f"--also {told}: it is written FORMAT=FILE, where FORMAT is {', '.join(FORMATS)}"
            )


def run(options: argparse.Namespace) -> int:
    if options.write and not options.ratchet:
        raise ContractError(
            "--write needs --ratchet: it tightens the contracts that --ratchet finds"
        )
    check_report(options)
    contracts, unreadable = _read(list(_files(options.files or [Path()])))
    if options.tag:
        contracts = [c for c in contracts if set(options.tag) & set(c.promise.tags)]
    if not contracts and not unreadable:
        what = f"tagged {' or '.join(options.tag)}" if options.tag else f"in any *{CONTRACT_SUFFIX}"
        raise ContractError(f"no contract is {what}")

    from verify.cli.verdict_reports import report_of
    from verify.contracts import tighten

    verdicts = list(_judged(contracts, options.ratchet))
    if options.write:
        tighten([slack for verdict in verdicts for slack in verdict.slack])
    report = report_of(verdicts, unreadable, written=options.write)
    show_report(report, options)
    if unreadable or any(verdict.error is not None for verdict in verdicts):
        return 2
    loose = not options.write and any(verdict.slack for verdict in verdicts)
    return 1 if loose or not all(verdict.kept for verdict in verdicts) else 0


def _files(given: Sequence[Path]) -> Iterator[Path]:
    for path in given:
        if not path.is_dir():
            if not path.exists():
                raise ContractError(f"{path} does not exist")
            yield path
            continue
        for found in sorted(path.rglob(f"*{CONTRACT_SUFFIX}")):
            parts = found.relative_to(path).parts[:-1]
            if not any(part in _SKIPPED or part.startswith(".") for part in parts):
                yield found


def _read(paths: Sequence[Path]) -> tuple[list[Contract], list[str]]:
    """The contracts of all files that can be read, and what is wrong with the others."""
    from verify.contracts import read

    contracts: list[Contract] = []
    unreadable: list[str] = []
    for path in paths:
        try:
            contracts += read(path)
        except ContractError as error:
            unreadable.append(str(error))
    return contracts, unreadable


def _judged(contracts: Sequence[Contract], ratchet: bool) -> Iterator[Verdict]:
    """Verdicts one by one; on a terminal, a bar says how far it is."""
    from verify.contracts import judge

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    shown = console.is_terminal and len(contracts) > 0
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=not shown
    ) as progress:
        task = progress.add_task("", total=len(contracts))
        for contract in contracts:
            progress.update(task, description=contract.label)
            yield judge(contract, ratchet)
            progress.advance(task)


def show_report(report: Report, options: argparse.Namespace) -> None:
    """Prints a report, or writes it to the file that was asked for; and the others."""
    from verify.cli.formats import formatted

    for told in options.also:
        form, _, file = told.partition("=")
        write_whole(Path(file), formatted(form, report))
    text = formatted(options.format, report)
    if options.output is not None:
        write_whole(options.output, text)
        return
    if options.format != "text":
        sys.stdout.write(text)
        return
    console = Console(soft_wrap=True, highlight=False, emoji=False)
    colours = dict.fromkeys(("kept", "sound", "same", "alike"), "green") | dict.fromkeys(
        ("broken", "found", "other"), "bold red"
    )
    colours |= {"error": "bold yellow", "loose": "yellow", "unsure": "yellow"}
    for line in text.splitlines():
        word = line.partition(" ")[0]
        console.print(line, style=colours.get(word), markup=False)

"""``init``: contracts from what is there today."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from verify.cli.contract_files import add_output, check_output, named, path_from, write
from verify.cli.parsers import A_TARGET


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "init",
        help="write contracts that say what steps do today",
        description="Writes a contract for each TARGET that says everything that is true of it "
        "today. With such a baseline, check --ratchet only lets contracts become tighter.",
    )
    parser.add_argument("targets", nargs="+", metavar="TARGET", help=A_TARGET)
    add_output(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from verify.contracts import contract_text

    output: Path | None = options.output
    check_output(output)

    texts = [
        contract_text(name, subject, path_from(subject, output))
        for name, subject in named(options.targets).items()
    ]
    write(output, texts)
    return 0

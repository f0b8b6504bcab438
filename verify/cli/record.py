"""``record``: what steps are under these versions, to be held against others."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from verify.cli.parsers import A_TARGET
from verify.errors import ContractError

RECORD_SUFFIX = ".json"


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "record",
        help="record what steps do, to compare them under other versions",
        description="Records what each TARGET does under the versions that are installed: its "
        "facts, its ops, and what it writes to variables when it runs on random numbers from a "
        "fixed seed. Later, under other versions, `diff RECORD.json` says which steps still do "
        "the same.",
    )
    parser.add_argument("targets", nargs="+", metavar="TARGET", help=A_TARGET)
    parser.add_argument(
        "-o", "--output", type=Path, metavar="RECORD.json", help="write it here (default: print it)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from loopctl_shared import write_whole
    from verify.contracts import record, record_text

    output: Path | None = options.output
    if output is not None and output.suffix != RECORD_SUFFIX:
        raise ContractError(f"{output}: a record is named *{RECORD_SUFFIX}")
    made = record(options.targets)
    if output is None:
        print(record_text(made), end="")
        return 0
    write_whole(output, record_text(made))
    print(f"{output}: {len(made.steps)} step{'s' * (len(made.steps) != 1)}")
    return 0

"""``infer``: the contract that several steps keep."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from verify.cli.contract_files import add_output, check_output, named, path_from, write
from verify.printable import printable_text


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "infer",
        help="write the contract that several good steps keep",
        description="Writes contracts that promise of each TARGET what is true of all of them: the "
        "same step of several models, settings or seeds. What differs becomes a bound, or is left "
        "out: comments and stderr say which. Each promise has been checked on each step.",
    )
    parser.add_argument("targets", nargs="+", metavar="TARGET")
    add_output(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from verify.contracts import infer, inferred_text
    from verify.errors import ContractError

    if len(options.targets) < 2:
        raise ContractError("infer takes several targets: of one, init says all that is true")
    check_output(options.output)
    subjects = named(options.targets)
    inference = infer(subjects)
    for remark in inference.remarks:
        print(printable_text(remark), file=sys.stderr)
    paths = {name: path_from(subject, options.output) for name, subject in subjects.items()}
    write(options.output, inferred_text(subjects, inference, paths))
    return 0

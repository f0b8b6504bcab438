"""``show``: the facts of a step."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any

from verify.cli.parsers import A_TARGET


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "show", help="print the facts of a step", description="Prints what a step does."
    )
    parser.add_argument("target", metavar="TARGET", help=A_TARGET)
    parser.add_argument("--format", choices=("text", "json"), default="text", help="output format")
    parser.add_argument(
        "--full",
        action="store_true",
        help="list every variable, where many would be abridged by their common beginning",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from verify.contracts import captured, subject_from
    from verify.step_facts import step_facts

    facts = step_facts(captured(subject_from(options.target)))
    if options.format == "json":
        print(json.dumps(dataclasses.asdict(facts), indent=2, default=str))
    else:
        print(facts.page(options.full))
    return 0

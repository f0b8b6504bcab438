"""``infer``: the contract that several steps keep."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

from verify.cli.contract_files import add_output, check_output, named, path_from, write
from verify.cli.parsers import A_TARGET
from verify.cli.record import RECORD_SUFFIX
from verify.printable import printable_text


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "infer",
        help="write a contract of what several good steps have in common",
        description="Writes a contract for each TARGET that says what is true of all of them. "
        "They should be the same step with several models, settings or seeds, or from a "
        "RECORD.json that `record` wrote under other versions. What differs becomes a bound or "
        "is left out; comments and stderr say which. Everything in the contracts has been "
        "checked on every step.",
    )
    parser.add_argument(
        "targets", nargs="+", metavar="TARGET|RECORD.json", help=f"{A_TARGET}; or a record"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=0,
        metavar="N",
        help="make each TARGET N times, with the seeds 0, 1, ... for Python, NumPy and Keras",
    )
    add_output(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from verify.contracts import good, goods_of, infer, inferred_text, read_record
    from verify.errors import ContractError

    check_output(options.output)
    records = {
        path: read_record(path)
        for path in map(Path, options.targets)
        if path.suffix == RECORD_SUFFIX
    }
    live = [text for text in options.targets if Path(text) not in records]
    recorded = [step.target for made in records.values() for step in made.steps]
    here = named(live)
    goods = [one for path, made in records.items() for one in goods_of(made, str(path))]
    if len(here) * max(options.seeds, 1) + len(goods) < 2:
        raise ContractError(
            "infer needs several targets or records, or --seeds; for a single step, use init"
        )
    for name, subject in here.items():
        if options.seeds < 1 or subject.target is None:
            goods.append(good(name, subject))
        else:
            for seed in range(options.seeds):
                seeded = dataclasses.replace(subject, seed=seed)
                goods.append(good(f"{name} of seed {seed}", seeded))
    inference = infer(goods)
    for remark in inference.remarks:
        print(printable_text(remark), file=sys.stderr)
    subjects = named(dict.fromkeys([*live, *recorded]))
    paths = {name: path_from(subject, options.output) for name, subject in subjects.items()}
    of = [one.name for one in goods]
    write(options.output, inferred_text(subjects, inference, paths, of))
    return 0

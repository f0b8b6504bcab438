"""``infer``: the contract that several steps keep."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

from verify.cli.contract_files import add_output, check_output, named, path_from, write
from verify.cli.record import RECORD_SUFFIX
from verify.printable import printable_text


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "infer",
        help="write the contract that several good steps keep",
        description="Writes contracts that promise of each TARGET what is true of all of them: the "
        "same step of several models, settings or seeds; of a RECORD.json, as `record` has kept "
        "it under other versions. What differs becomes a bound, or is left out: comments and "
        "stderr say which. Each promise has been checked on each step.",
    )
    parser.add_argument("targets", nargs="+", metavar="TARGET|RECORD.json")
    parser.add_argument(
        "--seeds",
        type=int,
        default=0,
        metavar="N",
        help="make each TARGET so often, with the seeds 0, 1, ... of Python, NumPy and Keras",
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
            "infer takes several targets, records, or --seeds: of one step, init says all that is "
            "true"
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

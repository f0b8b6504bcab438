"""``init``: contracts from what is there today."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from loopctl_shared import CONTRACT_SUFFIX


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "init",
        help="write contracts that say what steps are today",
        description="Writes a contract for each TARGET that says all that is true of it today: a "
        "baseline that check --ratchet lets only get tighter.",
    )
    parser.add_argument("targets", nargs="+", metavar="TARGET")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="a new *.graph.toml; else printed"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from loopctl_shared import write_whole
    from verify.contracts import Subject, contract_text, subject_from
    from verify.errors import ContractError

    output: Path | None = options.output
    if output is not None and not output.name.endswith(CONTRACT_SUFFIX):
        raise ContractError(f"{output}: a contract file is named *{CONTRACT_SUFFIX}")
    if output is not None and output.exists():
        raise ContractError(f"{output} exists; contracts that are there are not overwritten")

    def path_from(subject: Subject) -> str | None:
        if subject.file is None:
            return None
        return os.path.relpath(subject.file, Path() if output is None else output.parent)

    names: list[str] = []
    texts: list[str] = []
    for text in options.targets:
        subject = subject_from(text)
        chosen = subject.step or subject.signature
        name = chosen or (subject.target or str(subject.file)).rpartition(":")[2]
        while name in names:
            name += "_"
        names.append(name)
        texts.append(contract_text(name, subject, path_from(subject)))
    if output is None:
        print("\n".join(texts), end="")
    else:
        write_whole(output, "\n".join(texts))
        print(f"{output}: {len(texts)} contract{'s' * (len(texts) != 1)}")
    return 0

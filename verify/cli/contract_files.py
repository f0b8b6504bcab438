"""What ``init`` and ``infer`` have in common: steps by name, and a new file of contracts."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loopctl_shared import CONTRACT_SUFFIX, write_whole
from verify.errors import ContractError

if TYPE_CHECKING:
    from verify.contracts import Subject


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="a new *.graph.toml (default: print it)"
    )


def check_output(output: Path | None) -> None:
    """Whether contracts may be written there.

    Raises:
        ContractError: it is not named so, or is there already.
    """
    if output is not None and not output.name.endswith(CONTRACT_SUFFIX):
        raise ContractError(f"{output}: a contract file is named *{CONTRACT_SUFFIX}")
    if output is not None and output.exists():
        raise ContractError(f"{output} exists, and contracts are not overwritten")


def named(targets: Iterable[str]) -> dict[str, Subject]:
    """What commands name, each by a name for its contract."""
    from verify.contracts import subject_from

    found: dict[str, Subject] = {}
    for text in targets:
        subject = subject_from(text)
        chosen = subject.step or subject.signature
        name = chosen or (subject.target or str(subject.file)).rpartition(":")[2]
        while name in found:
            name += "_"
        found[name] = subject
    return found


def path_from(subject: Subject, output: Path | None) -> str | None:
    """How the file of a step is named from where its contract will be; None of one without."""
    if subject.file is None:
        return None
    return os.path.relpath(subject.file, Path() if output is None else output.parent)


def write(output: Path | None, texts: Sequence[str]) -> None:
    if output is None:
        print("\n".join(texts), end="")
    else:
        write_whole(output, "\n".join(texts))
        print(f"{output}: {len(texts)} contract{'s' * (len(texts) != 1)}")

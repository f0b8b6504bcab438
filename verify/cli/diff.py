"""``diff``: what changed between two steps."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "diff",
        help="say what differs between two steps",
        description="Prints the facts that only one of two steps has, - the first, + the second. "
        "Exit status 0 if they have the same facts, else 1.",
    )
    parser.add_argument("a", metavar="A", help="a TARGET")
    parser.add_argument("b", metavar="B", help="another")
    parser.add_argument(
        "--exact", action="store_true", help="compare all that the steps do, not their facts alone"
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="a picture of what changed, too")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from verify.assertions import differences
    from verify.contracts import captured, subject_from
    from verify.step_facts import changes, lines_of, step_facts

    a, b = (captured(subject_from(text)) for text in (options.a, options.b))
    lines = changes(*(lines_of(step_facts(step)) for step in (a, b)))
    if options.exact:
        lines += [str(violation) for violation in differences(a, b)]
    if options.html is not None:
        from verify.picture import write_difference

        write_difference(a, b, options.html)
    print("\n".join(lines) if lines else "no difference")
    return 1 if lines else 0

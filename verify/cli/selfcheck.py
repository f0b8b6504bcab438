"""``selfcheck``: faults that are planted, and how many of them are found."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress

if TYPE_CHECKING:
    from verify.selfcheck import Fault


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "selfcheck",
        help="plant faults in train steps and count how many are found, on this TensorFlow",
        description=(
            "Plants each fault of a catalogue in correct train steps of several kinds of model, "
            "with several optimizers, and counts how many are caught and named rightly, and how "
            "many correct steps raise a false alarm. Exit status 0 if all is right, else 1."
        ),
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="every fault in every kind of model with every optimizer; else each kind once, with "
        "the optimizers in turn",
    )
    parser.add_argument(
        "--fault", default="", metavar="TEXT", help="only faults whose names contain TEXT"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from verify.selfcheck import Score, check

    console = Console(soft_wrap=True, highlight=False)
    text = options.fault.lower()
    cases = [case for case in _cases(options.all) if text in case[0].name.lower()]
    if not cases:
        console.print(f"no fault is called so: {options.fault!r}", markup=False)
        return 2
    verdicts = []
    planting = Progress(*Progress.get_default_columns(), console=console, transient=True)
    with planting:
        task = planting.add_task("planting faults", total=len(cases))
        for verdict in check(cases):
            verdicts.append(verdict)
            planting.advance(task, 0 if verdict.fault is None else 1)
            if not verdict.right:
                where = f"{verdict.kind}, {verdict.optimizer}"
                title = verdict.fault or "a correct step"
                told = verdict.message or "  nothing was found"
                console.print(f"WRONG: {title} ({where})\n{told}\n", markup=False)
    score = Score(tuple(verdicts))
    console.print(str(score), markup=False)
    return 1 if score.wrong else 0


def _cases(everything: bool) -> list[tuple[Fault, str, str]]:
    from verify.selfcheck import FAULTS, KINDS, OPTIMIZERS

    cases = []
    for i, fault in enumerate(FAULTS):
        optimizers = fault.optimizers or tuple(OPTIMIZERS)
        for j, kind in enumerate(KINDS):
            if kind not in fault.but:
                chosen = optimizers if everything else [optimizers[(i + j) % len(optimizers)]]
                cases += [(fault, kind, optimizer) for optimizer in chosen]
    return cases

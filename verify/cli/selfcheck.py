"""``selfcheck``: faults that are planted, and how many of them are found."""

from __future__ import annotations

import argparse
import concurrent.futures
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress

from verify.cli.quiet_start import import_tensorflow

if TYPE_CHECKING:
    from verify.selfcheck import Fault, Verdict

    Case = tuple[Fault, str, str]

_PART = 40  # cases in one process


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "selfcheck",
        help="plant faults in train steps and count how many are found, with this TensorFlow",
        description=(
            "Plants each fault of a catalogue in correct train steps of several kinds of models, "
            "with several optimizers. Counts how many are caught and named correctly, and how many "
            "correct steps raise a false alarm. The exit status is 0 if there are no misses and no "
            "false alarms, else 1."
        ),
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="plant every fault in every kind of model with every optimizer; without it, in each "
        "kind once, with the optimizers in turn",
    )
    parser.add_argument(
        "--fault", default="", metavar="TEXT", help="only plant faults whose names contain TEXT"
    )
    parser.add_argument(
        "--jobs",
        type=_at_least_one,
        metavar="N",
        help="how many processes to use (default: one per core with --all, else only this one); "
        "each plants a few faults, since TensorFlow keeps everything that it has traced in "
        "memory",
    )
    parser.set_defaults(run=run)


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def run(options: argparse.Namespace) -> int:
    from verify.selfcheck import Score

    console = Console(soft_wrap=True, highlight=False)
    text = options.fault.lower()
    cases = [case for case in _cases(options.all) if text in case[0].name.lower()]
    if not cases:
        console.print(f"no fault is called so: {options.fault!r}", markup=False)
        return 2
    jobs = options.jobs or ((os.cpu_count() or 1) if options.all else 1)
    verdicts = []
    planting = Progress(*Progress.get_default_columns(), console=console, transient=True)
    with planting:
        task = planting.add_task("planting faults", total=len(cases))
        for verdict in _verdicts(cases, jobs):
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


def _verdicts(cases: list[Case], jobs: int) -> Iterator[Verdict]:
    from verify.selfcheck import check

    if jobs == 1:
        yield from check(cases)
        return
    # With a limit of tasks, children are spawned; forks of TensorFlow's threads would hang.
    with concurrent.futures.ProcessPoolExecutor(
        jobs, initializer=import_tensorflow, max_tasks_per_child=1
    ) as pool:
        for verdicts in pool.map(_checked, _parts(cases)):
            yield from verdicts


def _parts(cases: list[Case]) -> list[list[Case]]:
    """What each process plants: side by side what has one correct step, which it verifies once."""
    ordered = sorted(cases, key=lambda case: (case[0].correct.__name__, *case[1:]))
    return [ordered[i : i + _PART] for i in range(0, len(ordered), _PART)]


def _checked(cases: list[Case]) -> list[Verdict]:
    from verify.selfcheck import check

    return list(check(cases))


def _cases(everything: bool) -> list[Case]:
    from verify.selfcheck import FAULTS, KINDS, OPTIMIZERS

    cases = []
    for i, fault in enumerate(FAULTS):
        optimizers = fault.optimizers or tuple(OPTIMIZERS)
        for j, kind in enumerate(KINDS):
            if kind not in fault.but:
                chosen = optimizers if everything else [optimizers[(i + j) % len(optimizers)]]
                cases += [(fault, kind, optimizer) for optimizer in chosen]
    return cases

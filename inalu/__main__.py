"""Runs the experiments of the thesis behind this project, and published benchmarks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

import verify
from inalu import __version__
from inalu.benchmark import minimal, nalm, report, suite
from inalu.experiment import (
    VARIANTS,
    Result,
    Settings,
    summary,
    table_of_seeds,
    table_of_variants,
    train_seeds,
)
from inalu.plots import runs, seeds, window
from inalu.result_tables import Rows
from loopctl_shared import whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 1 for a wrong graph, 2 for a wrong argument."""
    options = _parse(arguments)
    try:
        options.command(options, Console())
    except verify.GraphAssertionError as error:
        print(f"A graph is not what its config says:\n\n{error}", file=sys.stderr)
        return 1
    except (ImportError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _train(options: argparse.Namespace, console: Console) -> None:
    results = _run(options, ["chapter-6"], console)
    rows = table_of_seeds(results)
    console.print(rows.table(summary(results)))
    _note(options, rows, console)


def _ablate(options: argparse.Namespace, console: Console) -> None:
    results = _run(options, options.variants, console)
    rows = table_of_variants(results)
    console.print(rows.table())
    for name in options.variants:
        console.print(f"{name}: {VARIANTS[name].about}")
    _note(options, rows, console)


def _benchmark(options: argparse.Namespace, console: Console) -> None:
    runs = []
    if options.only != "minimal":
        runs += suite.nalm_runs(options.seeds or nalm.SEEDS, options.iterations)
    if options.only != "nalm":
        runs += suite.minimal_runs(options.seeds or minimal.SEEDS, options.epochs)
    if options.modules:
        runs = [run for run in runs if run.module in options.modules]
    outcomes = suite.execute(runs, options.output, jobs=options.jobs, console=console)
    text = []
    for operation, rows in report.nalm_tables(outcomes).items():
        title = f"NALM, {operation}: successes [95% interval of the rate, %]"
        console.print(rows.table(title))
        text += [f"**{title}**", rows.markdown()]
    for module, rows in report.minimal_tables(outcomes).items():
        title = f"Minimal tasks, {module}: ours [95% interval of the rate, %] / published, of 10"
        console.print(rows.table(title))
        text += [f"**{title}**", rows.markdown()]
    if options.only != "nalm":
        differ = report.disagreements(outcomes)
        console.print(f"* {differ} published rates are outside of the intervals of ours")
    with whole(options.output / "results.md") as part:
        part.write_text("\n\n".join(text) + "\n")
    console.print(f"Outcomes as JSON and Markdown: {options.output}")


def _plot(options: argparse.Namespace, console: Console) -> None:
    drawn = seeds.pictures(runs.read_runs(options.directory))
    output = options.output or options.directory / "plots"
    try:
        seeds.write(drawn, output)
    except OSError as error:
        raise ValueError(f"--output: {error}") from error
    together = [name for name in drawn if "/" not in name]
    written = f"{output} has {', '.join(together)} and, for each seed, loss-per-step/seed-*.png"
    console.print(written, soft_wrap=True, markup=False, highlight=False)
    if options.show:
        try:
            window.show(drawn)
        except window.NoDisplayError as error:
            raise ValueError(f"--show: {error}. {written}") from error


def _run(options: argparse.Namespace, variants: Sequence[str], console: Console) -> list[Result]:
    settings = [
        Settings(
            seed,
            samples=options.samples,
            epochs=options.epochs,
            jit_compile=options.jit_compile,
            # Of an epoch's steps, lest the first execution ask for batches that are not there.
            steps_per_execution=min(1000, options.samples // 64),
            variant=variant,
        )
        for variant in variants
        for seed in range(options.first_seed, options.first_seed + options.seeds)
    ]
    return train_seeds(
        settings, options.output, jobs=options.jobs, dask=options.dask, console=console
    )


def _note(options: argparse.Namespace, rows: Rows, console: Console) -> None:
    with whole(options.output / "results.md") as part:
        part.write_text(rows.markdown() + "\n")
    console.print(
        f"Results of each run, and of all as JSON, Parquet and Markdown: {options.output}"
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m inalu", description=__doc__)
    parser.add_argument("--version", action="version", version=f"loopctl {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train = _command(
        commands,
        "train",
        "run the experiment of chapter 6; if interrupted, continues when called again",
    )
    train.set_defaults(command=_train)
    _add_training_options(train, "inalu-output")
    ablate = _command(commands, "ablate", "run chapter 6 without one part of the recipe at a time")
    ablate.set_defaults(command=_ablate)
    ablate.add_argument(
        "--variants",
        nargs="+",
        choices=VARIANTS,
        default=list(VARIANTS),
        metavar="VARIANT",
        help=f"which variants of the recipe to run: {', '.join(VARIANTS)} (default: all)",
    )
    _add_training_options(ablate, "inalu-output/ablation")
    plot = _command(commands, "plot", "draw the results of train")
    plot.set_defaults(command=_plot)
    plot.add_argument(
        "directory",
        nargs="?",
        type=Path,
        default=Path("inalu-output"),
        metavar="DIRECTORY",
        help="output of train, or of a variant of ablate (default: inalu-output)",
    )
    plot.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="PICTURES",
        help="directory for the pictures (default: DIRECTORY/plots)",
    )
    plot.add_argument("--show", action="store_true", help="also show them in a window")
    benchmark = _command(
        commands,
        "benchmark",
        "run published tasks for single modules; if interrupted, continues when called again",
    )
    benchmark.set_defaults(command=_benchmark)
    benchmark.add_argument(
        "--only", choices=("nalm", "minimal"), help="run only this benchmark (default: both)"
    )
    benchmark.add_argument(
        "--modules",
        nargs="+",
        choices=nalm.MODULES,
        metavar="MODULE",
        help=f"run only these modules: {', '.join(nalm.MODULES)} (default: all)",
    )
    benchmark.add_argument(
        "--seeds",
        type=_at_least(1),
        metavar="N",
        help="number of seeds per task (default: as published)",
    )
    benchmark.add_argument(
        "--iterations",
        type=_at_least(nalm.INTERVAL),
        default=nalm.ITERATIONS,
        metavar="N",
        help=f"train steps of the NALM tasks, a multiple of {nalm.INTERVAL} (default: %(default)s)",
    )
    _number(benchmark, "--epochs", minimal.EPOCHS, "epochs of the minimal tasks")
    _number(benchmark, "--jobs", 2, "number of processes")
    _output(benchmark, "inalu-output/benchmark")
    return parser.parse_args(arguments)


def _add_training_options(parser: argparse.ArgumentParser, output: str) -> None:
    """The options of both commands."""
    _number(parser, "--seeds", 10, "number of seeds")
    _number(parser, "--first-seed", 0, "first seed", least=0)
    _number(parser, "--epochs", 120, "maximum number of epochs")
    _number(parser, "--samples", 64_000, "samples per data set", least=64)
    parser.add_argument(
        "--jit-compile",
        action="store_true",
        help="train with XLA: slow to start, then several times faster",
    )
    _number(parser, "--jobs", 2, "number of processes")
    parser.add_argument("--dask", metavar="ADDRESS", help="train on this Dask cluster instead")
    _output(parser, output)


def _command(commands: Any, name: str, does: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=does, description=f"{does[0].upper()}{does[1:]}."
    )
    return made


def _number(
    parser: argparse.ArgumentParser, name: str, default: int, about: str, least: int = 1
) -> None:
    parser.add_argument(
        name,
        type=_at_least(least),
        default=default,
        metavar="N",
        help=f"{about} (default: %(default)s)",
    )


def _output(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path(default),
        metavar="DIRECTORY",
        help="directory for the results (default: %(default)s)",
    )


def _at_least(least: int) -> Callable[[str], int]:
    """A type of arguments: integers from a bound on."""

    def read(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"{text} is below {least}")
        return number

    # What argparse calls it if it is no integer at all.
    read.__name__ = f"integer of at least {least}"
    return read


if __name__ == "__main__":
    sys.exit(main())

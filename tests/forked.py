"""Programs in processes of their own, without waiting for TensorFlow's import in each.

They are forked from a process that has imported everything and has run nothing, which TensorFlow
bears: it starts its threads with its first op. A program that is about what an import does needs a
process from scratch instead.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["loopctl", "verify", "inalu.experiment", "tests.forked"])


def start(program: Callable[..., Any], *arguments: Any) -> BaseProcess:
    """A process that runs a function, which it finds by its module and name."""
    process = _CONTEXT.Process(target=program, args=arguments)
    process.start()
    return process


def told(processes: Sequence[BaseProcess], folder: Path) -> list[Any]:
    """What workers have written to ``<number>.json``, once all have ended as they should."""
    try:
        for process in processes:
            process.join(240)
    finally:
        for process in processes:
            process.kill()
    every = range(len(processes))
    logs = [(folder / f"{number}.log").read_text() for number in every]
    assert [process.exitcode for process in processes] == [0 for _ in every], "\n".join(logs)
    return [json.loads((folder / f"{number}.json").read_text()) for number in every]


def run(code: str) -> tuple[int, str]:
    """Exit status of a program, and what it writes to its standard error."""
    told, ours = _CONTEXT.Pipe(duplex=False)
    with told:
        with ours:
            process = start(_execute, code, ours)
        with os.fdopen(os.dup(told.fileno()), "r", encoding="utf-8") as stream:
            error = stream.read()
    process.join()
    assert process.exitcode is not None
    return process.exitcode, error


def run_pytest(folder: Path, *arguments: str) -> tuple[int, list[str]]:
    """Exit status and printed lines of pytest, run in a folder by a process of its own."""
    output = folder / "pytest.output"
    process = start(_pytest, folder, output, arguments)
    process.join()
    assert process.exitcode is not None
    return process.exitcode, output.read_text("utf-8").splitlines()


def _pytest(folder: Path, output: Path, arguments: tuple[str, ...]) -> None:
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        del os.environ[name]  # this is no worker of the run around it
    os.chdir(folder)
    handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(handle, stream.fileno())
    import pytest

    status = pytest.main(list(arguments))
    sys.stdout.flush()
    os._exit(int(status))


def _execute(code: str, error: Connection) -> None:
    os.dup2(error.fileno(), sys.stderr.fileno())
    error.close()
    exec(compile(code, "<program>", "exec"), {"__name__": "program"})

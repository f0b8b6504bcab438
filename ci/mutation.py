"""Mutation test of ourselves: changes one thing in a module, and sees whether a test fails.

Cosmic Ray makes the mutants. Each is tried in a fork of a process that has imported TensorFlow and
Keras but has not run anything yet, which saves nearly all of what a process of its own would cost.
The tests of a mutant are those that run its line, quickest first: ``ci/mutate`` finds them by a
measured run of the suite.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import dataclasses
import difflib
import importlib
import itertools
import json
import os
import random
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MODULES = [
    *(f"loopctl/config/{name}.py" for name in ("plan", "dicts_to_plan", "branch_values")),
    *(f"loopctl/config/{name}.py" for name in ("predicates", "predicate_values")),
    "loopctl/when.py",
    *(f"loopctl/compile/{name}.py" for name in ("gradient_treatment", "compiled_steps")),
    *(f"verify/match/{name}.py" for name in ("pattern", "structure")),
    *(f"verify/flow/{name}.py" for name in ("dependence", "gradient_flow")),
    *(f"verify/assertions/{name}.py" for name in ("expectation", "graph")),
]
# Of Cosmic Ray's many replacements of an operator, those that are nearest to what it is.
NEAREST = {
    "Eq": {"NotEq"},
    "NotEq": {"Eq"},
    "Lt": {"LtE", "GtE"},
    "LtE": {"Lt", "Gt"},
    "Gt": {"GtE", "LtE"},
    "GtE": {"Gt", "Lt"},
    "Is": {"IsNot"},
    "IsNot": {"Is"},
    "Add": {"Sub"},
    "Sub": {"Add"},
    "Mul": {"Div", "Add"},
    "Div": {"Mul"},
    "FloorDiv": {"Mul"},
    "Mod": {"FloorDiv"},
    "Pow": {"Mul"},
    "BitOr": {"BitAnd"},
    "BitAnd": {"BitOr"},
}
LIMIT = 300  # seconds for the tests of one mutant: one that hangs is noticed too


@dataclasses.dataclass
class Mutant:
    """One change. `outcome`: killed (and `by` which test), survived, or uncovered by any test."""

    module: str
    operator: str
    occurrence: int
    line: int
    difference: str
    outcome: str = ""
    by: str = ""


def mutants(module: str) -> Iterator[tuple[Mutant, str]]:
    """Every mutant of a module, with its source."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    source = Path(module).read_text()
    tree, ignored = get_ast(source), list(_annotations(source))
    for name in sorted(operator_names()):
        kind = get_operator(name)
        if kind.arguments() or not _is_near(name):
            continue
        operator = kind()
        places = [at for node in ast_nodes(tree) for at, _ in operator.mutation_positions(node)]
        for occurrence, at in enumerate(places):
            if any(begin <= at < end for begin, end in ignored):
                continue
            mutated = mutate_code(source, operator, occurrence)
            if mutated is None or mutated == source:
                continue
            lines = difflib.unified_diff(
                source.splitlines(), mutated.splitlines(), n=0, lineterm=""
            )
            changed = "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))
            yield Mutant(module, name.removeprefix("core/"), occurrence, at[0], changed), mutated


def _is_near(name: str) -> bool:
    match = re.fullmatch(r"core/Replace(?:Comparison|Binary)Operator_(\w+?)_(\w+)", name)
    return match is None or match[2] in NEAREST.get(match[1], ())


def _annotations(source: str) -> Iterator[tuple[Any, Any]]:
    """Where types stand, which are not evaluated, and what only type checkers see."""
    for node in ast.walk(ast.parse(source)):
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(part, ast.AST):
                yield _extent(part)
        aliases = isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp | ast.Subscript)
        if aliases and all(isinstance(t, ast.Name) and t.id[:1].isupper() for t in node.targets):
            yield _extent(node)  # the name of a type


def _extent(node: Any) -> tuple[Any, Any]:
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)


class Tests:
    """Which tests run a line, and how long they take, from a measured run."""

    def __init__(self, coverage: Path, durations: Path) -> None:
        files = json.loads(coverage.read_text())["files"]
        self._contexts = {name: report["contexts"] for name, report in files.items()}
        self._seconds: dict[str, float] = {}
        for line in durations.read_text().splitlines():
            if match := re.match(r"([\d.]+)s (?:call|setup|teardown) +(\S.*)$", line):
                self._seconds[match[2]] = self._seconds.get(match[2], 0.0) + float(match[1])

    def of(self, module: str, line: int, limit: float) -> list[str]:
        """The file that mirrors the module; then ids, quickest first, of `limit` seconds together.

        All of the module's for a line that runs at import.
        """
        path = Path(module)
        mirror = Path("tests", path.parent, f"test_{path.name}")
        contexts = self._contexts.get(module, {})
        names = {_test(context) for context in contexts.get(str(line), [])} - {""}
        if not names:
            names = {_test(c) for some in contexts.values() for c in some} - {""}
        ordered = sorted(names, key=lambda name: (self._seconds.get(name, 0.0), name))
        total = itertools.accumulate(self._seconds.get(name, 0.0) for name in ordered)
        some = [name for name, until in zip(ordered, total, strict=True) if until <= limit]
        return [str(mirror), *some] if mirror.exists() else some


def _test(context: str) -> str:
    """The id of a test from what coverage calls it: with the phase, after the last bar."""
    return context.rpartition("|")[0]


def tried(mutant: Mutant, source: str, tests: list[str], log: Path) -> None:
    """Sets the mutant's outcome."""
    if not tests:
        mutant.outcome = "uncovered"
        return
    path = Path(mutant.module)
    original = path.read_text()
    path.write_text(source)
    try:
        child = os.fork()
        if child == 0:
            _child(tests, log)
        mutant.outcome = "survived" if _status(child) == 0 else "killed"
    finally:
        path.write_text(original)
    if mutant.outcome == "killed":
        failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", log.read_text(), re.MULTILINE)
        mutant.by = failed[0] if failed else "did not end, or ended Python"


def _child(tests: list[str], log: Path) -> None:
    """Runs tests in this process, which ends by that."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    import pytest

    code = 1
    with contextlib.suppress(BaseException):
        # In steps, so that the slow ones need not even be collected for most mutants.
        for some in (tests[:1], tests[1:20], tests[20:60], tests[60:]):
            if some:
                code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--tb=no", *some])
                if code:
                    break
    sys.stdout.flush()
    os._exit(int(code))


def _status(child: int) -> int:
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", default=MODULES, help="paths (default: the core)")
    parser.add_argument("--coverage", type=Path, required=True, help="JSON report with contexts")
    parser.add_argument("--durations", type=Path, required=True, help="pytest's output")
    parser.add_argument("--share", type=float, default=1.0, help="of the mutants, drawn at random")
    parser.add_argument("--seconds", type=float, default=60, help="of tests for each, as measured")
    parser.add_argument("--shard", type=int, nargs=2, default=[0, 1], help="which one of how many")
    parser.add_argument("--minutes", type=float, default=1e9, help="to go on for at most")
    parser.add_argument("--output", type=Path, default=Path("mutation.json"), help="outcomes")
    options = parser.parse_args()
    # Before TensorFlow is imported, as conftest.py has it.
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = "1"
    chosen = [pair for module in options.modules for pair in mutants(module)]
    random.Random(0).shuffle(chosen)
    chosen = chosen[: round(len(chosen) * options.share)]
    chosen = chosen[options.shard[0] :: options.shard[1]]
    tests = Tests(options.coverage, options.durations)
    for name in ("hypothesis", "keras", "networkx", "pydantic", "tensorflow"):
        importlib.import_module(name)  # for the forks

    log = options.output.with_suffix(".log")
    for module in options.modules:
        same = Mutant(module, "none", 0, 0, "")
        tried(same, Path(module).read_text(), tests.of(module, 0, options.seconds), log)
        if same.outcome != "survived":
            sys.exit(f"{module} as it is: {same.outcome} by {same.by}")
    done: list[Mutant] = []
    end = time.monotonic() + options.minutes * 60
    for mutant, source in chosen:
        if time.monotonic() > end:
            break
        start = time.monotonic()
        some = tests.of(mutant.module, mutant.line, options.seconds)
        tried(mutant, source, some, log)
        done.append(mutant)
        seconds = time.monotonic() - start
        place = f"{mutant.module}:{mutant.line}"
        print(f"{len(done)}/{len(chosen)} {mutant.outcome} {place} {mutant.operator} {seconds:.1f}")
        if mutant.outcome != "killed":
            print(mutant.difference, flush=True)
        options.output.write_text(json.dumps([dataclasses.asdict(m) for m in done], indent=1))
    _report(done)


def _report(done: list[Mutant]) -> None:
    for module in [*sorted({m.module for m in done}), ""]:
        those = [m for m in done if module in ("", m.module)]
        killed = sum(m.outcome == "killed" for m in those)
        print(f"{module or 'all'}: {killed} of {len(those)} killed, {killed / len(those):.1%}")


if __name__ == "__main__":
    main()

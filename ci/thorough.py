"""Which tests the default profile leaves to `thorough`.

On an idle machine: ``HYPOTHESIS_PROFILE=default ci/test --every-case -n 0 --cov --cov-context=test
--cov-report= --junitxml=run.xml``, then ``python ci/thorough.py run.xml``. It rewrites
``tests/thorough.txt``. What stays takes so many seconds together (``--budget``), and is chosen in
three rounds:

1. All that is quick (``--quick``).
2. Of the tests that branches do not tell apart, the quickest case of each: those of texts, and of
   what runs in processes of its own.
3. Of the others, those that run most branches for their time that nothing runs so far.

After a run without ``--every-case``, ``--add`` leaves on the list what is there and was not run.
"""

from __future__ import annotations

import argparse
import ast
import heapq
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

ROOT = Path(__file__).parents[1]
LIST = ROOT / "tests" / "thorough.txt"
HEAD = "# Tests that only the thorough profile runs. Written by ci/thorough.py, which says how.\n"
# Of texts, and of what runs in processes of its own.
TOLD_APART_OTHERWISE = (
    *("tests/test_", "tests/benchmarks/", "tests/ci/", "tests/examples/"),
    *("tests/loopctl_gate/", "tests/verify/cli/"),
)
# Seconds that every test costs beside what is measured: to be collected, and told.
LEAST = 0.02
NOTHING = np.array([], dtype=np.int64)


def durations(report: Path) -> dict[str, float]:
    """Seconds of each test by its id, set-up included."""
    found: dict[str, float] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        path = case.get("classname", "").replace(".", "/") + ".py"
        name = f"{path}::{case.get('name', '')}"
        # A contract is a test as well, of a file that is none of Python's: it stays.
        if (ROOT / path).is_file():
            found[name] = found.get(name, LEAST) + float(case.get("time", 0))
    return found


def branches(measured: Iterable[Path]) -> dict[str, np.ndarray]:
    """What each test ran: numbers that stand for a file, from which line and to which.

    Without what runs as a module is imported, which is the first test's that needs it.
    """
    found: dict[str, set[int]] = {}
    known: dict[tuple[str, int, int], int | None] = {}
    functions: dict[str, set[int]] = {}
    for path in measured:
        with sqlite3.connect(path) as data:
            rows = data.execute(
                "select context, path, fromno, tono from arc"
                " join context on context.id = context_id join file on file.id = file_id"
            )
            for context, *arc in rows:
                file, begin, end = key = tuple(arc)
                if key not in known:
                    if file not in functions:
                        functions[file] = lines_of_functions(Path(file))
                    within = functions[file] & {abs(begin), abs(end)}
                    known[key] = len(known) if within else None
                if (number := known[key]) is not None:
                    # With the phase of the test, after the last bar.
                    found.setdefault(context.rpartition("|")[0], set()).add(number)
    return {name: np.fromiter(arcs, dtype=np.int64) for name, arcs in found.items()}


def lines_of_functions(file: Path) -> set[int]:
    """Those of their bodies."""
    return {
        line
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for line in range(node.body[0].lineno, (node.end_lineno or 0) + 1)
    }


def kept(
    seconds: dict[str, float], ran: dict[str, np.ndarray], *, quick: float, budget: float
) -> set[str]:
    """Ids of the tests that stay.

    Args:
        quick: seconds up to which a test stays whatever it runs.
        budget: seconds that all take together that stay.
    """
    found = {name for name in seconds if seconds[name] <= quick}
    there = {function(name) for name in found}
    for name in sorted(seconds, key=lambda name: (seconds[name], name)):
        if name.startswith(TOLD_APART_OTHERWISE) and function(name) not in there:
            found.add(name)
            there.add(function(name))
    spent = sum(seconds[name] for name in found)
    for name in by_worth(seconds, ran, [*found, *(ran.keys() - seconds)]):
        if spent + seconds[name] <= budget:
            found.add(name)
            spent += seconds[name]
    return found


def by_worth(
    seconds: dict[str, float], ran: dict[str, np.ndarray], there: Iterable[str]
) -> Iterator[str]:
    """The others, as far as they run what nothing runs: first what runs most of it for its time."""
    count = 1 + max((int(of.max()) for of in ran.values() if of.size), default=-1)
    missing = np.ones(count, dtype=bool)
    for name in there:
        missing[ran.get(name, NOTHING)] = False

    def worth(name: str) -> float:
        return float(np.count_nonzero(missing[ran[name]])) / seconds[name]

    # What a test is worth only falls: one that is still worth most is the next.
    heap = [(-worth(name), name) for name in seconds if name in ran]
    heapq.heapify(heap)
    while heap:
        _, name = heapq.heappop(heap)
        if not (now := worth(name)):
            continue
        if heap and now < -heap[0][0]:
            heapq.heappush(heap, (-now, name))
        else:
            missing[ran[name]] = False
            yield name


def function(name: str) -> str:
    """Without the case."""
    return name.partition("[")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path, help="what --junitxml wrote")
    parser.add_argument("--coverage", type=Path, nargs="+", default=[Path(".coverage")])
    parser.add_argument("--quick", type=float, default=0.1, help="seconds of what stays anyway")
    parser.add_argument("--budget", type=float, default=700, help="seconds of all that stays")
    parser.add_argument("--add", action="store_true", help="what is on the list was not run")
    options = parser.parse_args()
    seconds, ran = durations(options.report), branches(options.coverage)
    stay = kept(seconds, ran, quick=options.quick, budget=options.budget)
    left = LIST.read_text().removeprefix(HEAD).splitlines() if options.add else []
    LIST.write_text(HEAD + "".join(f"{name}\n" for name in sorted({*left, *seconds} - stay)))
    spent = sum(seconds[name] for name in stay)
    everything, run = (
        set().union(*(ran[n].tolist() for n in of if n in ran))
        for of in (ran, {*stay, *(ran.keys() - seconds)})
    )
    print(
        f"{len(stay)} of {len(seconds)} tests stay, {spent:.0f} s of {sum(seconds.values()):.0f} s;"
        f" {len(everything - run)} of {len(everything)} branches are left to thorough"
    )


if __name__ == "__main__":
    main()

"""Which cases of tests the default profile leaves to `thorough`.

On an idle machine: ``HYPOTHESIS_PROFILE=default ci/test --every-case -n 0 --cov --cov-context=test
--cov-report= --junitxml=run.xml``, then ``python ci/thorough.py run.xml``. It rewrites
``tests/thorough.txt``: of the cases of one test, those that take long and run nothing that other
tests do not run as well. A branch that several tests run is left to several, and a value that
several cases have is left to one. After a run without ``--every-case``, which takes half as long,
``--add`` adds to the list what may go as well.
"""

from __future__ import annotations

import argparse
import collections
import math
import re
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

LIST = Path(__file__).parents[1] / "tests" / "thorough.txt"
HEAD = "# Cases that only the thorough profile runs. Written by ci/thorough.py, which says how.\n"
# Their cases stay: each is an example, or a fault, of its own.
WHOLE = (
    "test_what_is_meant_holds",
    "test_the_page_of_how_tos_says_what_is_meant",
    "test_a_fault_is_caught_and_its_correct_twin_passes",
    "test_another_value_behind_the_config_is_found",
    "test_every_deviation_from_the_config_is_found",
    "test_one_thing_is_wrong",
    "test_each_branch_is_looked_at",
    "test_nothing_is_found_in_a_right_step",
    "test_what_is_wrong_is_found",
)
# And those of tests that branches do not tell apart: of texts, and of what runs in processes.
OTHERS = (
    *("tests/test_", "tests/benchmarks/", "tests/ci/", "tests/examples/"),
    *("tests/loopctl_gate/", "tests/verify/cli/"),
)
Arc = tuple[int, int, int]


def durations(report: Path) -> dict[str, float]:
    """Seconds of each test by its id, set-up included."""
    found: dict[str, float] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        path = case.get("classname", "").replace(".", "/") + ".py"
        name = f"{path}::{case.get('name', '')}"
        found[name] = found.get(name, 0.0) + float(case.get("time", 0))
    return found


def branches(measured: Iterable[Path]) -> dict[str, set[Arc]]:
    """What each test ran: file, from which line, to which."""
    found: dict[str, set[Arc]] = collections.defaultdict(set)
    files: dict[str, int] = {}
    for path in measured:
        with sqlite3.connect(path) as data:
            rows = data.execute(
                "select context, path, fromno, tono from arc"
                " join context on context.id = context_id join file on file.id = file_id"
            )
            for context, file, begin, end in rows:
                # With the phase of the test, after the last bar.
                arcs = found[context.rpartition("|")[0]]
                arcs.add((files.setdefault(file, len(files)), begin, end))
    return found


def left_out(
    seconds: dict[str, float],
    ran: dict[str, set[Arc]],
    *,
    limit: float,
    tests: int,
    share: float,
) -> list[str]:
    """The costliest cases first: each goes if others run all that it runs.

    Args:
        limit: cases that take less stay, in seconds.
        tests: so many run each branch still, where there are so many.
        share: of the cases of each test that stay at least; its first one does.
    """
    running = collections.Counter(arc for arcs in ran.values() for arc in arcs)
    cases = collections.defaultdict(list)
    for name in seconds:
        function, bracket, _ = name.partition("[")
        if bracket and not function.endswith(WHOLE) and not function.startswith(OTHERS):
            cases[function].append(name)
    having = collections.Counter(
        value for of in cases.values() for name in of for value in values(name)
    )
    once = {value for value, times in having.items() if times == 1}
    may_go = {function: len(of) - math.ceil(len(of) * share) for function, of in cases.items()}
    found = []
    for name in sorted(seconds, key=lambda name: (-seconds[name], name)):
        function = name.partition("[")[0]
        if seconds[name] < limit or not may_go.get(function) or name == cases[function][0]:
            continue
        common = values(name) - once
        if any(having[value] == 1 for value in common):
            continue
        if all(running[arc] > tests for arc in ran.get(name, ())):
            running.subtract(ran.get(name, ()))
            having.subtract(common)
            may_go[function] -= 1
            found.append(name)
    return sorted(found)


def values(name: str) -> set[tuple[str, int, str]]:
    """Of a test, by their places: what its id has between hyphens, or before a colon."""
    function, _, case = name.partition("[")
    return {(function, i, part) for i, part in enumerate(re.split("-|: ", case.removesuffix("]")))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path, help="what --junitxml wrote")
    parser.add_argument("--coverage", type=Path, nargs="+", default=[Path(".coverage")])
    parser.add_argument("--limit", type=float, default=0.2, help="seconds below which a case stays")
    parser.add_argument("--tests", type=int, default=2, help="that run a branch still")
    parser.add_argument("--share", type=float, default=0.3, help="of a test's cases that stay")
    parser.add_argument("--add", action="store_true", help="to the list: cases on it were not run")
    options = parser.parse_args()
    seconds, ran = durations(options.report), branches(options.coverage)
    names = left_out(seconds, ran, limit=options.limit, tests=options.tests, share=options.share)
    left = LIST.read_text().removeprefix(HEAD).splitlines() if options.add else []
    LIST.write_text(HEAD + "".join(f"{name}\n" for name in sorted({*left, *names})))
    gone = sum(seconds[name] for name in names)
    print(f"{len(names)} of {len(seconds)} tests, {gone:.0f} s of {sum(seconds.values()):.0f} s")


if __name__ == "__main__":
    main()

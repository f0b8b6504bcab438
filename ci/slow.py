"""Which tests `ci/test --quick` leaves out.

On an idle machine: ``ci/test --junitxml=run.xml``, then ``python ci/slow.py run.xml``. It
rewrites ``tests/slow.txt`` from what the first case of each test took. A fixture is paid by the
first test that asks for it, which is another one then: ``ci/test --quick --junitxml=quick.xml`` and
``python ci/slow.py --add quick.xml``, until nothing is added.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from xml.etree import ElementTree

LIST = Path(__file__).parents[1] / "tests" / "slow.txt"
HEAD = "# Tests that --quick leaves out, by name. Written by ci/slow.py, which says how.\n"


def slow(report: Path, limit: float) -> list[str]:
    """Names of tests whose first case took longer than `limit` seconds."""
    first: dict[tuple[str, str], float] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.get("name", "").partition("[")[0]
        first.setdefault((case.get("classname", ""), name), float(case.get("time", 0)))
    return sorted({name for (_, name), seconds in first.items() if seconds > limit})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path, help="what --junitxml wrote")
    parser.add_argument("--limit", type=float, default=0.4, help="seconds of the first case")
    parser.add_argument("--add", action="store_true", help="to what is in the list already")
    options = parser.parse_args()
    names = slow(options.report, options.limit)
    if options.add:
        listed = LIST.read_text().removeprefix(HEAD).splitlines()
        names = sorted({*names, *listed})
    LIST.write_text(HEAD + "".join(f"{name}\n" for name in names))


if __name__ == "__main__":
    main()

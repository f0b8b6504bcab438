"""`ci/bench faults [PART-OF-AN-ID ...] [--write]`: what catches each fault of the list.

Prints a row for each, false alarms on right steps, and totals; `--write` writes the page of the
docs, if the whole list is run. Fails on a false alarm, or a fault that nothing catches.
"""

from __future__ import annotations

import argparse
import sys

import keras
import tensorflow as tf

from benchmarks.faults import FAULTS, PAGE, judged, page
from benchmarks.faults.table import row, totals


def main() -> int:
    parser = argparse.ArgumentParser(prog="ci/bench faults", description=__doc__)
    parser.add_argument("part", nargs="*", help="parts of ids or of sources; all if there are none")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    said = parser.parse_args()
    chosen = [
        fault
        for fault in FAULTS
        if not said.part or any(part in fault.id or part in fault.source for part in said.part)
    ]
    if said.write and len(chosen) < len(FAULTS):
        parser.error("--write takes the whole list")
    verdicts = []
    for fault in chosen:
        verdict = judged(fault)
        verdicts.append(verdict)
        print(row(verdict), flush=True)
        for alarm in verdict.alarms:
            print(f"    FALSE ALARM on the right step: {alarm}", flush=True)
    print(totals(verdicts))
    if said.write:
        PAGE.write_text(page(verdicts, tf.__version__, keras.__version__), "utf-8")
    return any(v.alarms or not (v.caught or v.lint) for v in verdicts)


if __name__ == "__main__":
    sys.exit(main())

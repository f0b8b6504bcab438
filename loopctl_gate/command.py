"""``loopctl-verify``."""

from __future__ import annotations

import sys

from loopctl_gate.taken_name import in_the_way


def main() -> int:
    """Runs one command of ``loopctl-verify``; returns its exit status."""
    if told := in_the_way():
        print(told, file=sys.stderr)
        return 2
    from verify.cli import main as run

    return run()

"""The gate as it is installed: the command ``loopctl-verify`` and what pytest gets.

In: arguments, contract files, fixtures. Out: `main`, and the module `pytest_plugin`, which pytest
finds by its entry point.
May import: verify, once `in_the_way` has found that it is ours.

A file `verify.py` or a folder `verify` of a project's own takes the place of our package wherever
the project's folder comes first on the path. Nobody names anything `loopctl_gate` by accident, so
that this package is always the one that runs, and can tell.
"""

from loopctl_gate.command import main
from loopctl_gate.taken_name import in_the_way

__all__ = ["in_the_way", "main"]

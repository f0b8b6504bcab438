"""Faults of training steps from published catalogues, and what of `verify` catches each.

Run by `ci/bench faults`. Each fault is rewritten from its description, with a right step that is
much like it.
"""

from benchmarks.faults.fault import Fault, Trial
from benchmarks.faults.judging import Verdict, judged
from benchmarks.faults.listed import FAULTS
from benchmarks.faults.table import PAGE, page

__all__ = ["FAULTS", "PAGE", "Fault", "Trial", "Verdict", "judged", "page"]

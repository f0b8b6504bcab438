"""How far `verify` can be trusted here: faults planted in train steps, and correct twins.

In: faults, kinds of model and optimizers by name. Out: a `Verdict` on each, and their `Score`.
May import: assertions, and what these may.
"""

from verify.selfcheck.catalogue import FAULTS, Fault
from verify.selfcheck.samples import KINDS, OPTIMIZERS
from verify.selfcheck.score import Score, Verdict, check

__all__ = ["FAULTS", "KINDS", "OPTIMIZERS", "Fault", "Score", "Verdict", "check"]

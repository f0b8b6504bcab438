"""The catalogue: every fault that is planted."""

from verify.selfcheck import gradient_faults, loss_faults, other_faults, term_faults
from verify.selfcheck.planted import FAULTS, Fault

__all__ = ["FAULTS", "Fault", "gradient_faults", "loss_faults", "other_faults", "term_faults"]

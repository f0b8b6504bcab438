"""What each backward pass differentiates, as a formula that a person would write.

In: a detector. Out: `formulas`, each with the variables that it trains.
May import: verify.find and all that it may.
"""

from verify.formulas.objectives import ObjectiveFact, formulas

__all__ = ["ObjectiveFact", "formulas"]

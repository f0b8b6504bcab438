"""The same contract before and while training: what ``fit`` runs is held against it.

In: a contract, keywords or a snapshot, and a training as it runs. Out: `Guard`, `GuardWarning`.
May import: contracts, and what these may.
"""

from verify.guard.callback import Guard, GuardWarning

__all__ = ["Guard", "GuardWarning"]

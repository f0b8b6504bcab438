"""What is in a step: one module for each kind of thing that is looked for. Nothing here prints.

In: a step, or one branch of it. Out: `Detector`, which finds losses, terms, clips; what is written.
May import: graphs, match, references, flow, step.
"""

from verify.find.accumulation import Accumulated
from verify.find.branch_counts import COUNTS
from verify.find.clips import Bounds, describe, describe_between
from verify.find.conditions import Chosen, Condition
from verify.find.detector import Detector
from verify.find.entries import LEFT_OVER
from verify.find.fingerprints import BY_OPS
from verify.find.followers import Follow
from verify.find.forwards import Judged
from verify.find.loss_draws import LOSS_DRAWS
from verify.find.losses_by_name import known_losses
from verify.find.objective_passes import Comparison
from verify.find.observed import Observed
from verify.find.optimizers import Rule
from verify.find.random_numbers import RandomNumbers
from verify.find.risky_ops import CALLBACKS, HazardFact, hazards
from verify.find.search import Disjoint, Found
from verify.find.shapes import Shapes
from verify.find.step_feeds import BatchFeed, probabilities
from verify.find.witnesses import Sides, Witness
from verify.find.writes import Written, stopped

__all__ = [
    "BY_OPS",
    "CALLBACKS",
    "COUNTS",
    "LEFT_OVER",
    "LOSS_DRAWS",
    "Accumulated",
    "BatchFeed",
    "Bounds",
    "Chosen",
    "Comparison",
    "Condition",
    "Detector",
    "Disjoint",
    "Follow",
    "Found",
    "HazardFact",
    "Judged",
    "Observed",
    "RandomNumbers",
    "Rule",
    "Shapes",
    "Sides",
    "Witness",
    "Written",
    "describe",
    "describe_between",
    "hazards",
    "known_losses",
    "probabilities",
    "stopped",
]

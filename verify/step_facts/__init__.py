"""The facts of a step, as an object, as a page of text and as lines for snapshots.

In: a step. Out: `StepFacts`, `facts`; `lines_of`, `snapshot_of`, `changes`.
May import: kinds, and what kinds may.
"""

from verify.find import HazardFact, Written
from verify.formulas import ObjectiveFact
from verify.kinds import ClipFact, FollowFact, GuardFact, LossFact, PredictionFact, TermFact
from verify.step_facts.collect import StepFacts, facts, facts_of, step_facts
from verify.step_facts.page import entries_of, headline_of
from verify.step_facts.snapshot_lines import (
    changes,
    changes_since_first_edition,
    is_of_first_edition,
    lines_of,
    snapshot_of,
)

__all__ = [
    "ClipFact",
    "FollowFact",
    "GuardFact",
    "HazardFact",
    "LossFact",
    "ObjectiveFact",
    "PredictionFact",
    "StepFacts",
    "TermFact",
    "Written",
    "changes",
    "changes_since_first_edition",
    "entries_of",
    "facts",
    "facts_of",
    "headline_of",
    "is_of_first_edition",
    "lines_of",
    "snapshot_of",
    "step_facts",
]

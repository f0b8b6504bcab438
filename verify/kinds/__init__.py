"""What can be said of a step, kind by kind: facts, and the keywords that ask for them.

In: a detector of one step. Out: facts, rows, violations, and `KINDS`, the one list of kinds.
May import: graphs, match, references, flow, step, find, formulas.
"""

from verify.kinds import (
    accumulated,
    clipping,
    conditions,
    custom_gradients,
    decayed,
    draws,
    fingerprint,
    follows,
    forward,
    frozen_late,
    gradients,
    guards,
    losses,
    objective,
    ops,
    optimizer,
    other_writes,
    regularization,
    sample_weight,
    statistics,
    stopped,
    training,
    unchanged,
    watched,
)
from verify.kinds.contract_spelling import FORMS, Strict, literal
from verify.kinds.dotted_names import factory_meant, imported
from verify.kinds.facts import (
    ClipFact,
    Facts,
    FollowFact,
    GuardFact,
    LossFact,
    OptimizerFact,
    PredictionFact,
    TermFact,
    TreatmentFact,
)
from verify.kinds.kind import Keyword, Kind, Row
from verify.kinds.lines import lines_of_names
from verify.kinds.selection import names, select
from verify.kinds.violation import NO_RULE, UNTOLD, Violation, violations_as_html

__all__ = [
    "FORMS",
    "KEYWORDS",
    "KINDS",
    "NO_RULE",
    "UNTOLD",
    "ClipFact",
    "Facts",
    "FollowFact",
    "GuardFact",
    "Keyword",
    "Kind",
    "LossFact",
    "OptimizerFact",
    "PredictionFact",
    "Row",
    "Strict",
    "TermFact",
    "TreatmentFact",
    "Violation",
    "factory_meant",
    "imported",
    "lines_of_names",
    "literal",
    "names",
    "select",
    "violations_as_html",
]

KINDS: tuple[Kind, ...] = (
    losses.KIND,
    objective.KIND,
    forward.KIND,
    regularization.KIND,
    clipping.KIND,
    gradients.KIND,
    optimizer.KIND,
    accumulated.KIND,
    watched.KIND,
    frozen_late.KIND,
    decayed.KIND,
    stopped.KIND,
    follows.KIND,
    statistics.KIND,
    training.KIND,
    draws.KIND,
    sample_weight.KIND,
    other_writes.KIND,
    unchanged.KIND,
    custom_gradients.KIND,
    fingerprint.KIND,
    guards.KIND,
    conditions.KIND,
    ops.KIND,
)
"""Every kind, in the order in which facts are shown."""

_EVERY = [keyword for kind in KINDS for keyword in kind.keywords]

KEYWORDS: dict[str, Keyword] = {
    keyword.name: keyword for keyword in sorted(_EVERY, key=lambda keyword: keyword.check is None)
}
"""Every keyword by its name; options, which check nothing themselves, come last."""

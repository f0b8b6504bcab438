"""Is that this? Whether a pattern, made of a traced reference, is in a graph, by ops or by values.

In: a flat graph and a `Pattern`. Out: a `Match`, or the nearest `Miss`.
In: a flat graph and what it is fed. Out: an `Evaluation` of its tensors.
May import: graphs.
"""

from verify.match.assigning import assigned
from verify.match.changes import same_change
from verify.match.draws import DRAWS, NUMBERS, Domain, Drawn, Paired, concrete, drawn
from verify.match.feed import Made, NoValueError
from verify.match.pattern import Pattern, Predicate
from verify.match.plan import ROUNDED, Plan, wide
from verify.match.structure import Match, Matcher, Miss, shown_apart
from verify.match.values import Evaluation

__all__ = [
    "DRAWS",
    "NUMBERS",
    "ROUNDED",
    "Domain",
    "Drawn",
    "Evaluation",
    "Made",
    "Match",
    "Matcher",
    "Miss",
    "NoValueError",
    "Paired",
    "Pattern",
    "Plan",
    "Predicate",
    "assigned",
    "concrete",
    "drawn",
    "same_change",
    "shown_apart",
    "wide",
]

"""Is that this? Whether a pattern, made of a traced reference, is in a graph.

In: a flat graph and a `Pattern`. Out: a `Match`, or the nearest `Miss`.
May import: graphs.
"""

from verify.match.pattern import Pattern, Predicate
from verify.match.structure import Match, Matcher, Miss, show

__all__ = [
    "Match",
    "Matcher",
    "Miss",
    "Pattern",
    "Predicate",
    "show",
]

"""How two places in a graph lie to each other, by the calls that lead to them."""

from __future__ import annotations

Region = tuple[str, ...]
"""A call path: the part of a graph that lies in one branch; the whole graph if empty."""


def same_branch(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    """Whether one place lies within the other: never two branches of one op, nor of two ops."""
    outer, inner = ([site for site in path if not site.endswith("[f]")] for path in (a, b))
    shared = min(len(outer), len(inner))
    return outer[:shared] == inner[:shared]


def exclusive(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    """Whether two places lie in different branches of one op, of which only one is taken."""
    for one, other in zip(a, b, strict=False):
        if one != other:
            (op, _, label), (same, _, another) = one.rpartition("["), other.rpartition("[")
            return op == same and label != another and label not in ("cond]", "body]")
    return False

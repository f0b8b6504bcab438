"""What one output of an arithmetic layer does with its inputs, made discrete."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

OPERATIONS = ("+", "*", "and", "or", "<", "<=", "==", "!=", ">=", ">", "never", "always")


@dataclasses.dataclass(frozen=True)
class Unit:
    """One output of one layer, made discrete.

    `operation`: one of `OPERATIONS`. `weights`: one for each input. Of "+", by what it is
    multiplied before it is added; of "*", to what power it is raised before it is multiplied; of
    "and" and "or", 1 for the input and -1 for its negation; of a comparison, 1 for the left side
    and -1 for the right one; 0 everywhere if the input is ignored. `distance`: how far the weights
    that count, and the gate, are from these: infinite if they depend on the input.
    """

    operation: str
    weights: tuple[Fraction | int, ...]
    distance: float

"""Numbers of NumPy as those of Python, which is what sweeps over hyperparameters hand in."""

from __future__ import annotations

import numbers
from typing import Any


def plain_numbers(value: Any) -> Any:
    """`value`, in which every number of NumPy is one of Python: alone, or in dicts, lists, tuples.

    Arrays stay as they are, and so does everything of which it is not known how it is built.
    """
    if isinstance(value, numbers.Number) and hasattr(value, "item"):
        return value.item()
    if type(value) is dict:
        return {key: plain_numbers(one) for key, one in value.items()}
    if type(value) in (list, tuple):
        return type(value)(plain_numbers(one) for one in value)
    return value

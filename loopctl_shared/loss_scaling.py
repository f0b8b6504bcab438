"""Optimizers that scale losses in mixed precision, and the optimizers inside of them."""

from __future__ import annotations

from typing import Any


def inner_optimizer(optimizer: Any) -> Any:
    """An optimizer without its loss scaling: the one that updates weights and counts steps."""
    return getattr(optimizer, "inner_optimizer", optimizer)

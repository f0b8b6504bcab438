"""Expectation -> violations: the `assert_*` functions, and the error that they raise.

In: a target and what it should be. Out: nothing, or a `GraphAssertionError`.
May import: kinds, and what kinds may.
"""

from verify.assertions.both_sides import Replay, replay
from verify.assertions.config import assert_config
from verify.assertions.expectation import Expectation
from verify.assertions.failure import GraphAssertionError, listing, user_line
from verify.assertions.graph import assert_graph
from verify.assertions.retrace import assert_no_retrace
from verify.assertions.same_step import assert_same_step, changed_ops, differences

__all__ = [
    "Expectation",
    "GraphAssertionError",
    "Replay",
    "assert_config",
    "assert_graph",
    "assert_no_retrace",
    "assert_same_step",
    "changed_ops",
    "differences",
    "listing",
    "replay",
    "user_line",
]

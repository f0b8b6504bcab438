"""Graph introspection: what a TensorFlow training step does, read from its traced graph."""

from typing import TYPE_CHECKING

from loopctl_shared import check_tensorflow, imported_on_demand

if TYPE_CHECKING:
    from verify import strategies as strategies
    from verify.assertions import (
        GraphAssertionError,
        Replay,
        assert_config,
        assert_graph,
        assert_no_retrace,
        assert_same_step,
        replay,
    )
    from verify.graphs import graph
    from verify.guard import Guard, GuardWarning
    from verify.picture import Picture, draw
    from verify.rules import Finding, lint
    from verify.step import trace
    from verify.step_facts import StepFacts, facts

    __version__: str

__all__ = [
    "Finding",
    "GraphAssertionError",
    "Guard",
    "GuardWarning",
    "Picture",
    "Replay",
    "StepFacts",
    "assert_config",
    "assert_graph",
    "assert_no_retrace",
    "assert_same_step",
    "draw",
    "facts",
    "graph",
    "lint",
    "replay",
    "trace",
]

# Imported when first asked for, since pytest imports this package for its plugin in every run, and
# TensorFlow takes seconds; `strategies` needs hypothesis besides.
__getattr__ = imported_on_demand(
    __name__,
    ("strategies",),
    {
        "Finding": "verify.rules",
        "GraphAssertionError": "verify.assertions",
        "Guard": "verify.guard",
        "GuardWarning": "verify.guard",
        "Picture": "verify.picture",
        "Replay": "verify.assertions",
        "StepFacts": "verify.step_facts",
        "assert_config": "verify.assertions",
        "assert_graph": "verify.assertions",
        "assert_no_retrace": "verify.assertions",
        "assert_same_step": "verify.assertions",
        "draw": "verify.picture",
        "facts": "verify.step_facts",
        "graph": "verify.graphs",
        "lint": "verify.rules",
        "replay": "verify.assertions",
        "trace": "verify.step",
    },
    before=check_tensorflow,
)


def __dir__() -> list[str]:
    return __all__

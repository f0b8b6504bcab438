"""Graph introspection: what a TensorFlow training step does, read from its traced graph."""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from verify import strategies as strategies
    from verify.assertions import (
        GraphAssertionError,
        assert_config,
        assert_graph,
        assert_no_retrace,
        assert_same_step,
    )
    from verify.graphs import graph
    from verify.step_facts import StepFacts, facts

    __version__: str

__all__ = [
    "GraphAssertionError",
    "StepFacts",
    "assert_config",
    "assert_graph",
    "assert_no_retrace",
    "assert_same_step",
    "facts",
    "graph",
]

# Where each is. Imported when first asked for, since pytest imports this package for its plugin in
# every run, and TensorFlow takes seconds; `strategies` needs hypothesis besides.
_HOMES = {
    "GraphAssertionError": "verify.assertions",
    "StepFacts": "verify.step_facts",
    "assert_config": "verify.assertions",
    "assert_graph": "verify.assertions",
    "assert_no_retrace": "verify.assertions",
    "assert_same_step": "verify.assertions",
    "facts": "verify.step_facts",
    "graph": "verify.graphs",
}


def __getattr__(name: str) -> Any:
    found: Any
    if name == "__version__":
        found = importlib.metadata.version("loopctl")
    elif name == "strategies":
        found = importlib.import_module("verify.strategies")
    elif name in _HOMES:
        found = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__

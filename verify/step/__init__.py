"""Any target -> a step: a flat graph, what its arguments mean, and the model that it trains.

In: a target of `verify.assert_graph`. Out: `Step`, whole or with a branch decided.
May import: graphs, match, references, flow.
"""

from verify.step.branches import choosers, constant_choice, specialised
from verify.step.capturing import Step, capture, trace

__all__ = [
    "Step",
    "capture",
    "choosers",
    "constant_choice",
    "specialised",
    "trace",
]

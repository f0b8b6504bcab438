"""A plan on a model: what it means there, as readable source and as the functions made of it.

In: a `ControlPlan` and a compiled, built model. Out: `Steps`, with their texts, functions,
selections and optimizers, and `GraphState`, the variables that they work on.
May import: config.
"""

from loopctl.compile.compiled_steps import Steps, called_by_source, separated
from loopctl.compile.data_losses import compiled_loss, output_weights
from loopctl.compile.graph_state import GraphState
from loopctl.compile.main_step_source import moved_lines, step_loss
from loopctl.compile.objectives import has_call, is_built, unbuilt_layers
from loopctl.compile.selection import check_names, layers_of
from loopctl.compile.weighed_losses import weighed_loss

__all__ = [
    "GraphState",
    "Steps",
    "called_by_source",
    "check_names",
    "compiled_loss",
    "has_call",
    "is_built",
    "layers_of",
    "moved_lines",
    "output_weights",
    "separated",
    "step_loss",
    "unbuilt_layers",
    "weighed_loss",
]

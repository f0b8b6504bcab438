"""Any target -> one flat dataflow graph, nested bodies inlined -> networkx.

In: whatever can be traced. Out: `FlatGraph` with its nodes, variables, constants; `graph`.
May import: nothing else of verify.
"""

from verify.graphs.arguments import Arguments, arguments_of, has_tensors, roles_of
from verify.graphs.call_paths import Region, exclusive, same_branch
from verify.graphs.collectives import REDUCTIONS, Piece, pieces
from verify.graphs.constants import NARROW, REFUSED, Folder, call_op
from verify.graphs.flat_graph import (
    CASES,
    IDENTITIES,
    IFS,
    READS,
    RESHAPES,
    WHILES,
    FlatGraph,
    Guard,
    Node,
    Spec,
    Tensor,
    VariableRef,
    branch_taken,
)
from verify.graphs.garbage_collection import no_collection
from verify.graphs.inlining import flatten, flatten_definition
from verify.graphs.networkx_form import graph, to_networkx
from verify.graphs.op_definitions import (
    draws,
    is_commutative,
    is_stateful,
    op_definition,
    seed_inputs,
)
from verify.graphs.reading import graph_of_fit, read
from verify.graphs.source_lines import SourceLine, line_of
from verify.graphs.targets import idle_iterator, is_model, model_of, one_step_of
from verify.graphs.variables import key_of, numbers_of, path_of, resource

__all__ = [
    "CASES",
    "IDENTITIES",
    "IFS",
    "NARROW",
    "READS",
    "REDUCTIONS",
    "REFUSED",
    "RESHAPES",
    "WHILES",
    "Arguments",
    "FlatGraph",
    "Folder",
    "Guard",
    "Node",
    "Piece",
    "Region",
    "SourceLine",
    "Spec",
    "Tensor",
    "VariableRef",
    "arguments_of",
    "branch_taken",
    "call_op",
    "draws",
    "exclusive",
    "flatten",
    "flatten_definition",
    "graph",
    "graph_of_fit",
    "has_tensors",
    "idle_iterator",
    "is_commutative",
    "is_model",
    "is_stateful",
    "key_of",
    "line_of",
    "model_of",
    "no_collection",
    "numbers_of",
    "one_step_of",
    "op_definition",
    "path_of",
    "pieces",
    "read",
    "resource",
    "roles_of",
    "same_branch",
    "seed_inputs",
    "to_networkx",
]

"""What depends on what: data, weights, gradients; where backward passes begin, what is updated.

In: a flat graph. Out: `Flow`, `Scaling`, `Unexplained`; the canonical form of what a step does.
May import: graphs, match, references.
"""

from verify.flow.canonical_form import Canonical, Effect, canonical, fingerprint, unmatched
from verify.flow.dependence import SUMS, Dependence, reached
from verify.flow.gradient_flow import Flow, Update, differentiated, flow_of
from verify.flow.passages import ways
from verify.flow.programs import Programs
from verify.flow.rows import Rows, are_rows, rows_of
from verify.flow.scaling import Scaling
from verify.flow.seeds import REAL, Seed
from verify.flow.unexplained import Unexplained

__all__ = [
    "REAL",
    "SUMS",
    "Canonical",
    "Dependence",
    "Effect",
    "Flow",
    "Programs",
    "Rows",
    "Scaling",
    "Seed",
    "Unexplained",
    "Update",
    "are_rows",
    "canonical",
    "differentiated",
    "fingerprint",
    "flow_of",
    "reached",
    "rows_of",
    "unmatched",
    "ways",
]

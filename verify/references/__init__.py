"""An expected object -> its traced graph: losses, regularisers, clips, ops' gradients, models.

In: an object of Keras or of the user's, and specs. Out: patterns to look for.
May import: graphs, match.
"""

from verify.references.added_losses import AddedLoss
from verify.references.again import traced_again
from verify.references.clips import (
    global_norm_patterns,
    norm_patterns,
    scale_patterns,
    value_patterns,
)
from verify.references.forwards import Forward, forward_of
from verify.references.loss_values import (
    Domains,
    LossGradient,
    is_of_labels,
    is_of_numbers,
    loss_gradients,
    mixes_rows,
    takes_activated,
)
from verify.references.losses import (
    PREDICTION_FORMS,
    LossKey,
    is_of_keras,
    known_name,
    loss_name,
    loss_of,
    loss_patterns,
    other_reductions,
)
from verify.references.model import ModelReference, Term
from verify.references.modes import Keys, LayerVariables, layer_around
from verify.references.objectives import (
    ObjectiveGradients,
    objective_gradients,
    objective_name,
)
from verify.references.op_gradients import Operand, VjpReferences
from verify.references.optimizers import (
    OptimizerStep,
    accumulators,
    another,
    counter_of,
    decays,
    has_schedule,
    optimizer_name,
    optimizer_settings,
    optimizer_state,
    optimizer_step,
    other_settings,
    same_settings,
    schedule_name,
    schedule_of,
    stand_in,
    variables_of,
    why_untold,
)
from verify.references.regulariser_values import (
    RegulariserGradient,
    family_gradients,
)
from verify.references.regularisers import (
    FAMILIES,
    regulariser_family,
    regulariser_name,
    regulariser_pattern,
)
from verify.references.schedules import counts_around_changes, rate_after, why_unrated
from verify.references.tracing import format_call
from verify.references.users_code import Untraced
from verify.references.whole_losses import losses_of_outputs

__all__ = [
    "FAMILIES",
    "PREDICTION_FORMS",
    "AddedLoss",
    "Domains",
    "Forward",
    "Keys",
    "LayerVariables",
    "LossGradient",
    "LossKey",
    "ModelReference",
    "ObjectiveGradients",
    "Operand",
    "OptimizerStep",
    "RegulariserGradient",
    "Term",
    "Untraced",
    "VjpReferences",
    "accumulators",
    "another",
    "counter_of",
    "counts_around_changes",
    "decays",
    "family_gradients",
    "format_call",
    "forward_of",
    "global_norm_patterns",
    "has_schedule",
    "is_of_keras",
    "is_of_labels",
    "is_of_numbers",
    "known_name",
    "layer_around",
    "loss_gradients",
    "loss_name",
    "loss_of",
    "loss_patterns",
    "losses_of_outputs",
    "mixes_rows",
    "norm_patterns",
    "objective_gradients",
    "objective_name",
    "optimizer_name",
    "optimizer_settings",
    "optimizer_state",
    "optimizer_step",
    "other_reductions",
    "other_settings",
    "rate_after",
    "regulariser_family",
    "regulariser_name",
    "regulariser_pattern",
    "same_settings",
    "scale_patterns",
    "schedule_name",
    "schedule_of",
    "stand_in",
    "takes_activated",
    "traced_again",
    "value_patterns",
    "variables_of",
    "why_unrated",
    "why_untold",
]

"""What a config says: dicts or a file become a `ControlPlan`, which knows no model yet.

In: a user's dicts, files, and predicates as expressions or text. Out: the plan with its parts, or
a `ConfigError`; and the names and forms in which parts of a config are written down again.
May import: no other room.
"""

from loopctl.config.dicts_to_plan import parse
from loopctl.config.dotted_names import name_of
from loopctl.config.errors import ConfigError, closest, closest_glob, place
from loopctl.config.files import load_async_config, load_config, save_config, serialized
from loopctl.config.loss_weights import LossWeights, weight_key
from loopctl.config.losses import losses_in, map_losses
from loopctl.config.made_objects import is_made
from loopctl.config.optimizer_groups import OptimizerGroups
from loopctl.config.plan import Action, AsyncAction, ControlPlan, Selector, Substep
from loopctl.config.plateaus import bests, plateau, since_best
from loopctl.config.predicate_text import parse as parse_predicate
from loopctl.config.predicate_text import parse_value
from loopctl.config.predicate_values import COUNTERS, VALIDATION, Best, Statistic
from loopctl.config.predicates import (
    Always,
    Condition,
    Counter,
    Expression,
    Number,
    Series,
    every,
)
from loopctl.config.rates import LearningRate, rate_key
from loopctl.config.schedules import cosine, linear, maximum, minimum, piecewise

__all__ = [
    "COUNTERS",
    "VALIDATION",
    "Action",
    "Always",
    "AsyncAction",
    "Best",
    "Condition",
    "ConfigError",
    "ControlPlan",
    "Counter",
    "Expression",
    "LearningRate",
    "LossWeights",
    "Number",
    "OptimizerGroups",
    "Selector",
    "Series",
    "Statistic",
    "Substep",
    "bests",
    "closest",
    "closest_glob",
    "cosine",
    "every",
    "is_made",
    "linear",
    "load_async_config",
    "load_config",
    "losses_in",
    "map_losses",
    "maximum",
    "minimum",
    "name_of",
    "parse",
    "parse_predicate",
    "parse_value",
    "piecewise",
    "place",
    "plateau",
    "rate_key",
    "save_config",
    "serialized",
    "since_best",
    "weight_key",
]

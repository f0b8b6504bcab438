"""Neural arithmetic: the iNALU layer, its task, its training recipe, its plots, its formulas."""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

from inalu.explanation import Explanation, explain
from inalu.layers import NALU

if TYPE_CHECKING:
    from inalu import plots as plots
    from inalu import recipe as recipe
    from inalu import recipes as recipes
    from inalu import schedules as schedules
    from inalu import task as task

    __version__: str

__all__ = ["NALU", "Explanation", "explain"]

# Imported when first asked for: who explains a model has no use for the others.
_ON_DEMAND = ("plots", "recipe", "recipes", "schedules", "task")


def __getattr__(name: str) -> Any:
    found: Any
    if name == "__version__":
        found = importlib.metadata.version("loopctl")
    elif name in _ON_DEMAND:
        found = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found

"""Neural arithmetic: the iNALU layer, its task, its training recipe, its plots, its formulas."""

from typing import TYPE_CHECKING

from loopctl_shared import check_tensorflow, imported_on_demand

check_tensorflow()

from inalu.layers import NALU  # noqa: E402

if TYPE_CHECKING:
    from inalu import papers as papers
    from inalu import plots as plots
    from inalu import recipe as recipe
    from inalu import schedules as schedules
    from inalu import task as task
    from inalu.explanation import Explanation as Explanation
    from inalu.explanation import explain as explain

    __version__: str

__all__ = ["NALU", "Explanation", "explain"]

# Imported when first asked for: a layer takes none of them, nor the packages that they need.
__getattr__ = imported_on_demand(
    __name__,
    ("papers", "plots", "recipe", "schedules", "task"),
    {"Explanation": "inalu.explanation", "explain": "inalu.explanation"},
)

"""Pictures of training runs and of what was learned, figures 6.7 to 6.11.

Needs matplotlib, the `plot` extra.
"""

from inalu.plots.network import plot_explanation
from inalu.plots.training import plot_evaluation, plot_training

__all__ = ["plot_evaluation", "plot_explanation", "plot_training"]

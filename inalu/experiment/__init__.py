"""Chapter 6's experiment as it is run: over many seeds, and in variants of the recipe.

In: `Settings` of runs. Out: a `Result` for each, its files, and summaries of many.
May import: layers, task, recipe, explanation, results' files and tables; loopctl and verify, as any
user does.
"""

from inalu.experiment.many_seeds import train_seeds
from inalu.experiment.one_seed import SUCCESS, Result, Settings, controlled, train
from inalu.experiment.summaries import summary, table_of_seeds, table_of_variants
from inalu.experiment.variants import VARIANTS, WINDOW

__all__ = [
    "SUCCESS",
    "VARIANTS",
    "WINDOW",
    "Result",
    "Settings",
    "controlled",
    "summary",
    "table_of_seeds",
    "table_of_variants",
    "train",
    "train_seeds",
]

"""Pictures of steps, to look at and to explore, and graphs for other tools.

In: a step. Out: a file, by `write` or `write_difference`; for people, `draw`.
May import: assertions, step_facts, and what these may.
"""

from verify.picture.drawn import Picture, draw
from verify.picture.files import write, write_difference

__all__ = ["Picture", "draw", "write", "write_difference"]

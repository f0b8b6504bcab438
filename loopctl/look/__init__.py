"""What can be seen of compiled steps: a table, their texts, a module that stands alone.

In: `Steps`. Out: `Inspected`, the methods that a callback has for this, and the size of a graph;
pictures of a training are `loopctl.plots` and `loopctl.board`. May import: config, compile.
"""

from loopctl.look.inspection_methods import Inspected
from loopctl.look.summary import nodes

__all__ = ["Inspected", "nodes"]

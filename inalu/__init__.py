"""Neural arithmetic: the iNALU layer, its task, its training recipe, its plots, its formulas."""

from inalu.explanation import Explanation, explain
from inalu.layers import NALU

__all__ = ["NALU", "Explanation", "explain"]

"""Neural arithmetic: the iNALU layer, its task, its training recipe and its plots."""

from inalu.layers import NALU

__all__ = ["NALU"]

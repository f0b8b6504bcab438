"""Layers of neural arithmetic: one module, one paper."""

from inalu.layers.nalu import NALU

__all__ = ["NALU"]

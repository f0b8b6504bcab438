"""Layers of neural arithmetic: one module, one paper."""

from inalu.layers.base import ArithmeticLayer
from inalu.layers.nac import NAC, OriginalNALU
from inalu.layers.nalu import NALU
from inalu.layers.nau import NAU, NMU
from inalu.layers.nlrl import NLRL
from inalu.layers.npu import NPU, RealNPU
from inalu.layers.nsr import NSR

__all__ = [
    "NAC",
    "NALU",
    "NAU",
    "NLRL",
    "NMU",
    "NPU",
    "NSR",
    "ArithmeticLayer",
    "OriginalNALU",
    "RealNPU",
]

"""How the paper of each module trains it, as configs for `LoopControllerCallback`.

For any module of the family; what the thesis prints for iNALU in chapter 6 is `inalu.recipe`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from inalu.layers import (
    NAC,
    NALU,
    NAU,
    NLRL,
    NMU,
    NPU,
    NSR,
    ArithmeticLayer,
    OriginalNALU,
    RealNPU,
)
from inalu.layers.nalu import LAYER_DEFAULTS
from inalu.schedules import Ramp, staircase
from loopctl import LoopControllerCallback, presets, when
from loopctl_shared import inner_optimizer

__all__ = ["RECIPES", "Recipe", "adam", "clipped_and_delayed", "plain", "ramped", "regularized"]

Config = dict[str, Any]

# Steps between which the regulariser of NAU and NMU grows to its full strength.
RAMP = (20_000, 35_000)
# Steps after which an iNALU is regularised, and between two strengths of an NPU's regulariser.
DELAY = 10_000


def adam(learning_rate: float = 1e-3) -> Any:
    """Adam as the published code has it: PyTorch's epsilon is a tenth of Keras'.

    Near a solution the weights of a NAC saturate and gradients fall below both.
    """
    return keras.optimizers.Adam(learning_rate, epsilon=1e-8)


def plain() -> Config:
    """A config: every step as compiled, without the layers' regularisers."""
    return {"all": {"cond": when.always, True: {}}}


def ramped() -> Config:
    """A config: the regulariser from the step on at which its strength begins to grow."""
    return presets.delayed_regularization(when.batches >= RAMP[0])


def regularized() -> Config:
    """A config: the regulariser in every step."""
    return {"all": {"cond": when.always, True: {"regularize": True}}}


def clipped_and_delayed(loss_below: float = 1.0) -> Config:
    """A config: gradients clipped to ±0.1, the regulariser once the loss is below `loss_below`.

    Source: `NALM`'s settings of iNALU; the benchmark looks at the interpolation error where this
    looks at the mean loss of the last 1000 steps.
    """
    return presets.delayed_regularization(
        (when.batches > DELAY) & (when.loss.mean(1000) < loss_below), clipping=(-0.1, 0.1)
    )


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One way to train a module.

    `layer`: makes it, of a number of units; `source`: of initial values, schedule and settings;
    `config`, `optimizer`: make what their names say, anew for every model.
    """

    layer: Callable[[int], ArithmeticLayer]
    source: str
    config: Callable[[], Config] = plain
    optimizer: Callable[[], Any] = adam

    def compile(self, model: Any, **options: Any) -> LoopControllerCallback:
        """Compile a built model for MSE, and attach the config to it.

        Args:
            model: with layers of this module.
            **options: further arguments of `Model.compile`, such as steps_per_execution.

        Returns:
            The callback, attached to the model, for `fit`.
        """
        model.compile(self.optimizer(), **{"loss": "mse", **options})
        counting = inner_optimizer(model.optimizer)
        for layer in model.layers:
            if hasattr(layer, "follow"):
                layer.follow(counting.iterations)
        return LoopControllerCallback(self.config()).attach(model)


_TRASK = "Trask et al. 2018; initial values of Madsen and Johansen 2020; settings of NALM"
_MADSEN = "Madsen and Johansen 2020; settings of NALM"
_HEIM = "Heim, Pevný and Šmídl 2020; settings of NALM"
_SCHLOER = "Schlör, Ring and Hotho 2020; settings of NALM, initial values of the authors' layer"


def _power(kind: Callable[..., ArithmeticLayer], strongest: float) -> Recipe:
    """An NPU whose regulariser grows a hundredfold to its greatest strength."""
    return Recipe(
        lambda units: kind(units, strength=staircase(strongest / 100, strongest, DELAY)),
        _HEIM,
        regularized,
        lambda: adam(5e-3),
    )


RECIPES: dict[str, Recipe] = {
    "NAC": Recipe(lambda units: NAC(units), _TRASK),
    "NAC*": Recipe(lambda units: NAC(units, "*"), _TRASK),
    "NALU": Recipe(lambda units: OriginalNALU(units), _TRASK),
    "iNALU": Recipe(lambda units: NALU(units, **LAYER_DEFAULTS), _SCHLOER, clipped_and_delayed),
    "NAU": Recipe(lambda units: NAU(units, strength=Ramp(0.01, *RAMP)), _MADSEN, ramped),
    "NMU": Recipe(lambda units: NMU(units, strength=Ramp(10.0, *RAMP)), _MADSEN, ramped),
    "NPU": _power(NPU, 1e-5),
    "NPU for quotients": _power(NPU, 1e-7),
    "RealNPU": _power(RealNPU, 1e-5),
    "RealNPU for quotients": _power(RealNPU, 1e-7),
    "NLRL": Recipe(
        lambda units: NLRL(units), "Reimann, Schwung and Ding 2022; optimizer our choice"
    ),
    "NSR": Recipe(lambda units: NSR(units), "Faber and Wattenhofer 2020; optimizer our choice"),
}
"""By module, under the name that its paper gives it: "NALU" is `OriginalNALU`, "iNALU" is `NALU`.

Chapter 6's recipe of iNALU is `inalu.recipe`.
"""

"""What `python -m inalu` trains: chapter 6 as graph predicates, and with one thing changed each.

What a part of the recipe is worth is seen by what happens without it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from inalu import recipe
from inalu.layers.nalu import LAYER_DEFAULTS, normal_values
from loopctl import LoopControllerCallback, presets, when

# The mean loss of this many steps decides whether to start afresh and whether to stop: figure 6.5.
WINDOW = 3000
# A run has converged, and stops, once that mean is below this: figure 6.5.
CONVERGED = 1e-10

Config = dict[str, Any]


def restart(callback: LoopControllerCallback) -> None:
    """Count anew from here. Unlike figure 6.5's, this keeps the history of abandoned weights."""
    callback.epochs = 0
    callback.batches = 0


def stop(callback: LoopControllerCallback) -> None:
    """End `fit` after this epoch."""
    callback.model.stop_training = True


def reinitialization(**changes: Any) -> Config:
    """Start afresh if, 10 000 steps after the last time, the mean loss is still above 0.2.

    One thing is added to figure 6.5, without which some seeds need many epochs more: the optimizer
    forgets what it knows of weights that are drawn anew.
    """
    return {
        "cond": (when.reinit_batches > 10_000) & (when.loss.mean(WINDOW) > 0.2),
        "model": recipe.reinitialise_fn,
        "callback": restart,
        "reset_optimizer": True,
        **changes,
    }


def early_stopping() -> Config:
    """Stop once the mean loss is low enough."""
    return {"cond": when.loss.mean(WINDOW) < CONVERGED, "callback": stop}


def _async() -> Config:
    return {"reinitialize": reinitialization(), "early_stopping": early_stopping()}


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to train the stack.

    `about`: what is different from chapter 6; `config`, `asynchronous`: make the two configs;
    `layer`: further arguments of each `NALU`.
    """

    about: str
    config: Callable[[], Config] = presets.inalu
    asynchronous: Callable[[], Config] = _async
    layer: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def _without_gating() -> Config:
    """Weights and gates in every batch."""
    together = {"cond": when.always, True: {"clipping": (-0.1, 0.1)}}
    return {"all": together, "delay": presets.inalu()["delay"]}


def _without_clipping() -> Config:
    config = presets.inalu()
    for branch in (True, False):
        del config["gate"][branch]["clipping"]
    return config


def _regularized_from_the_start() -> Config:
    config = presets.inalu()
    return {**config, "delay": {**config["delay"], "cond": when.always}}


def _never_regularized() -> Config:
    gate = presets.inalu()["gate"]
    return {"gate": {**gate, True: {**gate[True], "regularize": False}}}  # on purpose: no warning


def _without_reinitialization() -> Config:
    return {"early_stopping": early_stopping()}


def _with_slots_kept() -> Config:
    changed = reinitialization(reset_optimizer=False)
    return {"reinitialize": changed, "early_stopping": early_stopping()}


VARIANTS: dict[str, Variant] = {
    "chapter-6": Variant("nothing"),
    "layer-defaults": Variant(
        "initial values of the authors' layer: w N(0.88, 0.2), m N(0.5, 0.2), g N(0, 0.2)",
        layer=LAYER_DEFAULTS,
    ),
    "centred": Variant(
        "initial values w N(0, 0.5), m N(0.5, 0.5), g N(0, 0.5)",
        layer=normal_values((0.0, 0.5), (0.5, 0.5), (0.0, 0.5)),
    ),
    "no-gating": Variant("weights and gates trained together", _without_gating),
    "no-clipping": Variant("gradients as they are", _without_clipping),
    "regularized-at-once": Variant(
        "the regulariser from the first batch on", _regularized_from_the_start
    ),
    "never-regularized": Variant("no regulariser", _never_regularized),
    "no-reinitialization": Variant("one draw of weights", asynchronous=_without_reinitialization),
    "slots-kept": Variant(
        "the optimizer keeps its averages of abandoned weights", asynchronous=_with_slots_kept
    ),
    "no-sign": Variant("products without eqs 2.10 and 2.11", layer={"signed": False}),
}
"""By the name that `Settings.variant` and the command line know it by."""

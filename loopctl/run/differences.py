"""What a config makes otherwise than a plain `fit`, as far as nobody has said so: told once."""

from __future__ import annotations

from typing import Any, Protocol

import keras
import numpy as np

from loopctl.config import ControlPlan
from loopctl_shared import inner_optimizer, warn_user


class Rated(Protocol):
    """The optimizers of a plan."""

    @property
    def compiled(self) -> Any:
        """The model's."""

    @property
    def own_by_place(self) -> dict[str, Any]:
        """Those of branches, by their first place in the config."""

    @property
    def replaced_by_place(self) -> dict[str, Any]:
        """Those whose rate a branch has one of its own in the place of, by that place."""


class Differences:
    """The warnings of one callback, each given once.

    Args:
        plan: of the callback.
    """

    def __init__(self, plan: ControlPlan) -> None:
        self._silent = not any(substep.says_regularize for substep in plan.substeps)
        self._rates: dict[str, float | None] = {}  # as of the epoch before
        self._told = set[str]()  # which warnings of rates

    def of_losses(self, model: keras.Model) -> None:
        """Warns if the layers of a model that was called add losses, of which no branch speaks."""
        if self._silent and model.losses:
            self._silent = False
            warn_user(
                f"the layers of model {model.name!r} add losses (regularisers, add_loss) that no "
                'branch of the config includes, although a plain fit would: write "regularize": '
                "True in a "
                'branch, or "regularize": False if they are to be left out'
            )

    def begin(self) -> None:
        """Forgets the learning rates of a training before."""
        self._rates = {}

    def of_rates(self, optimizers: Rated) -> None:
        """Warns if somebody has set the compiled optimizer's rate since it was last asked, only.

        As LearningRateScheduler and ReduceLROnPlateau do, which know of no other optimizer. And if
        anybody has set a rate that a branch does not train at.
        """
        own, replaced = optimizers.own_by_place, optimizers.replaced_by_place
        rates = {"": _rate(optimizers.compiled)}
        rates |= {place: _rate(one) for place, one in (own | replaced).items()}
        before, self._rates = self._rates, rates
        changed = {place for place in rates if before and before.get(place) != rates[place]}
        vain = [place for place in replaced if place in changed]
        if vain and "replaced" not in self._told:
            self._told.add("replaced")
            warn_user(
                f"the learning rate of an optimizer was set to {rates[vain[0]]:g} while training "
                "(as LearningRateScheduler and ReduceLROnPlateau do), with no effect on "
                f"{', '.join(vain)}: these branches have a rate of their own. "
                'Factors, such as "learning_rate": {"*": 0.1}, would use it'
            )
        left = [place for place in own if place not in changed]
        if "" in changed and left and "left" not in self._told:
            self._told.add("left")
            warn_user(
                f"the learning rate of the compiled optimizer was set to {rates['']:g} while "
                f"training (as LearningRateScheduler and ReduceLROnPlateau do): the optimizer of "
                f"{', '.join(left)} does not change. An async action can set its learning_rate"
            )


def _rate(optimizer: Any) -> float | None:
    """A learning rate that can be set, else None: schedules, an optimizer of several optimizers."""
    inner = inner_optimizer(optimizer)
    if hasattr(inner, "optimizers"):
        return None
    rate = inner.learning_rate
    return float(np.asarray(rate)) if isinstance(rate, keras.Variable) else None

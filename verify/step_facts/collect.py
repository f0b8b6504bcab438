"""The facts of a step: everything that the kinds find in it."""

from __future__ import annotations

from typing import Any

from verify.find import Detector
from verify.graphs import Region, no_collection
from verify.kinds import KINDS, Facts
from verify.step import Step, capture
from verify.step_facts.page import html, page


class StepFacts(Facts):
    """Everything that `verify` finds out about a step. Variables are named by ``variable.path``.

    `losses`, `regularization`, `clipping`: what reaches updates; `objectives`: what each backward
    pass differentiates, as a formula; `prediction`: which model computes what the loss judges, and
    in which mode, or None if that is not known; `written`: what the step does to variables, by
    kind; `follows`: which variables follow others, like averages; `training`, `inference`: layers
    with state, by the mode in which they run where the loss depends on them; `draws`: the number of
    ops that draw random numbers which affect trained variables; `frozen_draws`: those that draw the
    same numbers in every step; `weighted`: whether sample weights affect trained variables, or None
    if the step takes none; `frozen_late`: variables that were frozen after the step was traced, and
    that it still trains; `decayed`, `growing`: trainable variables that shrink (weight decay) or
    grow by a share of themselves; `treated`: what is done to gradients besides clips; `optimizers`:
    what updates the variables, if that is known; `accumulated`: the number of calls whose gradients
    are averaged for one update, or None if each call makes one; `read_only`: variables that are
    read and never written; `stopped`: trainable variables that affect the loss only through
    ``stop_gradient``; `custom_gradients`: ops whose gradient is a Python function; `hazards`:
    candidates for `forbids`.
    """

    def __str__(self) -> str:
        return self.page()

    def _repr_html_(self) -> str:
        return html(self)

    def page(self, full: bool = False) -> str:
        """The facts as text.  lists every variable; otherwise long lists are abridged."""
        return page(self, full)


def facts(target: Any, *args: Any, model: Any = None, signature: str | None = None) -> StepFacts:
    """Returns everything that `verify` finds out about a step; ``print`` it for a report.

    Args:
        target, args, model, signature: as for `verify.assert_graph`.
    """
    with no_collection():
        return step_facts(capture(target, *args, model=model, signature=signature))


def step_facts(step: Step, region: Region = ()) -> StepFacts:
    """The facts of a captured step, or of the branch at the call path `region`."""
    return facts_of(Detector(step, region))


def facts_of(detector: Detector) -> StepFacts:
    """The facts of a step that has been asked about before."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        found |= kind.find(detector)
    return StepFacts(name=detector.step.name, **found)

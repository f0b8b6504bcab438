"""The facts of a step: everything that the kinds find in it."""

from __future__ import annotations

from typing import Any

from verify.find import Detector
from verify.graphs import Region, no_collection
from verify.kinds import KINDS, Facts
from verify.step import Step, capture
from verify.step_facts.page import html, page


class StepFacts(Facts):
    """Everything `verify` knows of a step. Variables are named by ``variable.path``.

    `objectives`: what each backward pass differentiates, as a formula; `prediction`: which model
    computes what the loss judges, and in which mode, None where that is not known; `written`: what
    the step does to variables, by kind; `follows`: which of them follow others, as averages do;
    `training`, `inference`: layers that have state, by how they run for what is differentiated;
    `draws`: how many ops draw random numbers that decide trained variables, `frozen_draws` those
    that draw the same in every step; `weighted`: whether sample weights decide trained variables,
    None where the step is handed none; `frozen_late`: those that were
    frozen after it was traced, and that it still trains; `decayed`: trainable ones that shrink by a
    share of themselves (weight decay), `growing`: that grow by one; `treated`: what is done to
    gradients besides clips; `optimizers`: by what variables are updated, where that is known;
    `accumulated`: of how many calls gradients are averaged for one update, None where each is one;
    `read_only`: read and never written; `stopped`: trainable ones that the loss is computed from,
    but behind ``stop_gradient``. `custom_gradients`: the ops whose gradient is a function of
    Python's. `hazards`: candidates for `forbids`.
    """

    def __str__(self) -> str:
        return self.page()

    def _repr_html_(self) -> str:
        return html(self)

    def page(self, full: bool = False) -> str:
        """The facts as text. `full`: every variable; else many are told by how they begin."""
        return page(self, full)


def facts(target: Any, *args: Any, model: Any = None, signature: str | None = None) -> StepFacts:
    """The facts of a step; ``print`` them.

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

"""The pairing of callback and verifier: expectations derived from a control config itself.

The expectations come from the user's dicts (``callback.config``), not from loopctl's plan: a fault
in loopctl's reading of a config must not excuse itself here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from verify.assertions.config_conditions import chosen_otherwise
from verify.assertions.config_expectation import expectation_of, of_main, terms_of
from verify.assertions.config_gradients import entering, gradients_of
from verify.assertions.config_keys import moving, not_kept, selected
from verify.assertions.config_told import told
from verify.assertions.config_treatments import left_out, treated_otherwise
from verify.assertions.config_updates import (
    UnsaidError,
    applied,
    is_counted,
    miscounted,
    optimizers_of,
    skipped,
    telling_count,
    unlike_noise,
)
from verify.assertions.expectation import Expectation
from verify.assertions.failure import fail
from verify.find import Detector
from verify.graphs import Region, key_of, no_collection
from verify.kinds import Violation
from verify.references import ModelReference
from verify.step import Step, capture


@no_collection()
def assert_config(model: keras.Model, callback: Any, batch: Any) -> tuple[str, ...]:
    """Asserts that every substep does what the config says; returns what a graph cannot tell.

    Checks each substep of the model (``model.<action>_on`` and ``_off``) by itself and, if the
    callback is attached to this model, each branch of the main step as its control variable chooses
    it: losses, regularisation terms, clips, trained variables, modes of layers, repetitions and
    conditions. In the substeps, unless there are several replicas, it also checks optimizers,
    accumulation, objectives and averages.

    Returns:
        One line for each part of the config that cannot be checked in a graph, with its place, its
        key and the reason; empty if everything was checked. Such a line is no fault. To require
        that the whole config can be checked, write ``assert not verify.assert_config(...)``.

    Args:
        model: a controlled model, after ``callback.attach(model)`` or ``fit``.
        callback: the ``LoopControllerCallback`` whose ``config`` says what is expected.
        batch: ``(x, y)`` or ``(x, y, sample_weight)``: tensors, arrays or ``tf.TensorSpec``.

    Raises:
        GraphAssertionError: with the violations of all substeps.
        ValueError: the model is not controlled.
    """
    __tracebackhide__ = True
    if not hasattr(model, "control_variables"):
        raise ValueError(f"model {model.name!r} is not controlled: attach the callback first")
    violations: list[Violation] = []
    unheld: list[str] = []
    # Of data there is one batch at a time.
    batch = batch.element_spec if isinstance(batch, tf.data.Dataset) else batch
    examples = tf.nest.flatten(batch)[0].shape[0]
    reference: ModelReference | None = None
    main: Step | None = None
    if (main_step := _main_step(callback, model)) is not None:
        main = capture(main_step, batch, model=model)
        reference = main.reference
        violations += _conditions(main, model, callback.config, unheld)
    for action, settings in callback.config.items():
        for branch in (True, False):
            if branch not in settings:
                continue
            name = f"{action}_{'on' if branch else 'off'}"
            place = f"config[{action!r}][{branch}]"
            step = capture(getattr(model, name), batch, model=model, reference=reference)
            reference = step.reference
            # A substep runs on each replica; the main step is traced on all of them.
            replicas = model.distribute_strategy.num_replicas_in_sync
            step = dataclasses.replace(step, parts=replicas)
            counters = _counters(getattr(model, name).get_concrete_function(batch))
            step = _counted(step, counters, settings[branch])
            if reference is None:
                raise TypeError(
                    f"{batch!r} is not a batch: (x, y) or (x, y, sample_weight) is needed"
                )
            left: list[str] = []
            try:
                optimizers = optimizers_of(model, settings[branch])
            except UnsaidError as why:
                left.append(f"learning_rate: {why}")
                optimizers = {}
            detector = Detector(step, expected=optimizers)
            expectation = expectation_of(reference, settings[branch], left, detector, counters)
            own = told(expectation.violations_of(detector), detector, settings[branch], left)
            if replicas == 1:
                own += _besides(detector, settings[branch], left, examples)
                own += _of_gradients(detector, settings[branch], left, expectation, counters)
            there: list[Violation] = []
            if main is not None:
                region = _branch_region(main, model.control_variables[action], branch)
                there = [_unguarded(action)]
                if region is not None:
                    inside = Detector(main, region, optimizers)
                    there = of_main(expectation, settings[branch]).violations_of(inside)
                    there = told(there, inside, settings[branch], left)
                    if replicas == 1:
                        there += _repeated(inside, model, settings[branch], left)
            unheld += [f"{place}: {one}" for one in dict.fromkeys(left)]
            located = _located(place, name, own, there)
            violations += [_doubted(violation, reference.doubts) for violation in located]
    fail(f"model {model.name!r}", violations)
    return tuple(unheld)


def _besides(
    detector: Detector, settings: Mapping[str, Any], left: list[str], examples: int | None
) -> list[Violation]:
    """What is no keyword: averages of one's own, how often, when not, and statistics."""
    found: list[Violation] = []
    assert detector.step.reference is not None  # it was captured with the model
    model = detector.step.reference.model
    average = settings.get("average", {})
    if average and average.get("into") is None:
        start, followed = average.get("start"), selected(model, settings)
        if start is not None and not is_counted(start):
            # What it is computed from may be as large as a number.
            followed = [variable for variable in followed if np.prod(variable.shape) > 1]
        # Where nothing is trained, nothing is averaged.
        found += not_kept(detector, average, followed) if detector.flow.trained else []
    try:
        found += skipped(detector, settings)
    except UnsaidError as why:
        if "skip_nonfinite" in settings:
            left.append(f"skip_nonfinite: {why}")
    try:
        if "per_example" in settings:
            terms = terms_of(detector.step.reference, settings.get("regularize", False))
            regularised = frozenset(term.key for term in terms)
            found += unlike_noise(detector, settings, examples, regularised)
    except UnsaidError as why:
        left.append(f"per_example: {why}")
    found += miscounted(detector, settings, selected(model, settings))
    moves = settings.get("update_statistics")
    if moves and "objective" in settings and not detector.moving.shares:
        left.append("update_statistics: an objective may have none to move")
    elif moves is not None and bool(detector.moving.shares) != moves and moving(model, settings):
        told = "they move" if detector.moving.shares else "none moves"
        wish = "moving statistics that move" if moves else "no moving statistic that moves"
        found.append(Violation("update_statistics", wish, told))
    return found


def _of_gradients(
    detector: Detector,
    settings: Mapping[str, Any],
    left: list[str],
    expectation: Expectation,
    counters: Mapping[str, Any],
) -> list[Violation]:
    """What is made of gradients by a function, and what is trained by one."""
    found: list[Violation] = []
    assert detector.step.reference is not None  # it was captured with the model
    reference, values = detector.step.reference, expectation.values
    try:
        if "gradients" in settings and "optimizer" in values:
            made = entering(reference, settings, counters)
            found += treated_otherwise(detector, made, settings)
    except UnsaidError as why:
        left.append(f"gradients: {why}")
    try:
        if "watched" not in values and not detector.flow.unseen:
            taken = gradients_of(reference, settings, counters)
            found += left_out(detector, taken, selected(reference.model, settings))
    except UnsaidError as why:
        left.append(f"variables: {why}")
    return found


def _repeated(
    detector: Detector, model: keras.Model, settings: Mapping[str, Any], left: list[str]
) -> list[Violation]:
    try:
        return applied(detector, model, settings)
    except UnsaidError as why:
        left.append(f"repeat: {why}")
        return []


def _conditions(
    main: Step, model: keras.Model, config: Mapping[str, Any], unheld: list[str]
) -> list[Violation]:
    """Whether the main step chooses by the conditions; Python's are asked outside of any graph."""
    found, detector = list[Violation](), Detector(main)
    for action, settings in config.items():
        cond, place = settings["cond"], f"config[{action!r}]['cond']"
        if hasattr(cond, "evaluate"):
            path = main.paths[key_of(model.control_variables[action])]
            try:
                told = chosen_otherwise(detector, path, cond)
            except UnsaidError as why:
                unheld.append(f"{place}: {why}")
                continue
            found += [dataclasses.replace(one, keyword=f"{place} conditions") for one in told]
    return found


def _counters(substep: Any) -> dict[str, Any]:
    """The variables of a substep that hold a whole number, by the last parts of their names."""
    named = {v.name.partition(":")[0].rpartition("/")[2]: v for v in substep.graph.variables}
    return {name: v for name, v in named.items() if v.shape == () and v.dtype.is_integer}


def _counted(step: Step, counters: Mapping[str, Any], settings: Mapping[str, Any]) -> Step:
    """The step after a few others, where nothing that is computed of their number is zero."""
    names, count = telling_count(settings)
    numbers = dict(step.numbers)
    numbers |= {key_of(counters[name]): float(count) for name in names & counters.keys()}
    return dataclasses.replace(step, numbers=numbers)


def _main_step(callback: Any, model: keras.Model) -> Any:
    """The main step of a callback that is attached to this model, else None."""
    try:
        return callback.main_step if callback.model is model else None
    except (AttributeError, ValueError):  # a config and no more; a callback that was released
        return None


def _branch_region(step: Step, control: Any, branch: bool) -> Region | None:
    """The call path of the branch of the main step that `control` chooses for `branch`."""
    flat, key = step.flat, id(control.handle)
    for guard in flat.guards:
        node = flat.node(flat.through(guard.predicate))
        variable = flat.variable(node)
        if len(guard.branches) == 2 and variable is not None and variable.key == key:
            return guard.branches[0 if branch else 1]
    return None


def _unguarded(action: str) -> Violation:
    return Violation(
        "guards",
        f"a branch chosen by control_variables[{action!r}]",
        "no branch of the main step reads that variable",
    )


def _doubted(violation: Violation, doubts: tuple[str, ...]) -> Violation:
    new = (doubt for doubt in doubts if doubt not in violation.hints)
    return dataclasses.replace(violation, hints=(*violation.hints, *new))


def _located(
    place: str, name: str, own: list[Violation], there: list[Violation]
) -> list[Violation]:
    """Violations of a substep and of its branch of the main step; told once where they agree."""

    def same(a: Violation, b: Violation) -> bool:
        return (a.keyword, a.expected) == (b.keyword, b.expected)  # what is found has other paths

    both = [v for v in own if any(same(v, other) for other in there)]
    groups = [
        (f"{name} and main step", both),
        (name, [v for v in own if v not in both]),
        ("main step", [v for v in there if not any(same(v, other) for other in both)]),
    ]
    return [
        dataclasses.replace(v, keyword=f"{place} ({where}) {v.keyword}")
        for where, group in groups
        for v in group
    ]
